// Package lock gives named locks to one owner at a time, for a lease, in the order in
// which they were asked for.
//
// # Model
//
//	free ── Acquire ──► held until the lease ends ── Release, Gone, lease over ──► next in line, or free
//	                     ▲ Renew                                       │
//	                     └────────── a new lease, a new fence ─────────┘
//
// Who knows the token owns the lock; tokens are chosen by the owners and compared in
// constant time. Asking again with the token that holds it renews the lease, with one
// that waits in line keeps the place: an answer that was lost does no harm. Behind a
// token stands a party (Ask.Party), the one that used it last: when it is Gone its locks
// are free and its places in line are given up.
//
// Time is given with every call, since any moment that stays the same, such as the start
// of the machine (CLOCK_BOOTTIME). There is no clock here: the caller calls Tick at the
// time that Next says, and takes with Settled what became of those in line, after every
// call. A Table is for one goroutine at a time.
//
// # Invariants
//
//   - One owner at a time, and a lease that is over is over: its token neither renews
//     nor releases any more, even when nobody has taken the lock since.
//   - First come, first served, but for those who have given up.
//   - A fence is larger than all that were given out before, for whichever lock.
//   - An Ask in line is settled exactly once: Held, refused at its deadline, or gone.
//
// # Failures
//
// E-USAGE says what to write; E-NOT-OWNER for a token that does not hold the lock;
// E-TABLE-FULL for a new name, or another place in line, where there are too many.
package lock
