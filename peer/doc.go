// Package peer is one end of operations in a Go program: it asks other processes of
// a muster project, answers them, publishes and subscribes, and holds what they
// share: limiters, locks, counters and caches.
//
// Programs that muster runs get a Peer by package worker; all others by the control
// socket (client.Join). Without muster there is Alone.
//
// # Model
//
//	Request, Gather, Tell, Publish … ─► Wire ─► muster ─► others
//	Handle, Hear, Subscribe          ◄─ Wire ◄─
//
// One goroutine reads the Wire and runs no code of the program. A request that comes
// in is answered by a goroutine of its own; each subscription has one goroutine, so
// that its messages keep their order.
//
// # Invariants
//
//   - Nothing here waits without a context, and no call blocks another.
//   - IDs of requests leave in growing order, from the microseconds since 1970.
//   - Memory is bounded: requests under way (AskedMax), requests being answered
//     (HandlersMax), messages that wait for a subscription (SubscribeOptions.Queued).
//     What is beyond is refused with E-TABLE-FULL, or dropped, counted and told to
//     Options.OnGap.
//   - A message sent with the context of a handler counts as sent from within it: a
//     circle of handlers ends with E-TOO-DEEP. Pass that context on.
//   - A handler that panics is logged and answered with E-HANDLER, no more.
//
// # Failures
//
// Every error is a *fault.Fault with a stable code; those of a context wrap its error.
// When another agent goes on (it was killed, or upgraded) requests to others that are
// under way fail with E-AGENT-REPLACED; those to the shared primitives are repeated,
// as muster knows which it has dealt with. What was subscribed, listened to and
// offered stays. Caches are emptied then, and when messages had to be dropped (a gap).
// When the Wire ends everything fails with E-AGENT-UNREACHABLE.
package peer
