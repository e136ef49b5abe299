// Package listener binds, names, keeps and inherits listening sockets, and looks
// into the kernel to see who waits for connections on them.
//
// # Model
//
// Bind makes a socket from a spec.Listener and returns its file, blocking and
// close-on-exec, as systemd hands sockets over. From there on it is only a file:
// the Store keeps it, workers inherit duplicates of it, and its inode number
// (Inode) is its name in every table of the kernel.
//
// # Groups
//
// BindGroup makes several sockets on one address (SO_REUSEPORT), all of them held by
// muster: the system spreads connections over them. Steer has it spread them over
// some only. The index of a socket in its group is the order in which it began to
// listen; closing one gives its index to the last. Asked is what a Node.js worker
// asks its primary to listen on.
//
// # Looking
//
// Accepting says whether processes really wait for connections on the sockets
// they inherited, and Foreign which listening sockets they opened themselves.
// Both only read /proc (and, for poll and select, the argument of the system
// call of a thread that is blocked in it); the processes notice nothing. Sockets of
// TCP are asked of the kernel (the inner room diag), whose tables in /proc take
// seconds to read on a host with many connections; they are read where it refuses.
//
// # Invariants
//
//   - A unix socket's file is never more open than its listener says, not even
//     between bind and chmod, and a file that is no socket is never removed.
//   - A live socket of another process is never replaced.
//   - A group has no socket of anybody else when it is made or grown: one who listens
//     already, even one who would share, is a PortInUse.
//   - Unlink removes only the file of the very socket that was given up.
//   - A file made here is never registered with the runtime's poller, so no
//     connection wakes muster and Fd never changes the mode that workers set.
//
// # Failures
//
// Errors of Bind are faults: PortInUse (with the owner), Bind, SocketPath,
// UserUnknown, Permission. What the system does not let us see is Unknown, never
// a guess.
package listener
