// Package apart starts programs that are no workers, on behalf of the command line:
// one that takes this process's place (Become), one that lives apart from it and its
// terminal (Detach), and one beside it that shares both (Beside). muster does not
// watch any of them.
package apart
