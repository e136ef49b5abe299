package handoff

import "time"

// Longest idle first is even while workers are as quick as connections come. In a
// burst it is not: who happens to have the processor answers at once and is at the
// end of the line again and again, until the burst is over. So nobody may be more
// than lead connections ahead of another one, unless that one keeps all waiting:
// who has not answered within patience is not waited for again for a while. One that
// is only slower would slow down all others to its pace: so they are held for no more
// than a fifth of the time.
const (
	lead     = 8
	patience = 20 * time.Millisecond
	excused  = time.Second
	held     = time.Second / 5 // the most in each second
)

// ahead says that s has had so many more connections than another worker that it is
// that one's turn. l.mu is held.
func (d *Door) ahead(s *Seat) bool {
	if s.turns-d.floor < lead {
		return false // the floor never falls
	}
	now := time.Now()
	d.floor = s.turns
	for o := range d.seats {
		if o.counts(now) {
			d.floor = min(d.floor, o.turns)
		} else {
			o.turns = s.turns
		}
	}
	return s.turns-d.floor >= lead
}

// heavy says the same of least-connections: another worker is busy with what it was
// offered, and so much less loaded than s that it is worth waiting for. Where nobody
// reports what it has open, turns are compared. l.mu is held.
func (d *Door) heavy(s *Seat) bool {
	now := time.Now()
	for o := range d.seats {
		switch {
		case o == s:
		case !o.counts(now):
			o.turns = max(o.turns, s.turns)
		case len(o.under) == 0:
		case s.counted && o.load()+lead <= s.load(), !s.counted && o.turns+lead <= s.turns:
			return true
		}
	}
	return false
}

// counts says that others wait for s when it is behind. One that is late, refuses or
// is blocked does not count for a while, and is not behind afterwards. l.mu is held.
func (s *Seat) counts(now time.Time) bool {
	if s.to == nil || s.left {
		return false
	}
	late := len(s.under) > 0 && now.Sub(s.offered) >= patience
	if late || !s.can() && len(s.under) == 0 {
		s.excused = now.Add(excused)
	}
	return !now.Before(s.excused)
}

// most is how many connections the busiest worker has had. l.mu is held.
func (d *Door) most() (turns int) {
	for s := range d.seats {
		turns = max(turns, s.turns)
	}
	return turns
}

// hold looks again when somebody may be late. It is false when connections were held
// for long enough: then all begin anew. l.mu is held.
func (d *Door) hold() bool {
	now := time.Now()
	if !d.holding.IsZero() {
		d.spent += now.Sub(d.holding)
	}
	d.holding = now
	if now.Sub(d.period) >= time.Second {
		d.period, d.spent = now, 0
	}
	if d.spent >= held {
		for s := range d.seats {
			s.turns = 0
		}
		d.floor = 0
		return false
	}
	if d.held == nil {
		d.held = d.loop.after(patience/4, d.release)
	}
	return true
}

// release runs on the thread.
func (d *Door) release() {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	d.held = nil
	d.loop.touch(d)
}
