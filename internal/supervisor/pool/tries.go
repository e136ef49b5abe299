package pool

import (
	"math"
	"time"

	"github.com/muster-run/muster/spec"
)

// tries counts the accidents of one worker and computes its back-off.
type tries struct {
	count int             // accidents since the last sound run: the exponent
	row   int             // failed starts in a row
	runs  []time.Duration // how long the latest failed starts ran, at most limit
}

// failed notes one accident and says how long to wait, or to give up: limit
// failed starts in a row whose running times together are within the window.
// The waits do not count, so that the answer does not depend on the back-off.
// jitter is uniform in [-1, 1].
func (t *tries) failed(a accident, rules spec.Restart, jitter float64) (delay time.Duration, giveUp bool) {
	if a.sound {
		*t = tries{}
	}
	t.count++
	if a.early {
		t.row++
		t.runs = append(t.runs, a.ran)
	} else {
		t.row, t.runs = 0, nil
	}
	if rules.Limit > 0 && t.row >= rules.Limit {
		t.runs = t.runs[max(0, len(t.runs)-rules.Limit):]
		var sum time.Duration
		for _, ran := range t.runs {
			sum += ran
		}
		if sum <= rules.Window.D() {
			return 0, true
		}
	}
	return backoff(t.count, rules, jitter), false
}

// backoff is Delay × Factor^(n-1), at most MaxDelay, ± Jitter.
func backoff(n int, rules spec.Restart, jitter float64) time.Duration {
	d := float64(rules.Delay) * math.Pow(rules.Factor, float64(n-1))
	d = min(d, float64(rules.MaxDelay))
	return time.Duration(d * (1 + rules.Jitter*jitter))
}
