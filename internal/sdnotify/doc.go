// Package sdnotify is both ends of the sd_notify protocol: a Socket receives what
// one worker says of itself, and Notify speaks for muster under systemd.
//
// # Model
//
//	worker → datagram (READY=1, STATUS=…) → reader → queue → Messages
//
// Every worker has a socket of its own, and the socket is its identity: the
// sender may be gone by the time its message is read. The credentials that the
// kernel attaches decide only whether the sender may speak at all: the worker's
// user or root.
//
// # A slow consumer
//
// Nobody waits for it: not the worker, not a BARRIER=1. The reader always takes
// the next datagram at once. Messages wait in a queue of at most QueueMax;
// neighbours that say the same kind of thing (a newer STATUS, another watchdog
// ping) become one, so a worker that floods its socket costs one entry. Beyond
// QueueMax a message is dropped and counted.
//
// # Invariants
//
//   - Messages come out in the order they were sent.
//   - Every descriptor that comes with a message is closed at once; that of a
//     BARRIER=1 is closed after all earlier messages are queued.
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
