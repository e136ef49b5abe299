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
// After Close no event comes any more.
package attempt
