// Package clock keeps many deadlines with one timer.
//
// # Model
//
//	Add, Remove ─► heap by deadline ─► timer for the earliest ─► ring ─► Rung(end)
//
// The timer is never set later, only sooner: most requests end before their deadline,
// and cost it nothing. It may so fire when nothing is due; then it is set anew.
//
// # Invariants
//
// What Rung has given to end is not on the Clock any more. The Clock has no lock: its
// user's mutex is held in every call.
package clock
