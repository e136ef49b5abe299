// Package generation is what the workers of an app run: a release (spec,
// environment, the directory that dir: meant), and the listeners they inherit.
//
// A Release is what a rollback can return to. A Generation is one rollout of a
// release and is numbered 1, 2, 3, … per app. Prepare makes one, without
// touching anything that runs: it resolves the directory anew, binds what is
// new among the listeners and runs the build command.
//
// Sockets keeps every listener in the Store (process.Store), where it outlives
// workers and, later, agents; it leaves the Store only when its app is stopped
// or removed, or when the rollout that brought it has failed.
package generation
