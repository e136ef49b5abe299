// Package exchange routes operations (package op) between the processes of a project
// and muster itself: who may be asked, who is asked, who hears what was published,
// and when nobody waits any more.
//
// # Model
//
//	party A ──Hear──► seat A ─┐                    ┌─ outbox B ──Send──► party B
//	                          ├─ one mutex: calls, ┤
//	muster ── Request, Tell ──┘  routes, topics    └─ outbox A ──Send──► party A
//	                                │
//	                             Serve: muster's own operations
//
// A party has a seat from Enter to Gone. What it says is dealt with in the goroutine
// (or on the thread) that says it: the state changes under the one mutex, frames for
// others go into their outboxes there, and are sent once the mutex is free. A request
// that waits for a reply is a call: it stands in the table of its asker, in that of
// each party asked, and in the one heap of deadlines.
//
// # Invariants
//
//   - Hear never blocks: no frame is sent and no served operation runs while the mutex
//     is held, many receivers are left to a goroutine.
//   - Frames reach a receiver in the order in which they were decided: an outbox has
//     one sender at a time.
//   - An asker gets exactly one last reply to every ID: the receiver's, or the reason
//     why there is none. The exceptions: it has cancelled, it has gone, or so much
//     waits for it that it gets nothing any more (Counts.Lost).
//   - What waits for a party is bounded (op frames: 1,024 or 4 MiB; replies: four times
//     as much), and so are calls, subscriptions, listens and commands.
//   - A party that missed something published is told how much (gap) before it gets
//     anything published again.
//   - What a party has subscribed to, listens to and offers is in the ledger before it
//     is told so. A successor finds it there when it enters the party as adopted.
//
// # Failures
//
// Askers are told by a code: E-NO-PEER (nobody is there), E-PEER-GONE, E-DEADLINE,
// E-CHANNEL-FULL, E-TABLE-FULL, E-UNKNOWN-OP, E-TOO-LARGE, E-TOO-DEEP, E-DENIED (the
// name is muster's), E-USAGE, E-AGENT-REPLACED, E-INTERNAL (an operation of muster's
// own has failed badly). What cannot be told is counted (Counts). OPERATIONS.md beside
// package op says what a death of the agent may lose or double.
package exchange
