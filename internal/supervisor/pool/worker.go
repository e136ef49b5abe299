package pool

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/backoff"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// What a worker is to become.
const (
	goalRun   = record.Run   // run, and be started again after an accident
	goalStop  = record.Stop  // end and stay so
	goalAgain = record.Again // end and be started at once: not an accident
)

// worker is the state machine of one worker: a slot's process of one
// generation and what follows it. Only its pool's goroutine touches it.
type worker struct {
	pool *Pool
	slot *slot
	gen  *generation.Generation

	state event.State
	why   string
	goal  record.Goal
	// trial: a candidate of a rollout. Its first failure is final and is the
	// rollout's to judge; there is no back-off.
	trial bool
	// fault is why it failed or was given up; nil while all is well.
	fault *fault.Fault

	run   *attempt.Attempt // the present process; nil: none
	end   ending           // of the present process
	tries *record.Tries
	next  time.Time // of the start, in back-off
	delay time.Duration
	timer *time.Timer

	text record.Cached[record.Worker]

	health     string // "", starting, ok, failing
	healthText string
	statusText string
}

// start begins a new attempt. From: no process at all.
func (w *worker) start(why string) {
	w.goal, w.fault, w.end = goalRun, nil, ending{}
	w.health, w.healthText, w.statusText = "", "", ""
	if w.gen.Release.App.Health != nil {
		w.health = "starting"
	}
	w.run = attempt.New(w.pool.ctx, w.config())
	w.transition(event.Starting, why)
	w.pool.owner.After(w.run.Launch)
}

func (w *worker) config() attempt.Config {
	rel := w.gen.Release
	cfg := attempt.Config{
		Shared: w.pool.shared.Attempts, Post: w.pool.post, After: w.pool.owner.After, Log: w.pool.log,
		Worker: w.gen.Surroundings(w.pool.shared.Node, w.slot.n), Meta: w.gen.Meta(w.slot.n),
		Pattern: w.gen.Pattern, Health: w.gen.Health, ReadyIn: rel.App.Ready.Timeout.D(),
		Events: attempt.Events{
			Started: w.started, Ready: func() { w.transition(event.Ready, "") }, Failed: w.condemn,
			Late: w.late, Exited: w.exited, Gone: w.gone, Probed: w.probed, Status: w.told,
			Warned: func(f *fault.Fault) { w.pool.warn(w, f.At(w.at(w.run.PID()))) },
		},
	}
	if w.trial && rel.App.Reload.ReadyTimeout > 0 {
		cfg.ReadyIn = rel.App.Reload.ReadyTimeout.D()
	}
	for _, b := range w.gen.Listeners {
		cfg.Listeners = append(cfg.Listeners, attempt.Listener{
			Network: b.Spec.Network, Address: b.Addr, Inode: b.Inode,
			File: process.NamedFD{Name: b.Spec.Name, File: b.File},
		})
	}
	return cfg
}

// started is the answer of the Starter.
func (w *worker) started(err error) {
	if err != nil {
		w.startFailed(fault.From(err))
		return
	}
	w.slot.startedOnce = true
	if w.goal != goalRun {
		w.beginStop()
	}
}

func (w *worker) startFailed(f *fault.Fault) {
	w.run.Close()
	w.run = nil
	w.fault = f.At(w.String())
	w.slot.lastFault = w.fault
	if w.goal == goalStop {
		w.transition(event.Stopped, "stopped before it was started")
		return
	}
	w.pool.warn(w, w.fault)
	w.accident(accident{Accident: backoff.Accident{Early: true}, fault: w.fault})
}

// condemn ends a process that muster itself judges as failed.
func (w *worker) condemn(f *fault.Fault) {
	if w.state != event.Starting && w.state != event.Ready || !w.run.Running() {
		return
	}
	w.end.fault = f.At(w.at(w.run.PID()))
	w.pool.warn(w, w.end.fault)
	w.beginStop()
}

// stop ends the worker towards a goal. now skips the graceful part.
func (w *worker) stop(g record.Goal, why string, now bool) {
	if w.goal != goalStop || g == goalStop {
		w.goal = g
	}
	w.trial = w.trial && g == goalRun
	switch w.state {
	case event.Starting, event.Ready:
		w.why = why
		if w.run.Running() && now {
			w.kill(why)
		} else if w.run.Running() {
			w.beginStop()
		}
	case event.Draining, event.Stopping:
		if now {
			w.kill(why)
		}
	case event.Backoff, event.Failed, event.Stopped:
		w.disarm()
		if g == goalAgain {
			w.tries = &record.Tries{}
			w.start(why)
		} else if w.state != event.Stopped {
			w.transition(event.Stopped, why)
		}
	}
}

// beginStop asks the process to end; late hears of it when it does not.
func (w *worker) beginStop() {
	why := w.why
	if w.end.fault != nil {
		why = w.end.fault.Text
	}
	w.transition(event.Draining, why)
	w.run.Stop(w.gen.Release.App.Stop)
}

// late: the main process has not ended within stop.timeout.
func (w *worker) late() {
	if w.state != event.Draining {
		return
	}
	f := fault.New(fault.StopKilled, "did not end within %s after %s and was killed",
		w.gen.Release.App.Stop.Timeout, w.run.StopSignal()).At(w.at(w.run.PID()))
	w.pool.warn(w, f)
	w.kill(f.Text)
}

func (w *worker) kill(why string) {
	if w.state != event.Stopping {
		w.transition(event.Stopping, why)
	}
	w.run.Kill()
}

// exited: the main process has ended; what it left behind is cleared next.
func (w *worker) exited(e process.Exit) {
	w.end.planned = w.goal != goalRun && w.end.fault == nil
	w.pool.restoreSockets(w)
	switch w.state {
	case event.Starting, event.Ready:
		w.transition(event.Stopping, generation.ExitText(e))
		w.run.Clear(min(w.gen.Release.App.Stop.Timeout.D(), accidentPatience))
	case event.Draining:
		w.transition(event.Stopping, w.why)
		w.run.Clear(0)
	case event.Stopping:
		w.run.Clear(0)
	case event.Stopped, event.Backoff, event.Failed:
		// No process belongs to these states.
	}
}

// gone: nothing is left of the process and its group, and its output is recorded.
func (w *worker) gone() {
	exit := w.report()
	w.slot.lastExit = &exit
	w.pool.publish(w, event.WorkerExit{
		Code: exit.Code, Signal: exit.Signal, Core: w.run.Exit().Core,
		Uptime: exit.Uptime, Planned: exit.Planned, Lines: exit.Lines,
	})
	run := w.run
	run.Close()
	w.run = nil
	switch {
	case w.goal == goalStop:
		w.transition(event.Stopped, w.why)
	case w.goal == goalAgain:
		w.start("restarted")
	default:
		w.fault = w.end.fault
		w.accident(w.judge(run))
	}
}

// report is the exit as the API shows it.
func (w *worker) report() api.Exit {
	e := w.run.Exit()
	w.end.lines = w.run.LastLines()
	return api.Exit{
		PID: e.PID, Code: e.Code, Signal: generation.SignalName(e.Signal), Time: e.Time,
		Uptime: e.Time.Sub(w.run.StartedAt()), Planned: w.end.planned, Lines: w.end.lines,
	}
}

// ending is what is known of how a process came to its end.
type ending struct {
	planned bool
	fault   *fault.Fault // why muster ended it
	lines   []string     // the last it printed
}

// told takes the free text that the worker says of itself.
func (w *worker) told(text string) {
	if text != w.statusText {
		w.statusText = text
		w.pool.publish(w, event.WorkerStatus{Text: text})
	}
}

// probed takes one result of the health check (S1.12).
func (w *worker) probed(p attempt.Probed) {
	before := w.health
	switch p.Verdict {
	case health.Starting:
		w.health = "starting"
	case health.Healthy:
		w.health = "ok"
	case health.Failing, health.Unhealthy:
		w.health = "failing"
	}
	w.healthText = p.Result.Text
	if w.health != before || w.health == "failing" {
		w.pool.publish(w, event.WorkerHealth{OK: p.Result.OK, Failures: p.InARow, Text: p.Result.Text})
	}
	if w.state != event.Ready {
		return
	}
	switch {
	case p.Verdict == health.Unhealthy:
		w.pool.replace(w, fault.New(fault.Unhealthy, "health check failed %d times: %s",
			p.InARow, p.Result.Text).At(w.at(w.run.PID())))
	case p.Overdue > 0:
		w.pool.replace(w, fault.New(fault.Unhealthy, "health check never passed within %s: %s",
			spec.Duration(p.Overdue), p.Result.Text).At(w.at(w.run.PID())))
	}
}

// judge turns the end of a process that nobody asked for into an accident.
func (w *worker) judge(run *attempt.Attempt) accident {
	rules, exit := w.gen.Release.App.Restart, run.Exit()
	up := exit.Time.Sub(run.StartedAt())
	a := accident{
		Accident: backoff.Accident{
			Early: run.ReadyAt().IsZero() || up < rules.MinUptime.D(), Ran: up,
			Sound: !run.ReadyAt().IsZero() && exit.Time.Sub(run.ReadyAt()) >= rules.ResetAfter.D(),
		},
		clean: exit.Code == 0 && w.end.fault == nil,
		fault: w.end.fault,
	}
	if a.fault == nil && !a.clean {
		code, when := fault.ExitedEarly, "before it was ready"
		if !run.ReadyAt().IsZero() {
			code, when = fault.Exited, "after "+spec.Duration(up.Round(time.Millisecond)).String()
		}
		if w.gen.Release.App.Type == spec.Task {
			code = fault.TaskFailed
		}
		a.fault = fault.New(code, "ended with %s %s", generation.ExitText(*exit), when).At(w.at(exit.PID))
	}
	if a.fault == nil && run.ReadyAt().IsZero() && w.gen.Release.App.Type == spec.Service {
		a.fault = fault.New(fault.ExitedEarly, "ended with exit code 0 before it was ready").At(w.at(exit.PID))
	}
	if a.fault != nil {
		a.fault = a.fault.WithOutput(w.end.lines)
		w.fault, w.slot.lastFault = a.fault, a.fault
	}
	return a
}

// accident decides what follows an end that nobody asked for.
func (w *worker) accident(a accident) {
	app := w.gen.Release.App
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
	next, delay, giveUp := backoff.Tries(*w.tries).Failed(a.Accident, w.gen.Release.App.Restart, 2*rand.Float64()-1)
	w.tries = (*record.Tries)(&next)
	if giveUp {
		f := fault.New(fault.CrashLoop, "given up after %d failed starts in a row", w.tries.Row)
		if a.fault != nil {
			f.Text += ": " + a.fault.Text
			f.Output = a.fault.Output
		}
		w.slot.ended = true
		w.fail(f.At(w.String()))
		return
	}
	w.next, w.delay = time.Now().Add(delay), delay
	why := "exit code 0"
	if a.fault != nil {
		why = a.fault.Text
	}
	w.transition(event.Backoff, why)
	w.wait(delay)
}

// remaining is what is left of the back-off that an earlier agent began.
func (w *worker) remaining() time.Duration {
	left := record.Left(w.next, w.delay)
	w.next = time.Now().Add(left)
	return left
}

// wait has the worker started after a delay.
func (w *worker) wait(delay time.Duration) {
	w.timer = time.AfterFunc(delay, func() { w.pool.post(w.backoffOver) })
}

func (w *worker) backoffOver() {
	if w.state != event.Backoff || time.Now().Before(w.next.Add(-time.Millisecond)) {
		return
	}
	w.slot.countRestart(time.Now())
	w.start(fmt.Sprintf("try %d", w.tries.Count+1))
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
	w.pool.changed = true
	data := event.WorkerState{From: from, To: to, Why: why, Release: w.gen.Release.Name}
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

// accident is the end of a process that nobody asked for.
type accident struct {
	backoff.Accident
	clean bool // exit code 0, and muster did not condemn it
	fault *fault.Fault
}

// accidentPatience bounds how long the rest of a group may finish its work
// after its main process died by accident.
const accidentPatience = time.Second
