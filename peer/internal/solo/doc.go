// Package solo plays muster's part for a program that runs without it: the other end
// of a Peer's Wire, in the same process.
//
// # Model
//
//	Send ─► act: hello, primitives, publish, listen … ─► out ─► Receive
//
// What only one process needs is done as muster does it, by the same machines
// (coordination): limiters, locks, counters, a process's own subscriptions and
// listeners. What needs others is answered with E-ALONE.
//
// # Invariants
//
// Frames are dealt with in the order of Send, each before Send returns, but for waiting
// for locks. A timer ends leases; it is stopped by Close. Nothing else runs. Memory is
// bounded by what the Peer asks, and by outMax frames.
package solo
