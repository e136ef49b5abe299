package handoff

import (
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
)

// Of the workers that report what they have, the only free one does not get a burst
// alone: one with far fewer connections, which is about to answer, is waited for.
func TestLeastWaitsForTheLeast(t *testing.T) {
	for name, c := range map[string]struct {
		counted   bool
		open      int           // of the busy worker; the free one has 20
		turns     int           // of the busy worker; the free one has had 20
		underWay  time.Duration // since it was offered a connection
		free, yet bool          // it owes no answer; it was late a moment ago
		wait      bool
	}{
		"far fewer":            {counted: true, open: 20 - lead - 1, wait: true},
		"hardly fewer":         {counted: true, open: 20 - lead},
		"far fewer, but late":  {counted: true, underWay: time.Hour},
		"late a moment ago":    {counted: true, yet: true},
		"it is free itself":    {counted: true, free: true},
		"nobody reports":       {turns: 20 - lead, wait: true},
		"nobody reports, even": {turns: 20 - lead + 1},
		"turns do not matter":  {counted: true, open: 20},
	} {
		t.Run(name, func(t *testing.T) {
			l, d, _ := roundRobin(t, DoorOptions{Policy: spec.BalanceLeast})
			full, busy := join(d, 0, taker("full")), join(d, 1, taker("busy"))
			l.mu.Lock()
			defer l.mu.Unlock()
			full.counted, full.open, full.turns = c.counted, 20, 20
			busy.counted, busy.open, busy.turns = c.counted, c.open, c.turns
			if !c.free {
				busy.under = []flight{{id: 1, conn: -1}}
				busy.offered = time.Now().Add(time.Minute - c.underWay)
			}
			if c.yet {
				busy.excused = time.Now().Add(time.Hour)
			}
			if got := d.heavy(full); got != c.wait {
				t.Errorf("waits for it: %t", got)
			}
			if got := d.pick() < 0; got != c.wait || got != (d.held != nil) {
				t.Errorf("deals to nobody: %t, looks again: %t", got, d.held != nil)
			}
			busy.under = nil
		})
	}
}

// A worker that is slow, but never late, does not slow down the others to its pace.
func TestSlowDoesNotRule(t *testing.T) {
	for _, policy := range []spec.Balance{spec.BalanceRoundRobin, spec.BalanceLeast} {
		l, d, _ := roundRobin(t, DoorOptions{Policy: policy})
		quick, slow := join(d, 0, taker("quick")), join(d, 1, taker("slow"))
		l.mu.Lock()
		slow.under = []flight{{id: 1, conn: -1}}
		slow.offered = time.Now().Add(time.Hour) // never late
		d.free = []*Seat{quick}
		quick.turns, d.period, d.spent = 100, time.Now().Add(time.Hour), held-time.Nanosecond
		if i := d.pick(); i >= 0 {
			t.Errorf("%s: dealt to one that is far ahead", policy)
		}
		d.holding = d.holding.Add(-time.Nanosecond)
		if i := d.pick(); i != 0 || quick.turns != 0 || !d.holding.IsZero() {
			t.Errorf("%s: still held: %d", policy, i)
		}
		quick.turns = 100
		if d.pick() < 0 {
			t.Errorf("%s: held again in the same second", policy)
		}
		quick.turns, d.period = 100, time.Now().Add(-time.Second)
		if d.pick() >= 0 {
			t.Errorf("%s: not held in the next second", policy)
		}
		slow.under = nil
		l.mu.Unlock()
	}
}
