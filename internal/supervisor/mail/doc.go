// Package mail carries messages of user code: from the API to workers, and from one
// worker to others of the project, with a descriptor where there is one.
//
// # Model
//
//	POST /v1/message ─┐                      ┌─ Carrier: a Node.js worker (process.on('message'))
//	                  ├─ Letter → Office → Box
//	MUSTER_SEND ──────┘   (who is there)     └─ Carrier: any other program (a frame of its channel)
//
// A Box is one running process with a channel that has not been told to end. The
// Office knows all of them; it asks no goroutine of a pool, so that a pool that is
// busy, and a worker that does not read, keep nobody else waiting.
//
// # Invariants
//
//   - What goes to one worker arrives in the order it was sent in, and whole.
//   - Nothing blocks. A worker that does not read has at most waitingBytes and one
//     letter waiting for it; what comes then is refused, with a fault.
//   - A letter's bytes arrive as they were sent.
//   - A Letter's descriptor stays the sender's to close.
//
// # Failures
//
// Each Delivery has its own fault: ChannelFull (it does not read), NoChannel (it
// has closed its end). A worker whose letter fails is told by MUSTER_FAILED.
// "Delivered" means that it is on its way into the worker's socket, not that the
// program has read it.
package mail
