package health

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
	"unicode"

	"github.com/muster-run/muster/spec"
)

const (
	// MinInterval is the shortest time between the ends and starts of checks,
	// whatever the spec says: an interval of 0 must not become a hot loop.
	MinInterval = 10 * time.Millisecond
	// jitter is how much an interval varies, so that the workers of a pool that
	// started together are not checked in step.
	jitter = 0.1
	// late is how long after its timeout a check may still come back.
	late = time.Second
	// lookEvery is how soon a changed interval counts while one is waited for.
	lookEvery = time.Second
)

// errHangs stands for a check that did not come back.
var errHangs = errors.New("the check itself hangs")

// Result is the outcome of one check.
type Result struct {
	OK bool
	// Text says why it failed, in one line of at most TextMax bytes.
	Text string
	// At is when it began, Took how long it lasted.
	At   time.Time
	Took time.Duration
}

// Watch checks at once and then again and again until ctx ends: after
// StartInterval until the first success, after Interval from then on, each
// counted from the start of the check before, ± 10 %. h is asked before each
// check and every second in between, so its times may change meanwhile. report is called by this goroutine
// with each result, except for a check that ctx has cut short; it should not block.
func Watch(ctx context.Context, h func() spec.Health, p Probe, report func(Result)) {
	passed, c := false, checker{probe: p}
	for ctx.Err() == nil {
		now := h()
		r := c.check(ctx, timeoutOf(now))
		if ctx.Err() != nil {
			return
		}
		passed = passed || r.OK
		report(r)
		if !pause(ctx, r, func() time.Duration { return intervalOf(h(), passed) }) {
			return
		}
	}
}

func intervalOf(h spec.Health, passed bool) time.Duration {
	if passed {
		return h.Interval.D()
	}
	return h.StartInterval.D()
}

// pause waits until the next check is due; false: ctx ended first.
func pause(ctx context.Context, last Result, interval func() time.Duration) bool {
	soonest, vary := time.Now().Add(MinInterval), 1+jitter*(2*rand.Float64()-1)
	for {
		due := last.At.Add(time.Duration(float64(interval()) * vary))
		if due.Before(soonest) {
			due = soonest
		}
		left := time.Until(due)
		if left <= 0 {
			return true
		}
		if !sleep(ctx, min(left, lookEvery)) {
			return false
		}
	}
}

// timeoutOf is the time one check may take; without one it is the default.
func timeoutOf(h spec.Health) time.Duration {
	if h.Timeout <= 0 {
		return spec.DefaultHealth().Timeout.D()
	}
	return h.Timeout.D()
}

// sleep returns false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// checker runs one check at a time.
type checker struct {
	probe Probe
	busy  chan error // of a check that has not come back; nil: none
}

// check runs one check. It always yields a result, also for a probe that panics
// or does not come back.
func (c *checker) check(ctx context.Context, timeout time.Duration) Result {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := Result{At: time.Now()}
	err := c.run(ctx)
	r.Took = time.Since(r.At)
	switch {
	case err == nil:
		r.OK = true
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		r.Text = oneLine(fmt.Sprintf("no answer within %s: %v", spec.Duration(timeout), err))
	default:
		r.Text = oneLine(err.Error())
	}
	return r
}

// run starts the probe in a goroutine of its own, which ends with the probe. One
// that has not come back keeps the next from starting.
func (c *checker) run(ctx context.Context) error {
	if c.busy != nil {
		select {
		case <-c.busy: // its result is of no use any more
		default:
			return errHangs
		}
	}
	done := make(chan error, 1)
	c.busy = done
	go func() { done <- guarded(ctx, c.probe) }()
	select {
	case err := <-done:
		c.busy = nil
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(late)
	defer t.Stop()
	select {
	case err := <-done:
		c.busy = nil
		if err == nil {
			return ctx.Err() // it passed, but too late
		}
		return err
	case <-t.C:
		return errHangs
	}
}

// guarded turns a panic of the probe into an error.
func guarded(ctx context.Context, p Probe) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the check panicked: %v", v)
		}
	}()
	return p.Check(ctx)
}

// oneLine makes text that may be shown on a terminal.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > TextMax {
		text = strings.ToValidUTF8(text[:TextMax], "")
	}
	return text
}
