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

// worker is the state machine of one worker: a slot's process of one
// generation and what follows it. Only its pool's goroutine touches it.
type worker struct {
	record.Worker // what a successor must know; Process is filled in for it
	pool          *Pool
	slot          *slot
	gen           *generation.Generation

	run   *attempt.Attempt // the present process; nil: none
	lines []string         // the last it printed, at its end
	timer *time.Timer      // of the back-off

	text record.Cached[record.Worker]
}

// start begins a new attempt. From: no process at all.
func (w *worker) start(why string) {
	w.Goal, w.Fault, w.Planned, w.EndFault, w.lines = record.Run, nil, false, nil, nil
	w.Health, w.HealthText, w.StatusText = "", "", ""
	if w.gen.Release.App.Health != nil {
		w.Health = "starting"
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
			Torn: w.torn, Late: w.late, Exited: w.exited, Gone: w.gone, Probed: w.probed, Status: w.told,
			Warned: func(f *fault.Fault) { w.pool.warn(w, f.At(w.at(w.run.PID()))) },
		},
	}
	if w.Trial && rel.App.Reload.ReadyTimeout > 0 {
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
	w.slot.StartedOnce = true
	if w.Goal != record.Run {
		w.beginStop()
	}
}

func (w *worker) startFailed(f *fault.Fault) {
	w.run.Close()
	w.run = nil
	w.Fault = f.At(w.String())
	w.slot.LastFault = w.Fault
	if w.Goal == record.Stop {
		w.transition(event.Stopped, "stopped before it was started")
		return
	}
	w.pool.warn(w, w.Fault)
	w.accident(backoff.Accident{Early: true, Fault: w.Fault})
}

// condemn ends a process that muster itself judges as failed.
func (w *worker) condemn(f *fault.Fault) {
	if w.State != event.Starting && w.State != event.Ready || !w.run.Running() {
		return
	}
	w.EndFault = f.At(w.at(w.run.PID()))
	w.pool.warn(w, w.EndFault)
	w.beginStop()
}

// torn: its channel cannot be used any more, so it is replaced.
func (w *worker) torn(f *fault.Fault) {
	f = f.At(w.at(w.run.PID()))
	if w.State == event.Ready {
		w.pool.replace(w, f)
		return
	}
	w.condemn(f)
}

// pardon takes back what a ready worker was to be replaced for, as nobody will do it
// any more: whoever found it may ask again.
func (w *worker) pardon() {
	if w.State == event.Ready {
		w.Fault = nil
	}
}

// stop ends the worker towards a goal. now skips the graceful part.
func (w *worker) stop(g record.Goal, why string, now bool) {
	if w.Goal != record.Stop || g == record.Stop {
		w.Goal = g
	}
	w.Trial = w.Trial && g == record.Run
	switch w.State {
	case event.Starting, event.Ready:
		w.Why = why
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
		if g == record.Again {
			w.Tries = &record.Tries{}
			w.start(why)
		} else if w.State != event.Stopped {
			w.transition(event.Stopped, why)
		}
	}
}

// beginStop asks the process to end; late hears of it when it does not.
func (w *worker) beginStop() {
	why := w.Why
	if w.EndFault != nil {
		why = w.EndFault.Text
	}
	w.transition(event.Draining, why)
	w.run.Stop(w.gen.Release.App.Stop)
}

// late: the main process has not ended within stop.timeout.
func (w *worker) late() {
	if w.State != event.Draining {
		return
	}
	f := fault.New(fault.StopKilled, "did not end within %s after %s and was killed",
		w.gen.Release.App.Stop.Timeout, w.run.StopSignal()).At(w.at(w.run.PID()))
	w.pool.warn(w, f)
	w.kill(f.Text)
}

func (w *worker) kill(why string) {
	if w.State != event.Stopping {
		w.transition(event.Stopping, why)
	}
	w.run.Kill()
}

// exited: the main process has ended; what it left behind is cleared next.
func (w *worker) exited(e process.Exit) {
	w.Planned = w.Goal != record.Run && w.EndFault == nil
	w.pool.restoreSockets(w)
	switch w.State {
	case event.Starting, event.Ready:
		w.transition(event.Stopping, generation.ExitText(e))
		w.run.Clear(min(w.gen.Release.App.Stop.Timeout.D(), accidentPatience))
	case event.Draining:
		w.transition(event.Stopping, w.Why)
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
	w.slot.LastExit = &exit
	w.pool.publish(w, event.WorkerExit{
		Code: exit.Code, Signal: exit.Signal, Core: w.run.Exit().Core,
		Uptime: exit.Uptime, Planned: exit.Planned, Lines: exit.Lines,
	})
	run := w.run
	run.Close()
	w.run = nil
	switch {
	case w.Goal == record.Stop:
		w.transition(event.Stopped, w.Why)
	case w.Goal == record.Again:
		w.start("restarted")
	default:
		w.Fault = w.EndFault
		w.accident(w.judge(run))
	}
}

// report is the exit as the API shows it.
func (w *worker) report() api.Exit {
	e := w.run.Exit()
	w.lines = w.run.LastLines()
	return api.Exit{
		PID: e.PID, Code: e.Code, Signal: generation.SignalName(e.Signal), Time: e.Time,
		Uptime: e.Time.Sub(w.run.StartedAt()), Planned: w.Planned, Lines: w.lines,
	}
}

// told takes the free text that the worker says of itself.
func (w *worker) told(text string) {
	if text != w.StatusText {
		w.StatusText = text
		w.pool.publish(w, event.WorkerStatus{Text: text})
	}
}

// probed takes one result of the health check (S1.12).
func (w *worker) probed(p attempt.Probed) {
	before := w.Health
	switch p.Verdict {
	case health.Starting:
		w.Health = "starting"
	case health.Healthy:
		w.Health = "ok"
	case health.Failing, health.Unhealthy:
		w.Health = "failing"
	}
	w.HealthText = p.Result.Text
	if w.Health != before || w.Health == "failing" {
		w.pool.publish(w, event.WorkerHealth{OK: p.Result.OK, Failures: p.InARow, Text: p.Result.Text})
	}
	if w.State != event.Ready {
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
func (w *worker) judge(run *attempt.Attempt) backoff.Accident {
	a := backoff.Judge(backoff.End{
		App: w.gen.Release.App, Exit: *run.Exit(), StartedAt: run.StartedAt(), ReadyAt: run.ReadyAt(),
		Verdict: w.EndFault, Worker: w.String(), Lines: w.lines,
	})
	if a.Fault != nil {
		w.Fault, w.slot.LastFault = a.Fault, a.Fault
	}
	return a
}

// accident decides what follows an end that nobody asked for.
func (w *worker) accident(a backoff.Accident) {
	app := w.gen.Release.App
	over := a.Clean && (app.Type == spec.Task || app.Restart.Policy != spec.RestartAlways)
	switch {
	case w.Goal == record.Stop:
		w.transition(event.Stopped, w.Why)
	case w.Goal == record.Again:
		w.start("restarted")
	case w.Trial:
		w.fail(a.Fault)
	case over:
		w.slot.Ended = true
		w.transition(event.Stopped, "completed, exit code 0")
	case app.Restart.Policy == spec.RestartNever, app.Type == spec.Task && app.Restart.Policy == spec.RestartAlways:
		w.slot.Ended = true
		w.fail(a.Fault)
	default:
		w.retry(a)
	}
}

// retry waits the back-off, or gives up.
func (w *worker) retry(a backoff.Accident) {
	next, delay, giveUp := backoff.Failed(*w.Tries, a, w.gen.Release.App.Restart, 2*rand.Float64()-1)
	w.Tries = &next
	if giveUp {
		f := fault.New(fault.CrashLoop, "given up after %d failed starts in a row", w.Tries.Row)
		if a.Fault != nil {
			f.Text += ": " + a.Fault.Text
			f.Output = a.Fault.Output
		}
		w.slot.Ended = true
		w.fail(f.At(w.String()))
		return
	}
	w.Next, w.Delay = time.Now().Add(delay), delay
	why := "exit code 0"
	if a.Fault != nil {
		why = a.Fault.Text
	}
	w.transition(event.Backoff, why)
	w.wait(delay)
}

// wait has the worker started after a delay.
func (w *worker) wait(delay time.Duration) {
	w.timer = time.AfterFunc(delay, func() { w.pool.post(w.backoffOver) })
}

func (w *worker) backoffOver() {
	if w.State != event.Backoff || time.Now().Before(w.Next.Add(-time.Millisecond)) {
		return
	}
	w.slot.countRestart(time.Now())
	w.start(fmt.Sprintf("try %d", w.Tries.Count+1))
}

func (w *worker) fail(f *fault.Fault) {
	if f == nil {
		f = fault.New(fault.ExitedEarly, "ended with exit code 0").At(w.String())
	}
	w.Fault, w.slot.LastFault = f, f
	w.pool.warn(w, f)
	w.transition(event.Failed, f.Text)
}

// transition is the one place where the state changes.
func (w *worker) transition(to event.State, why string) {
	from := w.State
	w.State, w.Why = to, why
	w.pool.changed = true
	data := event.WorkerState{From: from, To: to, Why: why, Release: w.gen.Release.Name}
	if to == event.Backoff {
		next := w.Next
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
func (w *worker) atRest() bool { return w.State == event.Stopped || w.State == event.Failed }

// String is "web#2".
func (w *worker) String() string { return fmt.Sprintf("%s#%d", w.pool.name, w.slot.n) }

func (w *worker) at(pid int) string { return fmt.Sprintf("%s (pid %d)", w, pid) }

// accidentPatience bounds how long the rest of a group may finish its work
// after its main process died by accident.
const accidentPatience = time.Second
