// Package dealt takes the connections that muster deals to a Go program over its
// channel: the worker's side of the protocol whose primary's side is internal/nodejs
// (PROTOCOL.md there). To muster such a program is a member of its app like a Node.js
// worker.
//
// # Model
//
//	channel ─ Member.Hear ─┬ NODE_HANDLE: acknowledged at once
//	                       │   newconn ─► Listener.pending ─ Accept ─► "accepted", *net.TCPConn
//	                       │   a socket of its own (shared, slots) ─► Listener.own
//	                       ├ answers ─► who asked
//	                       └ disconnect ─► Options.Disconnect
//
// A declared listener is asked for (queryServer) when the program calls Accept for the
// first time, and at once said to be listening: so no connection comes to a program
// that still warms up, and the worker is ready when it really takes connections. Any
// other address is asked for by Listen itself, as the answer has the port.
//
// # Invariants
//
//   - A connection is accepted when Accept has it, not before: what was offered and not
//     accepted goes to another worker when this one dies, and when its Listener is
//     closed.
//   - Each NODE_HANDLE is acknowledged once, in order, before anything else.
//   - Nothing of the program runs in Hear, and Hear never blocks.
//   - Connections are *net.TCPConn and *net.UnixConn, as net.Listen's are. How many are
//     open is found out by looking at descriptors (fstat), only where muster wants to
//     know it.
//
// # Failures
//
// What muster refuses is a *net.OpError with the errno. When the channel ends (muster is
// gone, and left nothing that could go on), a declared listener goes on with the socket
// that was inherited; of any other Accept and Listen return the error that End was given. A descriptor that did not arrive (the
// process has too many open) is answered with a NACK: the connection goes to another.
package dealt
