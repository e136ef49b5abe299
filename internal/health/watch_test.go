package health

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/spec"
)

// probeFunc is a probe made of a function.
type probeFunc func(ctx context.Context) error

func (f probeFunc) Check(ctx context.Context) error { return f(ctx) }

func rules() spec.Health {
	h := spec.DefaultHealth()
	h.Type = "tcp"
	return h
}

// watch runs Watch for a while of the bubble's time and returns the results.
func watch(t *testing.T, d time.Duration, h func() spec.Health, p Probe) []Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var all []Result
	Watch(ctx, h, p, func(r Result) { all = append(all, r) })
	return all
}

// near allows the jitter.
func near(got, want time.Duration) bool {
	return got >= want*89/100 && got <= want*111/100
}

func TestWatchIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, n := time.Now(), 0
		results := watch(t, 2*time.Minute, rules, probeFunc(func(context.Context) error {
			if n++; n <= 3 {
				return errors.New("not up")
			}
			return nil
		}))
		if results[0].At != began {
			t.Errorf("the first check came after %v", results[0].At.Sub(began))
		}
		for i, r := range results {
			if r.OK != (i >= 3) {
				t.Errorf("%d: %+v", i, r)
			}
			if i == 0 {
				continue
			}
			want := time.Second
			if i > 3 {
				want = 10 * time.Second
			}
			if got := r.At.Sub(results[i-1].At); !near(got, want) {
				t.Errorf("check %d came after %v", i, got)
			}
		}
		if len(results) < 13 || len(results) > 18 {
			t.Errorf("%d checks in two minutes", len(results))
		}
	})
}

// The workers of a pool that started together are not checked in step.
func TestWatchJitter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Second)
		defer cancel()
		seconds := make(chan time.Time, 100)
		for range 20 {
			go func() {
				n := 0
				Watch(ctx, rules, probeFunc(func(context.Context) error { return nil }), func(r Result) {
					if n++; n == 2 {
						seconds <- r.At
					}
				})
			}()
		}
		<-ctx.Done()
		synctest.Wait()
		different := map[time.Time]bool{}
		for range 20 {
			different[<-seconds] = true
		}
		if len(different) < 15 {
			t.Errorf("%d different moments for 20 workers", len(different))
		}
	})
}

// S1.12: probing goes on after a failed probe, always; also when it panics, or
// uses up its time, or hangs for good.
func TestWatchGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		n := 0
		results := watch(t, 5*time.Minute, rules, probeFunc(func(ctx context.Context) error {
			n++
			switch n {
			case 2:
				panic("broken check")
			case 3:
				<-ctx.Done()
				return ctx.Err()
			case 4:
				<-release // does not care for its context
			case 5:
				return errors.New("refused\nby\x1b[31m peer")
			}
			return nil
		}).releasing(release, 90*time.Second))
		texts := []string{"", "panicked: broken check", "no answer within 1s", "hangs"}
		for i, want := range texts {
			if r := results[i]; r.OK != (want == "") || !strings.Contains(r.Text, want) {
				t.Errorf("%d: %+v, want %q", i, r, want)
			}
		}
		hung, i := 0, 4
		for ; !strings.Contains(results[i].Text, "refused"); i++ {
			if results[i].OK || !strings.Contains(results[i].Text, "hangs") {
				t.Errorf("while it hangs: %+v", results[i])
			}
			hung++
		}
		if hung < 4 || results[i].Text != "refused by [31m peer" || !results[i+1].OK {
			t.Errorf("after %d hung: %+v, %+v", hung, results[i], results[i+1])
		}
	})
}

// releasing closes a channel after some time.
func (f probeFunc) releasing(release chan struct{}, after time.Duration) probeFunc {
	time.AfterFunc(after, func() { close(release) })
	return f
}

func TestWatchNeverOverlaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running := 0
		fast := rules()
		fast.Interval, fast.StartInterval = spec.Duration(time.Second), spec.Duration(time.Second)
		fast.Timeout = spec.Duration(time.Minute)
		results := watch(t, time.Minute, func() spec.Health { return fast }, probeFunc(func(context.Context) error {
			running++
			defer func() { running-- }()
			if running > 1 {
				t.Error("two checks at once")
			}
			<-time.After(5 * time.Second)
			return nil
		}))
		if len(results) < 11 || len(results) > 12 {
			t.Errorf("%d checks of 5 s in a minute", len(results))
		}
		if results[0].Took != 5*time.Second {
			t.Errorf("took %v", results[0].Took)
		}
	})
}

// An interval of 0 is no hot loop, and a timeout of 0 is the default.
func TestWatchZeroTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := watch(t, time.Second, func() spec.Health { return spec.Health{} }, probeFunc(func(context.Context) error { return nil }))
		if len(results) < 50 || len(results) > 101 {
			t.Errorf("%d checks in a second", len(results))
		}
		results = watch(t, 10*time.Second, func() spec.Health { return spec.Health{} }, probeFunc(func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}))
		if len(results) < 9 || results[0].Took != time.Second {
			t.Errorf("%d checks, the first took %v", len(results), results[0].Took)
		}
	})
}

// Times that change while it runs count from the next check on.
func TestWatchChangedTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		results := watch(t, time.Minute, func() spec.Health {
			h := rules()
			if time.Since(began) > 25*time.Second {
				h.Interval = spec.Duration(time.Second)
			}
			return h
		}, probeFunc(func(context.Context) error { return nil }))
		if n := len(results); n < 25 || n > 40 {
			t.Errorf("%d checks", n)
		}
	})
}

// A check that is cut short by the end is not reported, and the end is prompt.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			Watch(ctx, rules, probeFunc(func(ctx context.Context) error {
				<-ctx.Done()
				return ctx.Err()
			}), func(r Result) { t.Errorf("reported %+v", r) })
		}()
		<-time.After(100 * time.Millisecond)
		before := time.Now()
		cancel()
		<-done
		if took := time.Since(before); took != 0 {
			t.Errorf("took %v", took)
		}
		Watch(ctx, rules, probeFunc(func(context.Context) error {
			t.Error("checked after the end")
			return nil
		}), func(Result) {})
	})
}

// A check that passes after its time has not passed.
func TestWatchTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		results := watch(t, 4*time.Second, rules, probeFunc(func(ctx context.Context) error {
			<-ctx.Done()
			return nil
		}))
		for _, r := range results {
			if r.OK || !strings.Contains(r.Text, "no answer within 1s") {
				t.Errorf("%+v", r)
			}
		}
	})
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\r\n\tb\x00\xff"); got != "a   b \uFFFD" {
		t.Errorf("%q", got)
	}
	if got := oneLine(strings.Repeat("ü", TextMax)); len(got) > TextMax {
		t.Errorf("%d bytes", len(got))
	}
}

// S1.10: an interval that becomes shorter, or longer, counts while one is waited for.
func TestWatchChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := rules()
		h.Interval = spec.Duration(time.Hour)
		var at []time.Time
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		var now atomic.Pointer[spec.Health]
		now.Store(&h)
		time.AfterFunc(30*time.Second, func() { short := h; short.Interval = spec.Duration(20 * time.Second); now.Store(&short) })
		Watch(ctx, func() spec.Health { return *now.Load() }, probeFunc(func(context.Context) error { return nil }), func(r Result) {
			at = append(at, r.At)
			if len(at) == 2 {
				now.Store(&h)
			}
		})
		if len(at) != 2 || at[1].Sub(begin) < 30*time.Second || at[1].Sub(begin) > 31*time.Second {
			t.Errorf("checks at %v", at)
		}
	})
}
