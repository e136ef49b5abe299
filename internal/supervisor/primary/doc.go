// Package primary is the primary of the Node.js workers of one app: which listeners
// they have asked for, who has which, and what they are answered.
//
// # Model
//
//	Offer ── declared listeners (files and Doors of the generation) ─┐
//	                                                                 ├ server ─ Door ─ Seat of each member
//	queryServer ─ Member.Heard ─ asked listeners (bound here, Store) ┘
//
// A server is a listener as workers know it, by its key. A declared one is found by
// its address or as the descriptor 3, 4, … of listen({fd}); anything else is bound
// here, with the rules of libuv, put into the Store under asked/APP/, and kept for the
// workers to come. How connections get to the workers (its balance) is settled with
// the first use: the socket itself goes to the worker (shared, slots, and all that is
// no stream), or muster accepts (round-robin, least-connections).
//
// # Whose it is
//
// A Primary and its Members belong to the goroutine of the pool, but for Member.First
// and Member.Take. What a worker is told, and what follows from it (a Seat), is an
// effect: Options.After performs it once what Facts says is recorded. So a successor
// answers again what was not answered, and knows all that was.
//
// # Invariants
//
//   - There is one server for an address, port and type; several of port 0 are told
//     apart by their index.
//   - A worker that asks for what it has already is refused (EADDRINUSE), as by Node
//     since 22; a bind that fails leaves nothing behind.
//   - A listener that was asked for is closed when the app stops, or when the last
//     worker that had it has closed it of its own accord: not when workers die, nor
//     while they drain.
//   - `disconnect` is sent at most once to a worker, also over agents: a second one
//     would cut short what it still does. Where the first was lost with an agent, the
//     stop signal follows.
//
// # Failures
//
// A bind error goes to the worker that asked, as its errno, and to Options.Warn. What
// a worker says that cannot be meant is told to Options.Warn once for each kind, and
// ignored. Listeners that a successor does not find are faults of Adopt; the next
// worker that asks binds them anew.
package primary
