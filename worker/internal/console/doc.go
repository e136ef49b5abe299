// Package console is a look into a running Go program: a line-oriented console that is
// opened and closed on demand.
//
// # Model
//
//	Open(Place) ─► UNIX socket, 0600, peers of the same user (or root) only
//	             └ or 127.0.0.1:PORT, where the first line must be the token
//	a line ─► goroutines, heap, gc, metrics, vars, version, help, quit, or a command of the program
//
// # Invariants
//
//   - Nobody else than the owner gets an answer: the user of the other side is asked of
//     the kernel, the token is compared in constant time, and TCP is loopback only.
//   - At most connsMax at a time, lines of at most lineMax bytes. A command of the program
//     that panics is told, and ends nothing.
//   - Close removes the socket and ends every connection; it waits for no command.
package console
