// Package nodejs is the primary's side of Node.js's cluster module on the wire: a
// codec for the frames of a worker, and Link, which keeps the order that Node
// expects on one channel. It is protocol only: who listens where and who gets a
// connection is decided elsewhere. PROTOCOL.md says what of Node's protocol is
// spoken. What Node.js programs load to keep their half of it lies here, too:
// Preload for workers, Delegate for programs that fork their own.
//
// # Model
//
//	worker → channel → Link.First ── acks, answers to newconn (hot) ──→ who gave the connection
//	                 └ all else: Parse → Message → the primary; Link.Take acknowledges descriptors
//	primary, hand-off → Answer, NewConn, Ping, User, Disconnect … → Link → channel → worker
//
// # Invariants
//
//   - Each NODE_HANDLE that is sent is noted before anything else can be: answers
//     have no number and match in order.
//   - Each NewConn is answered at most once: by the worker's answer, or as not taken
//     when its descriptor did not arrive. When the channel ends first it stays
//     without an answer: the worker has not read from that connection.
//   - A frame with a descriptor leaves only as a NODE_HANDLE, and a NODE_HANDLE only
//     with a descriptor: Node gives a descriptor to the next NODE_HANDLE that it
//     reads, whichever it came with.
//   - Messages of user code are never decoded; they stay the bytes they are.
//
// # Failures
//
// What nobody asked for (an acknowledgement, an answer) is counted, the first of a
// kind told to Link.Strange, and ignored. Parse refuses what is malformed or beyond
// its limits with an error; what of it was fit to be read is not acted upon.
package nodejs
