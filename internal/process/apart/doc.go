// Package apart starts programs that are no workers, on behalf of the command line:
// one that takes this process's place (Become), and one that lives apart from it
// and its terminal (Detach). Nobody watches either of them.
package apart
