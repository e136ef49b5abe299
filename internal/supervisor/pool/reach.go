package pool

import (
	"context"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/worker"
	"github.com/muster-run/muster/spec"
)

// patience is after how many failed starts in a row an order is told that the
// app does not come up; the supervisor itself goes on trying.
const patience = 3

// isUp: every worker is ready (a task: completed), or it is clear that it will
// not be soon.
func (p *Pool) isUp() (bool, *fault.Fault) {
	if !p.wanted {
		return true, fault.New(fault.NotRunning, "%s was stopped", p.name)
	}
	if p.broken {
		return true, fault.New(fault.Internal, "an error inside muster while it supervised %s", p.name)
	}
	if p.rollout != nil {
		return false, nil
	}
	up := p.gen != nil
	for n := range p.app.Workers {
		s := p.slots[n]
		if s == nil || s.cur == nil {
			return false, nil
		}
		if s.Held {
			continue
		}
		w := s.cur
		switch {
		case w.State == event.Failed:
			return true, p.taskFault(w)
		case w.State == event.Backoff && w.Tries.Row >= patience:
			return true, w.Fault
		case w.State == event.Ready && p.app.Type != spec.Task, w.State == event.Stopped && s.Ended:
		default:
			up = false
		}
	}
	return up, nil
}

func (p *Pool) taskFault(w *worker.Worker) *fault.Fault {
	if p.app.Type != spec.Task || w.Fault == nil {
		return w.Fault
	}
	return fault.New(fault.TaskFailed, "the task %s failed: %s", p.name, w.Fault.Text).
		At(w.Fault.Where).WithOutput(w.Fault.Output)
}

// AwaitGone blocks until nothing of the app runs.
func (p *Pool) AwaitGone(ctx context.Context) *fault.Fault { return p.owner.Await(ctx, p.isGone) }

func (p *Pool) isGone() (bool, *fault.Fault) { return p.empty() && p.rollout == nil, nil }

// Reached tests a condition of depends_on; why says what keeps it from coming
// by itself, nil while it may.
func (p *Pool) Reached(c spec.Condition) (there bool, why *fault.Fault) {
	p.do(func() {
		if there = p.reached(c); !there {
			why = p.hopeless()
		}
	})
	return there, why
}

func (p *Pool) reached(c spec.Condition) bool {
	if !p.wanted {
		return false
	}
	if c != spec.Started {
		up, f := p.isUp()
		return up && f == nil
	}
	for n := range p.app.Workers {
		if s := p.slots[n]; s == nil || !s.StartedOnce {
			return false
		}
	}
	return true
}

func (p *Pool) hopeless() *fault.Fault {
	if p.startFault != nil {
		return p.startFault
	}
	for _, s := range p.sorted() {
		if s.cur != nil && s.cur.State == event.Failed {
			return s.cur.Fault
		}
	}
	return nil
}

// isScaled: up, and nothing of what was scaled away is left.
func (p *Pool) isScaled() (bool, *fault.Fault) {
	if !p.wanted {
		return true, nil
	}
	for _, s := range p.slots {
		if s.n >= p.app.Workers {
			return false, nil
		}
	}
	return p.isUp()
}
