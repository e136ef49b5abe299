// Package line keeps the frames for one receiver in order, until somebody sends them.
//
// # Model
//
//	decided under a mutex ─► Add ─┐
//	decided under a mutex ─► Add ─┴─► Take ─► one sender at a time, without the mutex
//
// Whoever has added something tries to Take it once the mutex is free. Only one sender
// gets it; it goes on taking until nothing is left, also what others add meanwhile. So
// nobody waits, and the order is the one in which it was decided.
//
// # Invariants
//
//   - Between a Take that gave something and the one that gives nothing (or Resume)
//     nobody else is given anything.
//   - Within counts what is in the Line, what is being sent, and what waits at the
//     receiver's own end, as far as that was seen.
package line
