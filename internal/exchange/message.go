package exchange

import (
	"time"

	"github.com/muster-run/muster/internal/exchange/line"
	"github.com/muster-run/muster/internal/op"
)

// gapEvery is how often it is looked whether those who missed something have room.
const gapEvery = 100 * time.Millisecond

// behind are the parties that have missed something and do not know it yet.
type behind struct {
	seats map[*seat]bool
	timer *time.Timer
	armed bool
	run   func()
}

func (b *behind) add(s *seat) {
	if b.seats == nil {
		b.seats = map[*seat]bool{}
	}
	b.seats[s] = true
	b.arm()
}

func (b *behind) arm() {
	switch {
	case b.armed || len(b.seats) == 0:
		return
	case b.timer == nil:
		b.timer = time.AfterFunc(gapEvery, b.run)
	default:
		b.timer.Reset(gapEvery)
	}
	b.armed = true
}

func (b *behind) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
}

// message gives a party what wants no reply, or marks that it has missed it.
func (e *Exchange) message(s *seat, data []byte) bool {
	e.remind(s)
	if s.missed > 0 || !s.room(1, 1) {
		e.miss(s)
		return false
	}
	e.counts.Passed++
	e.post(s, line.Parcel{Data: data})
	return true
}

// miss marks that a party has missed something.
func (e *Exchange) miss(s *seat) {
	s.missed++
	e.counts.Missed++
	e.behind.add(s)
}

// remind tells a party what it has missed, once half of what waited for it is read.
func (e *Exchange) remind(s *seat) {
	if s.missed == 0 || s.gone || !s.room(1, 2) {
		return
	}
	e.post(s, line.Parcel{Data: musters(op.Gap, mustJSON(op.GapBody{Missed: s.missed})).Append(nil), Gap: s.missed})
	s.missed = 0
	delete(e.behind.seats, s)
}

// catchUp reminds all. The timer runs it.
func (e *Exchange) catchUp() {
	e.mu.Lock()
	defer e.leave()
	if e.closed {
		return
	}
	e.behind.armed = false
	for s := range e.behind.seats {
		e.remind(s)
	}
	e.behind.arm()
}

// Tell sends a frame from muster to every party with hello for which to holds, one
// way; f.From and f.PID may say for whom it speaks. Those that have no room get a gap
// later. to must not use the Exchange.
func (e *Exchange) Tell(to func(op.Party) bool, f op.Frame) op.Receivers {
	var told op.Receivers
	if f.From == "" {
		f.From = Muster
	}
	f.Cmd, f.ID, f.To, f.All = op.CmdOp, 0, "", false
	data := f.Append(nil)
	e.mu.Lock()
	defer e.leave()
	if e.closed {
		return told
	}
	for s := range e.seats {
		if s.joined && to(s.p) {
			e.count(&told, s, e.message(s, data))
		}
	}
	return told
}
