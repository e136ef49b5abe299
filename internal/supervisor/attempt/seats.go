package attempt

import (
	"slices"
	"time"

	"github.com/muster-run/muster/internal/handoff"
)

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

// How long a worker that leaves its slots for good goes on accepting: as long as a
// connection may come that was begun before, and until its queues are empty.
const (
	emptyPace  = 10 * time.Millisecond
	emptyLeast = 250 * time.Millisecond
	emptyMost  = time.Second
)

// leavesQueues: it sat in a slot where nobody sits now, while there are others to which new
// connections go. Only it can take those that wait there.
func (a *Attempt) leavesQueues() bool {
	for _, slot := range a.leftSlots() {
		if !slot.Live {
			return true
		}
	}
	return false
}

// leftSlots are the slots that it sat in, of Doors where somebody still sits.
func (a *Attempt) leftSlots() (left []handoff.SlotStats) {
	if len(a.seats) == 0 {
		return nil
	}
	for _, l := range a.cfg.Listeners {
		if l.Door == nil {
			continue
		}
		slots := l.Door.Stats().Slots
		lives := slices.ContainsFunc(slots, func(s handoff.SlotStats) bool { return s.Live })
		if lives && l.Seat < len(slots) {
			left = append(left, slots[l.Seat])
		}
	}
	return left
}

// emptyQueues calls end, unless the process has ended before, once it has taken what
// waited for it, which it does as long as it does not know that it is to end.
func (a *Attempt) emptyQueues(end func()) {
	began, limit := time.Now(), min(emptyMost, a.span/4)
	var look func()
	look = func() {
		if a.killed || a.asked || !a.running || a.exit != nil {
			return
		}
		full := slices.ContainsFunc(a.leftSlots(), func(s handoff.SlotStats) bool { return !s.Live && s.Waiting > 0 })
		if since := time.Since(began); since >= limit || since >= emptyLeast && !full {
			end()
			return
		}
		time.AfterFunc(emptyPace, func() { a.post(look) })
	}
	look()
}
