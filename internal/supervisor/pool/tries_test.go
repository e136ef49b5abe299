package pool

import (
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
)

// Back-off covers every exit, doubles, is capped, and resets after a sound run.
func TestBackoffDoublesAndResets(t *testing.T) {
	rules := spec.DefaultApp("x").Restart
	var n tries
	soon := accident{ran: 2 * time.Second}
	for i, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		if d, up := n.failed(soon, rules, 0); up || d != want*time.Millisecond {
			t.Fatalf("accident %d: %s, gave up %v", i+1, d, up)
		}
	}
	if d, _ := n.failed(accident{sound: true}, rules, 0); d != 100*time.Millisecond {
		t.Errorf("after a sound run: %s", d)
	}
	if d, _ := n.failed(soon, rules, 1); d != 240*time.Millisecond {
		t.Errorf("upper jitter: %s", d)
	}
	if d, _ := n.failed(soon, rules, -1); d != 320*time.Millisecond {
		t.Errorf("lower jitter: %s", d)
	}
}
