package backoff

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
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

// What somebody else ends soon after it was ready is no failed start; what ends by
// itself, or by muster's verdict, is.
func TestFailedStart(t *testing.T) {
	began := time.Unix(1000, 0)
	soon, late := began.Add(500*time.Millisecond), began.Add(5*time.Second)
	verdict := fault.New(fault.Unhealthy, "it is ill")
	for name, tt := range map[string]struct {
		exit    process.Exit
		ready   bool
		verdict *fault.Fault
		early   bool
	}{
		"killed":                    {exit: process.Exit{Code: -1, Signal: syscall.SIGKILL, Time: soon}, ready: true},
		"terminated":                {exit: process.Exit{Code: -1, Signal: syscall.SIGTERM, Time: soon}, ready: true},
		"killed before ready":       {exit: process.Exit{Code: -1, Signal: syscall.SIGKILL, Time: late}, early: true},
		"its own mistake":           {exit: process.Exit{Code: -1, Signal: syscall.SIGSEGV, Time: soon}, ready: true, early: true},
		"its own end":               {exit: process.Exit{Code: 1, Time: soon}, ready: true, early: true},
		"by verdict":                {exit: process.Exit{Code: -1, Signal: syscall.SIGKILL, Time: soon}, ready: true, verdict: verdict, early: true},
		"its own mistake, and late": {exit: process.Exit{Code: -1, Signal: syscall.SIGSEGV, Time: late}, ready: true},
	} {
		e := End{App: spec.DefaultApp("web"), Exit: tt.exit, StartedAt: began, Verdict: tt.verdict}
		if tt.ready {
			e.ReadyAt = began.Add(time.Millisecond)
		}
		if a := Judge(e); a.Early != tt.early {
			t.Errorf("%s: failed start %v", name, a.Early)
		}
	}
}

// Where nobody serves, only a slot that comes up is waited for less.
func TestShorten(t *testing.T) {
	const s = time.Second
	task := func(a *spec.App) { a.Type = spec.Task }
	slow := func(a *spec.App) { a.Restart.Delay = spec.Duration(10 * s) }
	for name, tt := range map[string]struct {
		change             func(*spec.App)
		row                int
		delay, since, want time.Duration
	}{
		"long":                  {delay: 25 * s, want: s},
		"some of it is over":    {delay: 25 * s, since: s / 4, want: 3 * s / 4},
		"over":                  {delay: 25 * s, since: 9 * s},
		"short":                 {delay: s / 10, want: s / 10},
		"does not come up":      {row: 1, delay: 25 * s, since: s, want: 24 * s},
		"task":                  {change: task, delay: 25 * s, since: s, want: 24 * s},
		"it is to wait so long": {change: slow, delay: 25 * s, want: 10 * s},
	} {
		app := spec.DefaultApp("web")
		if tt.change != nil {
			tt.change(&app)
		}
		if got := Shorten(app, record.Tries{Count: 3, Row: tt.row}, tt.delay, tt.since); got != tt.want {
			t.Errorf("%s: %s, want %s", name, got, tt.want)
		}
	}
}

// What the worker said of its end itself is in the words of the fault, and its stack
// above the last lines; muster's own verdict keeps its words.
func TestJudgeACrash(t *testing.T) {
	now := time.Now()
	e := End{
		App: spec.DefaultApp("web"), Exit: process.Exit{PID: 7, Code: 1, Time: now}, StartedAt: now.Add(-time.Minute), ReadyAt: now.Add(-time.Minute),
		Worker: "web#0", Lines: []string{"bye"}, Crash: &event.WorkerCrash{Type: "E", Error: "boom", Stack: "a.js:1"},
	}
	f := Judge(e).Fault
	if f.Text != "ended with exit code 1 after 1m: E: boom" || !slices.Equal(f.Output, []string{"a.js:1", "bye"}) {
		t.Errorf("%+v", f)
	}
	e.Verdict = fault.New(fault.Heartbeat, "silent")
	if f := Judge(e).Fault; f.Text != "silent" || f.Code != fault.Heartbeat || len(f.Output) != 2 {
		t.Errorf("%+v", f)
	}
	e.Verdict, e.Exit.Code = nil, 0
	if f := Judge(e).Fault; f != nil {
		t.Errorf("%+v", f)
	}
}
