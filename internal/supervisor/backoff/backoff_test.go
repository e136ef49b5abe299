package backoff

import (
	"testing"
	"time"

	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Back-off covers every exit, doubles, is capped, and resets after a sound run.
func TestBackoffDoublesAndResets(t *testing.T) {
	rules := spec.DefaultApp("x").Restart
	var n record.Tries
	failed := func(a Accident, jitter float64) (d time.Duration, up bool) {
		n, d, up = Failed(n, a, rules, jitter)
		return d, up
	}
	soon := Accident{Ran: 2 * time.Second}
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		if d, up := failed(soon, 0); up || d != want*time.Millisecond {
			t.Fatalf("accident %d: %s, gave up %v", i+1, d, up)
		}
	}
	if d, _ := failed(Accident{Sound: true}, 0); d != 100*time.Millisecond {
		t.Errorf("after a sound run: %s", d)
	}
	if d, _ := failed(soon, 1); d != 240*time.Millisecond {
		t.Errorf("upper jitter: %s", d)
	}
	if d, _ := failed(soon, -1); d != 320*time.Millisecond {
		t.Errorf("lower jitter: %s", d)
	}
}

// Limit failed starts whose running times fit the window are enough; an earlier
// value of the counter is not touched by what follows.
func TestGivesUp(t *testing.T) {
	rules := spec.DefaultApp("x").Restart
	for ran, want := range map[time.Duration]bool{5 * time.Second: true, 7 * time.Second: false} {
		var n, nine record.Tries
		up := false
		for i := range rules.Limit {
			if i == rules.Limit-1 {
				nine = n
			}
			n, _, up = Failed(n, Accident{Early: true, Ran: ran}, rules, 0)
		}
		if up != want {
			t.Errorf("%d starts of %s: gave up %v", rules.Limit, ran, up)
		}
		if nine.Row != rules.Limit-1 || len(nine.Runs) != rules.Limit-1 {
			t.Errorf("the earlier value is %+v", nine)
		}
		if _, _, up = Failed(n, Accident{Ran: time.Hour}, rules, 0); up {
			t.Error("gave up after a long run")
		}
	}
}

// Without a limit nothing is kept of the runs.
func TestNoLimit(t *testing.T) {
	rules := spec.DefaultApp("x").Restart
	rules.Limit = 0
	var n record.Tries
	for range 100 {
		var up bool
		if n, _, up = Failed(n, Accident{Early: true}, rules, 0); up || len(n.Runs) > 0 {
			t.Fatalf("%+v", n)
		}
	}
}
