// Package backoff counts the accidents of one worker and says how long to wait
// before it is started again, or that it is given up. It is pure.
package backoff

import (
	"fmt"
	"math"
	"slices"
	"syscall"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/crash"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Accident is the end of a process that nobody asked for.
type Accident struct {
	Early bool // a failed start: before ready, or before min_uptime unless it was felled
	Sound bool // it was ready for reset_after: the back-off starts anew
	Clean bool // exit code 0, and muster did not condemn it
	Ran   time.Duration
	Fault *fault.Fault // what is wrong with that; nil: nothing
}

// End is how a process ended that nobody had told to.
type End struct {
	App                spec.App
	Exit               process.Exit
	StartedAt, ReadyAt time.Time
	Verdict            *fault.Fault       // why muster ended it; nil: it did not
	Worker             string             // "web#2"
	Lines              []string           // the last it printed
	Crash              *event.WorkerCrash // what it has said of its end itself; nil: nothing
}

// Judge turns such an end into an accident.
func Judge(e End) Accident {
	rules, ready := e.App.Restart, !e.ReadyAt.IsZero()
	up := e.Exit.Time.Sub(e.StartedAt)
	a := Accident{
		Early: !ready || up < rules.MinUptime.D() && !felled(e), Ran: up,
		Sound: ready && e.Exit.Time.Sub(e.ReadyAt) >= rules.ResetAfter.D(),
		Clean: e.Exit.Code == 0 && e.Verdict == nil,
		Fault: e.Verdict,
	}
	where := fmt.Sprintf("%s (pid %d)", e.Worker, e.Exit.PID)
	switch {
	case a.Fault != nil:
	case !a.Clean:
		code, when := fault.ExitedEarly, "before it was ready"
		if ready {
			code, when = fault.Exited, "after "+spec.Duration(up.Round(time.Millisecond)).String()
		}
		if e.App.Type == spec.Task {
			code = fault.TaskFailed
		}
		a.Fault = fault.New(code, "ended with %s %s", generation.ExitText(e.Exit), when).At(where)
	case !ready && e.App.Type == spec.Service:
		a.Fault = fault.New(fault.ExitedEarly, "ended with exit code 0 before it was ready").At(where)
	}
	if text := crash.Text(e.Crash); text != "" && a.Fault != nil {
		if e.Verdict == nil {
			a.Fault.Text += ": " + text
		}
		e.Lines = crash.Above(e.Crash, e.Lines)
	}
	if a.Fault != nil {
		a.Fault = a.Fault.WithOutput(e.Lines)
	}
	return a
}

// felled: a signal that no program meets by a mistake of its own has ended it, and
// muster did not send that. What somebody else (the kernel, when memory is short, too)
// does to a worker that was ready says nothing of how it starts.
func felled(e End) bool {
	switch e.Exit.Signal {
	case syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP:
		return e.Verdict == nil
	}
	return false
}

// aloneMax is the longest that a slot whose last run had been ready waits while no
// worker of its app is ready: then there is nobody to leave the work to.
const aloneMax = time.Second

// Shorten is how much of a wait is left for a slot of an app that nobody serves, when
// since of it are over. restart.delay is waited in any case; and the answer for a task,
// and for a slot whose last start failed, is the whole rest: what does not come up
// serves nobody the sooner.
func Shorten(app spec.App, t record.Tries, delay, since time.Duration) time.Duration {
	if app.Type == spec.Service && t.Row == 0 {
		delay = min(delay, max(aloneMax, app.Restart.Delay.D()))
	}
	return max(0, delay-since)
}

// Failed counts one more accident and says how long to wait, or to give up: limit
// failed starts in a row whose running times together are within the window.
// The waits do not count, so that the answer does not depend on the back-off.
// jitter is uniform in [-1, 1]. What t refers to is not changed.
func Failed(t record.Tries, a Accident, rules spec.Restart, jitter float64) (next record.Tries, delay time.Duration, giveUp bool) {
	if a.Sound {
		t = record.Tries{}
	}
	t.Count++
	if a.Early {
		t.Row++
		t.Runs = append(slices.Clone(t.Runs), a.Ran)
	} else {
		t.Row, t.Runs = 0, nil
	}
	if rules.Limit > 0 {
		t.Runs = t.Runs[max(0, len(t.Runs)-rules.Limit):]
	} else {
		t.Runs = nil
	}
	if rules.Limit > 0 && t.Row >= rules.Limit {
		var sum time.Duration
		for _, ran := range t.Runs {
			sum += ran
		}
		if sum <= rules.Window.D() {
			return t, 0, true
		}
	}
	return t, wait(t.Count, rules, jitter), false
}

// wait is Delay × Factor^(n-1), at most MaxDelay, ± Jitter.
func wait(n int, rules spec.Restart, jitter float64) time.Duration {
	d := float64(rules.Delay) * math.Pow(rules.Factor, float64(n-1))
	d = min(d, float64(rules.MaxDelay))
	return time.Duration(d * (1 + rules.Jitter*jitter))
}
