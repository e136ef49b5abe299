package worker

import (
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/human"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// Facts is what a successor must know of it, in the role that it has in its slot.
func (w *Worker) Facts(role record.Role) record.Worker {
	v := w.Worker
	v.Role, v.Generation = role, w.Gen.Number
	if v.Health != "failing" {
		v.HealthText = "" // another one after each check
	}
	if w.Run != nil {
		v.Process = w.Run.Facts()
	}
	return v
}

// Resume goes on with a worker where the earlier agent was.
func (w *Worker) Resume(v record.Worker, procs map[string]process.Proc) (alive bool) {
	if v.Process.ID == "" {
		if w.State == event.Backoff {
			left := record.Left(w.Next, w.Delay)
			w.Next = time.Now().Add(left)
			w.wait(left)
		}
		return false
	}
	proc, known := procs[v.Process.ID]
	if !known {
		w.lost()
		return false
	}
	w.Run = attempt.Adopt(w.home.Ctx, w.config(), v.Process)
	w.Run.Resume(proc, v.Process.Exited)
	return proc.Exit == nil
}

// lost: the Starter does not know the process. It was never started, so there is
// no accident to count.
func (w *Worker) lost() {
	if w.Goal == record.Stop {
		w.transition(event.Stopped, w.Why)
		return
	}
	w.Start(w.Why)
}

// Snapshot is its state as the API shows it; usage fills in what it uses.
func (w *Worker) Snapshot(usage func(*api.Worker, process.Proc)) api.Worker {
	v := api.Worker{
		App: w.home.App, Slot: w.Slot, State: w.State, Why: w.Why,
		Generation: w.Gen.Number, Release: w.Gen.Release.Name,
		Restarts: w.Counts.Restarts, LastRestart: timeOf(w.Counts.LastRestart), LastExit: w.Counts.LastExit,
		Health: w.Health, StatusText: w.StatusText,
	}
	if w.Health == "failing" {
		v.HealthText = w.HealthText
	}
	if w.State == event.Backoff {
		v.Next = timeOf(w.Next)
	}
	if last := w.home.Log.Last(w.Slot, 1); len(last) > 0 {
		v.LastLine = last[0]
	}
	for _, port := range w.Gen.Release.App.Ports {
		if v.Ports == nil {
			v.Ports = map[string]int{}
		}
		v.Ports[port.Name] = port.For(w.Slot)
	}
	if w.Run != nil && w.Run.Running() {
		v.PID, v.StartedAt, v.ReadyAt = w.Run.PID(), timeOf(w.Run.StartedAt()), timeOf(w.Run.ReadyAt())
		v.ID, v.Node, v.LastBeat = w.Run.Number(), w.Run.Node(), timeOf(w.Run.LastBeat())
		usage(&v, w.Run.Proc())
	}
	return v
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Human is what counts of it for the state of its app.
func (w *Worker) Human() human.Worker {
	v := human.Worker{Name: w.String(), State: w.State, Why: w.Why, Ended: w.Counts.Ended}
	if w.Health == "failing" {
		v.Fails = w.HealthText
	}
	return v
}
