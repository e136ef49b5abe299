package supervisor

import (
	"fmt"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// goal is what a worker is to become.
type goal int

const (
	goalRun   goal = iota // run, and be started again after an accident
	goalStop              // end and stay so
	goalAgain             // end and be started at once: not an accident
)

// worker is the state machine of one worker: a slot's process of one
// generation and what follows it. Only its pool's goroutine touches it.
type worker struct {
	pool *pool
	slot *slot
	gen  *generation

	state event.State
	why   string
	goal  goal
	// trial: a candidate of a rollout. Its first failure is final and is the
	// rollout's to judge; there is no back-off.
	trial bool
	// fault is why it failed or was given up; nil while all is well.
	fault *fault.Fault

	run   *run // the present process; nil: none
	tries tries
	next  time.Time // of the start, in back-off
	timer *time.Timer

	health     string // "", starting, ok, failing
	healthText string
	statusText string
}

// start begins a new process. From: no process at all.
func (w *worker) start(why string) {
	w.goal, w.fault = goalRun, nil
	w.health, w.healthText, w.statusText = "", "", ""
	w.run = newRun(w)
	w.transition(event.Starting, why)
	w.run.launch()
}

// started is the answer of the Starter.
func (w *worker) started(r *run, proc process.Proc, err error) {
	if w.run != r {
		return
	}
	if err != nil {
		w.startFailed(r, fault.From(err))
		return
	}
	r.proc, r.running, r.startedAt = proc, true, w.pool.sup.now()
	w.slot.startedOnce = true
	switch {
	case r.exit != nil: // it ended before Start had returned
		w.exited(r, *r.exit)
	case w.goal != goalRun:
		w.beginStop(r)
	default:
		r.watch()
	}
}

func (w *worker) startFailed(r *run, f *fault.Fault) {
	r.close()
	w.run = nil
	w.fault = f.At(w.String())
	w.slot.lastFault = w.fault
	if w.goal == goalStop {
		w.transition(event.Stopped, "stopped before it was started")
		return
	}
	w.pool.warn(w, w.fault)
	w.accident(accident{early: true, fault: w.fault})
}

// met notes that one of the things readiness waits for has come.
func (w *worker) met(r *run, n need) {
	if w.run != r || !r.running {
		return
	}
	r.needs &^= n
	if w.state == event.Starting && r.needs == 0 && w.goal == goalRun {
		r.readyAt = w.pool.sup.now()
		r.disarm()
		w.transition(event.Ready, "")
		r.afterReady()
	}
}

// readyTimeout: what readiness waits for did not come in time.
func (w *worker) readyTimeout(r *run) {
	if w.run != r || w.state != event.Starting {
		return
	}
	f := fault.New(fault.ReadyTimeout, "not ready within %s: %s",
		r.readyIn.Round(time.Millisecond), r.needs.missing(w.gen.release.app))
	if r.noAccept != nil {
		f = f.WithFix(r.noAccept.Fix)
	}
	w.condemn(r, f)
}

// condemn ends a process that muster itself judges as failed.
func (w *worker) condemn(r *run, f *fault.Fault) {
	if w.run != r || !r.running || (w.state != event.Starting && w.state != event.Ready) {
		return
	}
	r.fault = f.At(w.at(r.proc.PID))
	w.pool.warn(w, r.fault)
	w.beginStop(r)
}

// stop ends the worker towards a goal. now skips the graceful part.
func (w *worker) stop(g goal, why string, now bool) {
	if w.goal != goalStop || g == goalStop {
		w.goal = g
	}
	w.trial = w.trial && g == goalRun
	switch w.state {
	case event.Starting, event.Ready:
		w.why = why
		if w.run.running && now {
			w.kill(w.run, why)
		} else if w.run.running {
			w.beginStop(w.run)
		}
	case event.Draining, event.Stopping:
		if now {
			w.kill(w.run, why)
		}
	case event.Backoff, event.Failed, event.Stopped:
		w.disarm()
		if g == goalAgain {
			w.tries = tries{}
			w.start(why)
		} else if w.state != event.Stopped {
			w.transition(event.Stopped, why)
		}
	}
}

// beginStop sends the stop signal (or runs the stop command) and sets the
// deadline after which everything is killed.
func (w *worker) beginStop(r *run) {
	why := w.why
	if r.fault != nil {
		why = r.fault.Text
	}
	r.unwatch()
	w.transition(event.Draining, why)
	rules := w.gen.release.app.Stop
	r.arm(rules.Timeout.D(), func() { w.stopTimeout(r) })
	r.requestStop(rules)
}

// stopTimeout: the main process has not ended within stop.timeout.
func (w *worker) stopTimeout(r *run) {
	if w.run != r || w.state != event.Draining {
		return
	}
	f := fault.New(fault.StopKilled, "did not end within %s after %s and was killed",
		w.gen.release.app.Stop.Timeout, w.stopSignal()).At(w.at(r.proc.PID))
	w.pool.warn(w, f)
	w.kill(r, f.Text)
}

func (w *worker) kill(r *run, why string) {
	r.unwatch()
	r.disarm()
	if w.state != event.Stopping {
		w.transition(event.Stopping, why)
	}
	r.kill()
}

// exited: the main process has ended; what it left behind is cleared next.
func (w *worker) exited(r *run, e process.Exit) {
	if w.run != r {
		return
	}
	r.exit = &e
	if !r.running { // Start has not returned yet
		return
	}
	r.planned = w.goal != goalRun && r.fault == nil
	switch w.state {
	case event.Starting, event.Ready:
		r.unwatch()
		w.transition(event.Stopping, exitText(e))
		r.clear(w.stopSignal(), min(w.gen.release.app.Stop.Timeout.D(), accidentPatience))
	case event.Draining:
		left := r.disarm()
		w.transition(event.Stopping, w.why)
		r.clear(w.stopSignal(), left)
	case event.Stopping:
		r.clear(w.stopSignal(), 0)
	case event.Stopped, event.Backoff, event.Failed:
		// No process belongs to these states.
	}
}

// gone: nothing is left of the process and its group, and its output is recorded.
func (w *worker) gone(r *run) {
	if w.run != r {
		return
	}
	exit := r.report()
	w.slot.lastExit = &exit
	w.pool.publish(w, event.WorkerExit{
		Code: exit.Code, Signal: exit.Signal, Core: r.exit.Core,
		Uptime: exit.Uptime, Planned: exit.Planned, Lines: exit.Lines,
	})
	r.close()
	w.run = nil
	switch {
	case w.goal == goalStop:
		w.transition(event.Stopped, w.why)
	case w.goal == goalAgain:
		w.start("restarted")
	default:
		w.fault = r.fault
		w.accident(w.judge(r))
	}
}

// judge turns the end of a process that nobody asked for into an accident.
func (w *worker) judge(r *run) accident {
	rules := w.gen.release.app.Restart
	up := r.exit.Time.Sub(r.startedAt)
	a := accident{
		early: r.readyAt.IsZero() || up < rules.MinUptime.D(),
		clean: r.exit.Code == 0 && r.fault == nil,
		ran:   up,
		fault: r.fault,
		sound: !r.readyAt.IsZero() && r.exit.Time.Sub(r.readyAt) >= rules.ResetAfter.D(),
	}
	if a.fault == nil && !a.clean {
		code, when := fault.ExitedEarly, "before it was ready"
		if !r.readyAt.IsZero() {
			code, when = fault.CrashLoop, "after "+spec.Duration(up.Round(time.Millisecond)).String()
		}
		a.fault = fault.New(code, "ended with %s %s", exitText(*r.exit), when).At(w.at(r.exit.PID))
	}
	if a.fault == nil && r.readyAt.IsZero() && w.gen.release.app.Type == spec.Service {
		a.fault = fault.New(fault.ExitedEarly, "ended with exit code 0 before it was ready").At(w.at(r.exit.PID))
	}
	if a.fault != nil {
		a.fault = a.fault.WithOutput(r.lines)
		w.fault, w.slot.lastFault = a.fault, a.fault
	}
	return a
}

// accident decides what follows an end that nobody asked for.
func (w *worker) accident(a accident) {
	app := w.gen.release.app
	over := a.clean && (app.Type == spec.Task || app.Restart.Policy != spec.RestartAlways)
	switch {
	case w.goal == goalStop:
		w.transition(event.Stopped, w.why)
	case w.goal == goalAgain:
		w.start("restarted")
	case w.trial:
		w.fail(a.fault)
	case over:
		w.slot.ended = true
		w.transition(event.Stopped, "completed, exit code 0")
	case app.Restart.Policy == spec.RestartNever, app.Type == spec.Task && app.Restart.Policy == spec.RestartAlways:
		w.slot.ended = true
		w.fail(a.fault)
	default:
		w.retry(a)
	}
}

// retry waits the back-off, or gives up.
func (w *worker) retry(a accident) {
	delay, giveUp := w.tries.failed(a, w.gen.release.app.Restart, w.pool.sup.jitter())
	if giveUp {
		f := fault.New(fault.CrashLoop, "given up after %d failed starts in a row", w.tries.row)
		if a.fault != nil {
			f.Text += ": " + a.fault.Text
			f.Output = a.fault.Output
		}
		w.slot.ended = true
		w.fail(f.At(w.String()))
		return
	}
	w.next = w.pool.sup.now().Add(delay)
	why := "exit code 0"
	if a.fault != nil {
		why = a.fault.Text
	}
	w.transition(event.Backoff, why)
	w.timer = time.AfterFunc(delay, func() { w.pool.post(func() { w.backoffOver() }) })
}

func (w *worker) backoffOver() {
	if w.state != event.Backoff || w.pool.sup.now().Before(w.next.Add(-time.Millisecond)) {
		return
	}
	w.slot.countRestart(w.pool.sup.now())
	w.start(fmt.Sprintf("try %d", w.tries.count+1))
}

func (w *worker) fail(f *fault.Fault) {
	if f == nil {
		f = fault.New(fault.ExitedEarly, "ended with exit code 0").At(w.String())
	}
	w.fault, w.slot.lastFault = f, f
	w.pool.warn(w, f)
	w.transition(event.Failed, f.Text)
}

// transition is the one place where the state changes.
func (w *worker) transition(to event.State, why string) {
	from := w.state
	w.state, w.why = to, why
	data := event.WorkerState{From: from, To: to, Why: why, Release: w.gen.release.name}
	if to == event.Backoff {
		next := w.next
		data.Next = &next
	}
	w.pool.publish(w, data)
}

func (w *worker) disarm() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// live: a process is there, or is being started.
func (w *worker) live() bool { return w.run != nil }

// atRest: no process, and none will be started by itself.
func (w *worker) atRest() bool { return w.state == event.Stopped || w.state == event.Failed }

// String is "web#2".
func (w *worker) String() string { return fmt.Sprintf("%s#%d", w.pool.name, w.slot.n) }

func (w *worker) at(pid int) string { return fmt.Sprintf("%s (pid %d)", w, pid) }

func exitText(e process.Exit) string {
	if e.Signal != 0 {
		return "signal " + signalName(e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// accident is the end of a process that nobody asked for.
type accident struct {
	early bool // before ready or before min_uptime: a failed start
	clean bool // exit code 0, and muster did not condemn it
	sound bool // it was ready for reset_after: the back-off starts anew
	ran   time.Duration
	fault *fault.Fault
}

// accidentPatience bounds how long the rest of a group may finish its work
// after its main process died by accident.
const accidentPatience = 3 * time.Second
