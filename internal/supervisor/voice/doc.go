// Package voice is the channel of one process, as its attempt uses it: what the process
// says, and who may speak to it. Package attempt decides what follows from that.
//
// # Model
//
//	          ┌ frames of operations ──► Seat (op.Exchange)  at once, whoever reads
//	process ──┤ messages of its code ──► mail.Office, Events.Said   ┐ steps of the owner:
//	          └ MUSTER_READY, …      ──► Events.Ready, Events.Status┘ recorded, then the next
//	process ◄── mail.Box (letters) · op.Party.Send (frames)
//
// Lines are where the channels of all processes come from: our end of each is in the
// Store before anything is written to it, so that a successor of the agent reads on.
//
// A process takes part in operations (package op) from New until its channel has ended
// or it is given up, whichever is first: who can neither ask nor answer is gone. Others
// may ask it from Open until Close. To a Node.js program frames go with NODE_ before
// their cmd (NODE_MUSTER_OP), so that its own code does not see them.
//
// # Invariants
//
//   - A frame of operations is heard once, in the order in which it was sent among all
//     others. It leaves the socket before the next one is looked at: to a successor at
//     most one comes again.
//   - Any other frame leaves the socket when what it means is recorded.
//   - A process that never stops talking is heard at a bounded pace: 1,000 frames a
//     second, of operations 200,000. Nobody else is kept waiting for it.
//
// # Failures
//
// A line without an end closes the channel (E-BAD-CHANNEL). A successor that finds a
// channel left in the middle of a line does not use it (E-TORN-CHANNEL).
package voice
