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
//
// # Addresses
//
// A Listener is a listening address: with balance slots one socket for each slot of
// the app, in a SO_REUSEPORT group, else one. Every generation, and every app to
// which the address moves, has the same sockets and the same Door (handoff), which
// is there unless the balance is shared.
//
//   - The balance is decided at the first use and holds until the address is given
//     up: queues cannot be moved.
//   - The index of a socket in its group is the slot. So only the last is closed, and
//     the Store has "listen/APP/KEY" for slot 0 and "listen/APP/KEY#K" for the others
//     without a gap: a successor takes over all it finds in their order, whatever the
//     record says, since the system sends connections to every one of them.
//   - Sockets are there before the workers of their slots start (Grow), and are
//     closed when the last of these is gone and their queues are empty (Fit).
//   - A slot whose socket could not be made shares that of another.
package generation
