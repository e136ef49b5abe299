// Package cache keeps values in the process: the least recently used go first, each
// for a time, and what is missing is filled once for all who ask.
//
// # Model
//
//	Get ── there, in time ──► value
//	Fill ─ missing ─► one flight for the key ─► value to all who wait, and kept
//	Del, Drop ─► the value goes, and a flight that is under way keeps nothing
//
// # Invariants
//
//   - What was removed or set while a fill ran is never replaced by what that fill
//     brings: it may have read what was there before. Who asks after a removal does not
//     join a flight from before it either.
//   - A fill belongs to all who wait for it. One of them giving up does not end it;
//     when nobody waits any more its context is cancelled, and its result is not kept.
//   - A fill that panics, or ends its goroutine, does so in everybody who waits (as a
//     *Panic with the stack of the fill), and the next one to ask fills anew.
//
// A Cache is safe for concurrent use. Its clock is given to it; the only goroutines are
// those of fills.
package cache
