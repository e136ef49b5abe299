// Package attempt is one try to run a worker's program: from the start of the
// process, over readiness, health and watchdog, to its stop and the clearing of
// whatever it leaves behind. A worker makes one attempt after the other.
//
// An Attempt has an owner's goroutine (the pool's). All its methods are called
// there, and everything it has to say comes there, through Config.Post, as a
// call of one of the Events. Helper goroutines do one blocking thing each (start
// the program, watch its sockets, run a health check, clear its group) and end
// with the attempt.
//
//	Launch ─ Started ─ Ready ─ … ─ Stop or an accident ─ Exited ─ Clear ─ Gone ─ Close
//	            │
//	            └ Failed: not ready in time, or the watchdog was missed
//
// # Node.js workers (cluster.go)
//
// The process of an app whose Node.js program finds cluster in its worker flavour is a
// primary.Member from the first frame on. A loop's thread hears its channel; frames of
// control become steps of the owner and leave the socket once they are recorded, so
// that a successor answers what was not answered. It is ready when every server that
// it has asked for listens, also those of its predecessor. To stop, it leaves:
// `disconnect`, then the stop signal when its channel has ended and it lives on, or
// when four fifths of stop.timeout are over. One that leaves unasked is replaced. What
// it has not answered for goes to others when its channel has ended.
//
// A program that is its own primary has Kin instead (kin.go, room brood): its forks are
// Attempts too. They end before it is asked to, and Gone comes after theirs.
//
// # What it says (speech.go, heart.go; rooms voice, pulse, crash)
//
// A process with a channel, but for a fork, takes part in operations (op.Party, under the
// ID that a successor knows, too) until its channel has ended or nothing is left of it;
// others may ask it from its start until it is told to end. Its signs of life are watched
// from when it is ready. What it says of its own end is kept for the report of that.
//
// After Close no event comes any more.
package attempt
