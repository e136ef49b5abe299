// Package primitives answers limiter:*, lock:*, counter:* and cache:* for an Exchange.
//
// # Model
//
//	Call ─► replayed? ─► machine (package coordination/…) ─► ledger ─► Reply
//	                          └─ who had waited for a lock ─► ledger ─► their Replies
//
// One mutex is around the machines, and never held while the Exchange is called. What a
// call changes is appended to the ledger before it is answered, in one record together
// with the answer; what it does not change costs nothing.
//
// # Invariants
//
//   - Over the death of an agent what changes something is done exactly once: the ledger
//     keeps for each party the number of the last call that changed something, and its
//     answer. A call that may have been heard before (Call.Again) and has that number gets
//     that answer; one with a lower number E-AGENT-REPLACED, as its answer is not kept;
//     one with a higher number is done. Locks need none of it: their token says whose they
//     are, and asking again with it is harmless. A place in line is not kept: who asks
//     again is last.
//   - Buckets, counters, locks and fences outlive the agent. The clock is that of the
//     machine since its start, so leases go on meanwhile.
//   - The answer of a party that is gone is forgotten and its locks are passed on. Those of
//     clients of the control socket (client/…), whose parties end with the agent, last
//     until their lease ends: a client that comes back goes on with its token.
//   - Who asked for a lock and does not wait any more does not get it.
//
// # Failures
//
// What cannot be written to the ledger is not done, and the asker is told. The machines'
// own are in their packages. A lock that passes to the next in line while the ledger
// fails is refused to that one, and passes on.
package primitives
