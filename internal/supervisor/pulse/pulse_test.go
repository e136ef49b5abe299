package pulse

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/spec"
)

// rig is a Pulse in a bubble, with what it has told.
type rig struct {
	*testing.T
	p     *Pulse
	began time.Time

	mu   sync.Mutex
	told []string
}

func inRig(t *testing.T, rules spec.Heartbeat, beats bool, test func(r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, began: time.Now()}
		r.p = New(rules, beats, Events{
			First: func() { r.tell("first") },
			Never: func(d time.Duration) { r.tell("never %s", d) },
			Silent: func(last time.Time, age time.Duration) {
				r.tell("silent %s since %s", age, r.at(last))
			},
			Back: func(age time.Duration) { r.tell("back after %s", age) },
			Dead: func(last time.Time, age time.Duration) { r.tell("dead %s since %s", age, r.at(last)) },
		})
		defer r.p.Stop()
		test(r)
	})
}

func (r *rig) at(t time.Time) string {
	if t.IsZero() {
		return "?"
	}
	return t.Sub(r.began).String()
}

func (r *rig) tell(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf(format, args...))
}

func (r *rig) pass(d time.Duration) {
	<-time.After(d) // in the bubble
	synctest.Wait()
}

// wants compares what was told since the last time.
func (r *rig) wants(told ...string) {
	r.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.told, told) {
		r.Fatalf("after %s: told %q, want %q", time.Since(r.began), r.told, told)
	}
	r.told = nil
}

var rules = spec.Heartbeat{Interval: spec.Duration(10 * time.Second), Kill: spec.Duration(30 * time.Second)}

// A silence is reported once with the last sign of life and its age, then judged (S0.8).
func TestSilence(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		for range 20 {
			r.pass(2 * time.Second)
			r.p.Beat()
		}
		r.wants("first")
		r.pass(9999 * time.Millisecond)
		r.wants()
		r.pass(time.Millisecond)
		r.wants("silent 10s since 40s")
		r.pass(20*time.Second - time.Millisecond)
		r.wants()
		r.pass(time.Millisecond)
		r.wants("dead 30s since 40s")
		r.p.Beat()
		r.pass(time.Hour)
		r.wants()
	})
}

// Who speaks again is told of once, and watched as before.
func TestBack(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		r.pass(25 * time.Second)
		r.wants("first", "silent 10s since 0s")
		r.p.Beat()
		r.p.Beat()
		r.wants("back after 25s")
		r.pass(5 * time.Second)
		r.p.Beat()
		r.pass(11 * time.Second)
		r.wants("silent 10s since 30s")
	})
}

// A program that never sends any is told of once and left alone; when it begins, it is
// watched.
func TestNever(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Watch()
		r.pass(time.Hour)
		r.wants("never 10s")
		r.p.Beat()
		r.pass(30 * time.Second)
		r.wants("first", "silent 10s since 1h0m0s", "dead 30s since 1h0m0s")
	})
}

// What it says before it is ready counts, but silence does not yet.
func TestBeforeReady(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Beat()
		r.pass(time.Hour)
		r.wants("first")
		r.p.Watch()
		r.pass(11 * time.Second)
		r.wants("silent 1h0m10s since 0s")
	})
}

// One that an agent before has heard is judged from now on.
func TestAdopted(t *testing.T) {
	inRig(t, rules, true, func(r *rig) {
		r.p.Watch()
		r.pass(30 * time.Second)
		r.wants("silent 10s since ?", "dead 30s since ?")
	})
}

func TestOnlyReported(t *testing.T) {
	inRig(t, spec.Heartbeat{Interval: rules.Interval}, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		r.pass(time.Hour)
		r.wants("first", "silent 10s since 0s")
		r.p.Beat()
		r.wants("back after 1h0m0s")
	})
}

// Other rules count from the moment they are there; the age is the real one.
func TestChange(t *testing.T) {
	inRig(t, spec.Heartbeat{}, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		r.pass(time.Hour)
		r.wants("first")
		r.p.Change(rules)
		r.p.Change(rules)
		r.pass(10 * time.Second)
		r.wants("silent 1h0m10s since 0s")
	})
	inRig(t, rules, false, func(r *rig) {
		r.p.Change(rules)
		r.p.Watch()
		r.p.Beat()
		r.pass(15 * time.Second)
		r.wants("first", "silent 10s since 0s")
		longer := rules
		longer.Kill = spec.Duration(time.Minute)
		r.p.Change(longer)
		r.pass(44 * time.Second)
		r.wants()
		r.pass(time.Second)
		r.wants("dead 1m0s since 0s")
	})
	inRig(t, rules, false, func(r *rig) { // off in the middle of a silence
		r.p.Watch()
		r.p.Beat()
		r.pass(15 * time.Second)
		r.p.Change(spec.Heartbeat{})
		r.pass(time.Hour)
		r.p.Beat()
		r.wants("first", "silent 10s since 0s")
	})
}

// An agent that did not run judges nobody for that.
func TestAgentWasAway(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		r.pass(5 * time.Second)
		r.wants("first")
		r.p.mu.Lock()
		r.p.disarm()
		away := r.p.due.Add(lateMax + time.Second)
		r.p.mu.Unlock()
		r.pass(time.Until(away)) // the timer comes late
		r.p.mu.Lock()
		r.p.look(time.Now())
		r.p.mu.Unlock()
		r.wants()
		r.pass(9 * time.Second)
		r.wants()
		r.pass(time.Second)
		r.wants("silent 22s since 0s")
	})
}

// Nothing comes after Stop.
func TestStop(t *testing.T) {
	inRig(t, rules, false, func(r *rig) {
		r.p.Watch()
		r.p.Beat()
		r.p.Stop()
		r.p.Stop()
		r.p.Beat()
		r.p.Change(spec.Heartbeat{Interval: 1})
		r.p.Watch()
		r.pass(time.Hour)
		r.wants("first")
		if !r.p.Beats() {
			t.Error("it has forgotten")
		}
	})
}

// Any number of beats may come from anywhere.
func TestManyBeats(t *testing.T) {
	p := New(rules, false, Events{First: func() {}})
	p.Watch()
	defer p.Stop()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10_000 {
				p.Beat()
			}
		})
	}
	wg.Wait()
	if allocs := testing.AllocsPerRun(100, p.Beat); allocs > 0 {
		t.Errorf("%.0f allocations for each", allocs)
	}
}

// Last is what `muster status` shows of it.
func TestLast(t *testing.T) {
	inRig(t, rules, true, func(r *rig) {
		if last := r.p.Last(); !last.IsZero() {
			t.Error("an earlier agent's:", last)
		}
		r.p.Watch()
		r.pass(3 * time.Second)
		r.p.Beat()
		r.pass(time.Second)
		if got := r.at(r.p.Last()); got != "3s" {
			t.Error(got)
		}
	})
}
