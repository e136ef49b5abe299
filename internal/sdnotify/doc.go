// Package sdnotify is both ends of the sd_notify protocol: a Socket receives what
// one worker says of itself, and Notify speaks for muster under systemd.
//
// # Model
//
//	worker → datagram (READY=1, STATUS=…) → looked at → Messages → Done → out of the socket
//	                                          └ 1 s without Done → queue → Messages
//
// Every worker has a socket of its own, and the socket is its identity: the
// sender may be gone by the time its message is read. The credentials that the
// kernel attaches decide only whether the sender may speak at all: the worker's
// user or root.
//
// # A killed consumer
//
// A datagram stays in the socket until the consumer is Done with its message. So an
// agent that is killed leaves to its successor (Adopt, on a copy of the descriptor)
// all it had not dealt with; the message in hand may come twice, none is lost.
//
// # A slow consumer
//
// Nobody waits for it longer than a second: not the worker, not a BARRIER=1. Then
// the datagrams are taken at once into a queue of at most QueueMax, until the
// consumer has caught up; neighbours that say the same kind of thing (a newer
// STATUS, another watchdog ping) become one there, so a worker that floods its
// socket costs one entry. Beyond QueueMax a message is dropped and counted. What is
// in the queue is lost with the process.
//
// # Invariants
//
//   - Messages come out in the order they were sent.
//   - Every descriptor that comes with a message is closed at once; that of a
//     BARRIER=1 is closed after all earlier messages are dealt with, or queued.
//   - The file is open to the worker's user only, from its first moment.
//   - Input is not trusted: text is valid UTF-8 without control characters, numbers
//     out of range are ignored, and so are unknown keys.
//
// # Failures
//
// Listen returns faults (SocketPath, Permission, Bind). A datagram that is too
// long, malformed, or from another user is dropped and counted. If reading itself
// fails for good, Messages is closed.
package sdnotify
