package notifier

import (
	"cmp"
	"strings"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// slot is one worker's place.
type slot struct {
	app  string
	slot int
}

// trouble is what is known of a worker that is not well.
type trouble struct {
	generation int
	failures   int
	told       bool
	exit       event.WorkerExit
	exitPID    int
	crash      event.WorkerCrash
}

// watch makes notes of events. For one goroutine.
type watch struct {
	troubles map[slot]*trouble
}

func newWatch() *watch { return &watch{map[slot]*trouble{}} }

func (w *watch) of(e event.Event) *trouble {
	at := slot{e.App, e.Slot}
	if w.troubles[at] == nil {
		w.troubles[at] = &trouble{}
	}
	return w.troubles[at]
}

// see takes the next event; nil: there is nothing to tell.
func (w *watch) see(e event.Event) *Note {
	switch d := e.Data.(type) {
	case event.AgentStarted:
		if d.Before == 0 {
			return &Note{Event: Started, Time: e.Time, Node: e.Node, PID: d.PID}
		}
	case event.WorkerCrash:
		w.of(e).crash = d
	case event.WorkerExit:
		t := w.of(e)
		t.exit, t.exitPID = d, e.PID
	case event.Warning:
		if !d.Over && e.Slot != event.NoSlot && notWell(d.Fault.Code) {
			return w.accident(e, d.Fault.Text, Crash)
		}
	case event.WorkerState:
		return w.state(e, d)
	}
	return nil
}

// notWell: muster replaces a worker for that.
func notWell(c fault.Code) bool {
	switch c {
	case fault.Unhealthy, fault.MemoryLimit, fault.Watchdog, fault.Heartbeat, fault.TornChannel:
		return true
	}
	return false
}

func (w *watch) state(e event.Event, d event.WorkerState) *Note {
	switch d.To {
	case event.Backoff:
		return w.accident(e, d.Why, Crash)
	case event.Failed:
		if d.Trial {
			w.untold(e)
			return nil
		}
		return w.accident(e, d.Why, GaveUp)
	case event.Stopped:
		w.stopped(e)
	case event.Ready:
		return w.well(e)
	case event.Starting, event.Draining, event.Stopping:
	}
	return nil
}

// untold: a new worker has failed that was to replace another. Whoever ordered the
// reload is answered, and the other one serves on: its trouble, if any, is its own.
func (w *watch) untold(e event.Event) {
	t := w.of(e)
	t.exit, t.exitPID, t.crash = event.WorkerExit{}, 0, event.WorkerCrash{}
	if !t.told {
		delete(w.troubles, slot{e.App, e.Slot})
	}
}

// stopped forgets the trouble of a worker that has ended by plan, but not that of the
// one that has replaced it.
func (w *watch) stopped(e event.Event) {
	at := slot{e.App, e.Slot}
	if t := w.troubles[at]; t != nil && e.Generation >= t.generation {
		delete(w.troubles, at)
	}
}

// accident tells of the first one since the worker was well, and of its being given
// up.
func (w *watch) accident(e event.Event, why, occasion string) *Note {
	t := w.of(e)
	t.generation = max(t.generation, e.Generation)
	t.failures++
	if t.told && occasion == Crash {
		return nil
	}
	t.told = true
	n := w.note(e, occasion)
	n.Error = cmp.Or(t.crash.Error, why)
	n.Stack, n.Failures = t.crash.Stack, t.failures
	if t.exitPID != 0 {
		n.PID, n.Code, n.Signal = t.exitPID, t.exit.Code, t.exit.Signal
		n.Uptime = t.exit.Uptime.Round(time.Millisecond).String()
		lines := t.exit.Lines
		n.Output = strings.Join(lines[max(0, len(lines)-linesMax):], "\n")
	}
	return n
}

func (w *watch) note(e event.Event, occasion string) *Note {
	return &Note{Event: occasion, Time: e.Time, Node: e.Node, App: e.App, Worker: e.Worker(), PID: e.PID}
}

// well ends the trouble of a worker.
func (w *watch) well(e event.Event) *Note {
	at := slot{e.App, e.Slot}
	t := w.troubles[at]
	delete(w.troubles, at)
	if t == nil || !t.told {
		return nil
	}
	n := w.note(e, Recovered)
	n.Failures = t.failures
	return n
}
