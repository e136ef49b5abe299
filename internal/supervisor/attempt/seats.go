package attempt

import "github.com/muster-run/muster/internal/handoff"

// sitDown takes a place at the Doors of the listeners that a program has inherited:
// it is ready. Nothing can be dealt to it, but the Door then knows who looks after a
// slot. Node.js workers take their places by what they ask for.
func (a *Attempt) sitDown() {
	if a.node != nil || len(a.seats) > 0 {
		return
	}
	for _, l := range a.cfg.Listeners {
		if l.Door != nil {
			a.seats = append(a.seats, l.Door.Join(l.Seat, nil))
		}
	}
}

// leaveSeats: it is told to end, and its successor may be there.
func (a *Attempt) leaveSeats() { a.eachSeat((*handoff.Seat).Leave) }

// standUp: it has ended.
func (a *Attempt) standUp() {
	a.eachSeat((*handoff.Seat).Gone)
	a.seats = nil
}

func (a *Attempt) eachSeat(do func(*handoff.Seat)) {
	for _, s := range a.seats {
		do(s)
	}
}
