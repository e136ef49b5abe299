package worker

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/backoff"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Home is the pool that a worker belongs to, as the worker sees it. All is called
// in the pool's goroutine. Required: everything.
type Home struct {
	// App is the name, Node that of this host.
	App, Node string
	// Ctx bounds what is done for a worker.
	Ctx      context.Context
	Attempts *attempt.Shared
	Log      *output.Log
	// Post runs a step in the pool's goroutine; it may be called from anywhere.
	Post func(step func()) bool
	// After performs an effect once the present step is recorded.
	After func(effect func())
	// Number is the next one of a process: 1, 2, 3, …
	Number func() int
	// Primary of the app's Node.js workers, with what the worker's generation has
	// declared; nil: it is none.
	Primary func(w *Worker) *primary.Primary
	// Before are the servers of its predecessor in the slot, and whether any worker
	// of the app listens anywhere.
	Before func(w *Worker) (keys []string, any bool)
	// Serves: a worker of the app is ready.
	Serves func() bool
	// Publish tells of a worker.
	Publish func(w *Worker, data event.Data)
	// Warn publishes a fault that stopped nothing else.
	Warn func(w *Worker, f *fault.Fault)
	// Renew is asked for a new worker in the place of one that is not well.
	Renew func(w *Worker, f *fault.Fault)
	// Ended: its main process has ended.
	Ended func(w *Worker)
}

// Worker is the state machine of one worker: a slot's process of one
// generation and what follows it. Only its pool's goroutine touches it.
type Worker struct {
	record.Worker // what a successor must know; Process is filled in for it
	// Counts are those of its slot.
	Counts *record.Slot
	// Gen is what it runs.
	Gen *generation.Generation
	// Run is the present process; nil: none.
	Run *attempt.Attempt
	// Text of its record.
	Text record.Cached[record.Worker]

	home  *Home
	lines []string    // the last it printed, at its end
	timer *time.Timer // of the back-off
}

// New makes the worker of a slot; it is not started yet.
func New(home *Home, counts *record.Slot, gen *generation.Generation) *Worker {
	v := record.Worker{Slot: counts.Slot, State: event.Stopped, Goal: record.Run, Tries: &record.Tries{}}
	return &Worker{Worker: v, Counts: counts, Gen: gen, home: home}
}

// Start begins a new attempt. From: no process at all.
func (w *Worker) Start(why string) {
	w.Goal, w.Fault, w.Planned, w.EndFault, w.lines = record.Run, nil, false, nil, nil
	w.Health, w.HealthText, w.StatusText = "", "", ""
	if w.Gen.Release.App.Health != nil {
		w.Health = "starting"
	}
	cfg := w.config()
	cfg.Number = w.home.Number()
	w.Run = attempt.New(w.home.Ctx, cfg)
	w.transition(event.Starting, why)
	w.home.After(w.Run.Launch)
}

func (w *Worker) config() attempt.Config {
	rel := w.Gen.Release
	cfg := attempt.Config{
		Shared: w.home.Attempts, Post: w.home.Post, After: w.home.After, Log: w.home.Log,
		Worker: w.Gen.Surroundings(w.home.Node, w.Slot), Meta: w.Gen.Meta(w.Slot),
		Primary: w.home.Primary(w), Before: func() ([]string, bool) { return w.home.Before(w) },
		Pattern: w.Gen.Pattern, Health: w.Gen.Health, ReadyIn: rel.App.Ready.Timeout.D(),
		Events: attempt.Events{
			Started: w.started, Ready: func() { w.transition(event.Ready, "") }, Failed: w.Condemn,
			Torn: w.torn, Late: w.late, Exited: w.exited, Gone: w.gone, Probed: w.probed, Status: w.told,
			Said:      func(m event.WorkerMessage) { w.home.Publish(w, m) },
			Node:      func(e event.WorkerNode) { w.home.Publish(w, e) },
			Warned:    func(f *fault.Fault) { w.home.Warn(w, f.At(w.At(w.Run.PID()))) },
			Heartbeat: func(e event.WorkerHeartbeat) { w.home.Publish(w, e) },
			Crashed:   func(e event.WorkerCrash) { w.home.Publish(w, e) },
			Told:      func(e event.WorkerLifecycle) { w.home.Publish(w, e) },
		},
	}
	if w.Trial && rel.App.Reload.ReadyTimeout > 0 {
		cfg.ReadyIn = rel.App.Reload.ReadyTimeout.D()
	}
	for _, b := range w.Gen.Listeners {
		file, inode := b.For(w.Slot)
		cfg.Listeners = append(cfg.Listeners, attempt.Listener{
			Network: b.Spec.Network, Address: b.Addr, Inode: inode,
			File:    process.NamedFD{Name: b.Spec.Name, File: file},
			Balance: b.Balance(), Door: b.Door(), Seat: b.Slot(w.Slot),
		})
	}
	return cfg
}

// started is the answer of the Starter.
func (w *Worker) started(err error) {
	if err != nil {
		w.startFailed(fault.From(err))
		return
	}
	w.Counts.StartedOnce = true
	if w.Goal != record.Run {
		w.beginStop()
	}
}

func (w *Worker) startFailed(f *fault.Fault) {
	w.Run.Close()
	w.Run = nil
	w.Fault = f.At(w.String())
	w.Counts.LastFault = w.Fault
	if w.Goal == record.Stop {
		w.transition(event.Stopped, "stopped before it was started")
		return
	}
	w.home.Warn(w, w.Fault)
	w.accident(backoff.Accident{Early: true, Fault: w.Fault})
}

// Condemn ends a process that muster itself judges as failed.
func (w *Worker) Condemn(f *fault.Fault) {
	if w.State != event.Starting && w.State != event.Ready || !w.Run.Running() {
		return
	}
	w.EndFault = f.At(w.At(w.Run.PID()))
	w.home.Warn(w, w.EndFault)
	w.beginStop()
}

// torn: its channel cannot be used any more, so it is replaced.
func (w *Worker) torn(f *fault.Fault) {
	f = f.At(w.At(w.Run.PID()))
	if w.State == event.Ready {
		w.home.Renew(w, f)
		return
	}
	w.Condemn(f)
}

// Pardon takes back what a ready worker was to be replaced for, as nobody will do it
// any more: whoever found it may ask again.
func (w *Worker) Pardon() {
	if w.State == event.Ready {
		w.Fault = nil
	}
}

// Stop ends the worker towards a goal. now skips the graceful part.
func (w *Worker) Stop(g record.Goal, why string, now bool) {
	if w.Goal != record.Stop || g == record.Stop {
		w.Goal = g
	}
	w.Trial = w.Trial && g == record.Run
	switch w.State {
	case event.Starting, event.Ready:
		w.Why = why
		if w.Run.Running() && now {
			w.kill(why)
		} else if w.Run.Running() {
			w.beginStop()
		}
	case event.Draining, event.Stopping:
		if now {
			w.kill(why)
		}
	case event.Backoff, event.Failed, event.Stopped:
		w.Disarm()
		if g == record.Again {
			w.Tries = &record.Tries{}
			w.Start(why)
		} else if w.State != event.Stopped {
			w.transition(event.Stopped, why)
		}
	}
}

// beginStop asks the process to end; late hears of it when it does not.
func (w *Worker) beginStop() {
	why := w.Why
	if w.EndFault != nil {
		why = w.EndFault.Text
	}
	w.transition(event.Draining, why)
	w.Run.Stop(w.Gen.Release.App.Stop)
}

// late: the main process has not ended within stop.timeout.
func (w *Worker) late() {
	if w.State != event.Draining {
		return
	}
	f := fault.New(fault.StopKilled, "did not end within %s after %s and was killed",
		w.Gen.Release.App.Stop.Timeout, w.Run.StopSignal()).At(w.At(w.Run.PID()))
	w.home.Warn(w, f)
	w.kill(f.Text)
}

func (w *Worker) kill(why string) {
	if w.State != event.Stopping {
		w.transition(event.Stopping, why)
	}
	w.Run.Kill()
}

// exited: the main process has ended; what it left behind is cleared next.
func (w *Worker) exited(e process.Exit) {
	w.Planned = w.Goal != record.Run && w.EndFault == nil
	w.home.Ended(w)
	switch w.State {
	case event.Starting, event.Ready:
		w.transition(event.Stopping, generation.ExitText(e))
		w.Run.Clear(min(w.Gen.Release.App.Stop.Timeout.D(), accidentPatience))
	case event.Draining:
		w.transition(event.Stopping, w.Why)
		w.Run.Clear(0)
	case event.Stopping:
		w.Run.Clear(0)
	case event.Stopped, event.Backoff, event.Failed:
		// No process belongs to these states.
	}
}

// gone: nothing is left of the process and its group, and its output is recorded.
func (w *Worker) gone() {
	exit := w.report()
	w.Counts.LastExit = &exit
	w.home.Publish(w, event.WorkerExit{
		Code: exit.Code, Signal: exit.Signal, Core: w.Run.Exit().Core,
		Uptime: exit.Uptime, Planned: exit.Planned, Lines: exit.Lines, Crash: exit.Crash,
		ID: w.nodeID(), AfterDisconnect: w.Run.AfterDisconnect() || w.Planned && w.nodeID() != 0,
	})
	run := w.Run
	run.Close()
	w.Run = nil
	switch {
	case w.Goal == record.Stop:
		w.transition(event.Stopped, w.Why)
	case w.Goal == record.Again:
		w.Start("restarted")
	case w.EndFault == nil && run.LeftByItself() && !w.Trial:
		w.CountRestart(time.Now())
		w.Start("it had left by itself")
	default:
		w.Fault = w.EndFault
		w.accident(w.judge(run))
	}
}

// nodeID is cluster.worker.id; 0 for a program that is no worker of Node's cluster.
func (w *Worker) nodeID() int {
	if w.Run.Node() == nil {
		return 0
	}
	return w.Run.Number()
}

// report is the exit as the API shows it.
func (w *Worker) report() api.Exit {
	e := w.Run.Exit()
	w.lines = w.Run.LastLines()
	return api.Exit{
		PID: e.PID, Code: e.Code, Signal: generation.SignalName(e.Signal), Time: e.Time,
		Uptime: e.Time.Sub(w.Run.StartedAt()), Planned: w.Planned, Lines: w.lines,
		Crash: w.Run.Crash(),
	}
}

// told takes the free text that the worker says of itself.
func (w *Worker) told(text string) {
	if text != w.StatusText {
		w.StatusText = text
		w.home.Publish(w, event.WorkerStatus{Text: text})
	}
}

// Change takes over what of its app may change under a running process, which is told:
// changes has one line each, with secrets masked.
func (w *Worker) Change(app spec.App, changes []string) {
	if w.Run != nil {
		w.Run.Change(app, changes)
	}
}

// probed takes one result of the health check (S1.12).
func (w *Worker) probed(p attempt.Probed) {
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
		w.home.Publish(w, event.WorkerHealth{OK: p.Result.OK, Failures: p.InARow, Text: p.Result.Text})
	}
	if w.State != event.Ready {
		return
	}
	switch {
	case p.Verdict == health.Unhealthy:
		w.home.Renew(w, fault.New(fault.Unhealthy, "health check failed %d times: %s",
			p.InARow, p.Result.Text).At(w.At(w.Run.PID())))
	case p.Overdue > 0:
		w.home.Renew(w, fault.New(fault.Unhealthy, "health check never passed within %s: %s",
			spec.Duration(p.Overdue), p.Result.Text).At(w.At(w.Run.PID())))
	}
}

// CountRestart counts one of its slot.
func (w *Worker) CountRestart(now time.Time) { w.Counts.Restarts++; w.Counts.LastRestart = now }

// judge turns the end of a process that nobody asked for into an accident.
func (w *Worker) judge(run *attempt.Attempt) backoff.Accident {
	a := backoff.Judge(backoff.End{
		App: w.Gen.Release.App, Exit: *run.Exit(), StartedAt: run.StartedAt(), ReadyAt: run.ReadyAt(),
		Verdict: w.EndFault, Worker: w.String(), Lines: w.lines, Crash: run.Crash(),
	})
	if a.Fault != nil {
		w.Fault, w.Counts.LastFault = a.Fault, a.Fault
	}
	return a
}

// accident decides what follows an end that nobody asked for.
func (w *Worker) accident(a backoff.Accident) {
	app := w.Gen.Release.App
	over := a.Clean && (app.Type == spec.Task || app.Restart.Policy != spec.RestartAlways)
	switch {
	case w.Goal == record.Stop:
		w.transition(event.Stopped, w.Why)
	case w.Goal == record.Again:
		w.Start("restarted")
	case w.Trial:
		w.fail(a.Fault)
	case over:
		w.Counts.Ended = true
		w.transition(event.Stopped, "completed, exit code 0")
	case app.Restart.Policy == spec.RestartNever, app.Type == spec.Task && app.Restart.Policy == spec.RestartAlways:
		w.Counts.Ended = true
		w.fail(a.Fault)
	default:
		w.retry(a)
	}
}

// retry waits the back-off, or gives up.
func (w *Worker) retry(a backoff.Accident) {
	next, delay, giveUp := backoff.Failed(*w.Tries, a, w.Gen.Release.App.Restart, 2*rand.Float64()-1)
	w.Tries = &next
	if giveUp {
		f := fault.New(fault.CrashLoop, "given up after %d failed starts in a row", w.Tries.Row)
		if a.Fault != nil {
			f.Text += ": " + a.Fault.Text
			f.Output = a.Fault.Output
		}
		w.Counts.Ended = true
		w.fail(f.At(w.String()))
		return
	}
	if !w.home.Serves() {
		delay = backoff.Shorten(w.Gen.Release.App, next, delay, 0)
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
func (w *Worker) wait(delay time.Duration) {
	w.timer = time.AfterFunc(delay, func() { w.home.Post(w.backoffOver) })
}

// Hurry is called while no worker of the app is ready: what is left of the back-off
// may be cut short.
func (w *Worker) Hurry() {
	if w.State != event.Backoff {
		return
	}
	now := time.Now()
	since := w.Delay - w.Next.Sub(now)
	left := backoff.Shorten(w.Gen.Release.App, *w.Tries, w.Delay, since)
	if next := now.Add(left); next.Before(w.Next) {
		w.Disarm()
		w.Next, w.Delay = next, since+left
		w.wait(left)
	}
}

func (w *Worker) backoffOver() {
	if w.State != event.Backoff || time.Now().Before(w.Next.Add(-time.Millisecond)) {
		return
	}
	w.CountRestart(time.Now())
	w.Start(fmt.Sprintf("try %d", w.Tries.Count+1))
}

func (w *Worker) fail(f *fault.Fault) {
	if f == nil {
		f = fault.New(fault.ExitedEarly, "ended with exit code 0").At(w.String())
	}
	w.Fault, w.Counts.LastFault = f, f
	w.home.Warn(w, f)
	w.transition(event.Failed, f.Text)
}

// transition is the one place where the state changes.
func (w *Worker) transition(to event.State, why string) {
	from := w.State
	w.State, w.Why = to, why
	data := event.WorkerState{From: from, To: to, Why: why, Release: w.Gen.Release.Name, Trial: w.Trial}
	if to == event.Backoff {
		next := w.Next
		data.Next = &next
	}
	w.home.Publish(w, data)
}

// Disarm ends the wait of its back-off.
func (w *Worker) Disarm() {
	if w.timer != nil {
		w.timer.Stop()
	}
}

// Live: a process is there, or is being started.
func (w *Worker) Live() bool { return w.Run != nil }

// AtRest: no process, and none will be started by itself.
func (w *Worker) AtRest() bool { return w.State == event.Stopped || w.State == event.Failed }

// String is "web#2".
func (w *Worker) String() string { return fmt.Sprintf("%s#%d", w.home.App, w.Slot) }

// At is a process of it as a fault's place: "web#2 (pid 7)".
func (w *Worker) At(pid int) string { return fmt.Sprintf("%s (pid %d)", w, pid) }

// accidentPatience bounds how long the rest of a group may finish its work
// after its main process died by accident.
const accidentPatience = time.Second
