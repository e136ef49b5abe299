package pool

import (
	"context"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// await blocks until test is true of the pool. The test runs in the pool's
// goroutine, after each of its steps.
func (p *Pool) await(ctx context.Context, test func() (bool, *fault.Fault)) *fault.Fault {
	return p.owner.Await(ctx, test)
}

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
		if s.held {
			continue
		}
		w := s.cur
		switch {
		case w.state == event.Failed:
			return true, p.taskFault(w)
		case w.state == event.Backoff && w.tries.Row >= patience:
			return true, w.fault
		case w.state == event.Ready && p.app.Type != spec.Task, w.state == event.Stopped && s.ended:
		default:
			up = false
		}
	}
	return up, nil
}

func (p *Pool) taskFault(w *worker) *fault.Fault {
	if p.app.Type != spec.Task || w.fault == nil {
		return w.fault
	}
	return fault.New(fault.TaskFailed, "the task %s failed: %s", p.name, w.fault.Text).
		At(w.fault.Where).WithOutput(w.fault.Output)
}

// AwaitGone blocks until nothing of the app runs.
func (p *Pool) AwaitGone(ctx context.Context) *fault.Fault { return p.await(ctx, p.isGone) }

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
		if s := p.slots[n]; s == nil || !s.startedOnce {
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
		if s.cur != nil && s.cur.state == event.Failed {
			return s.cur.fault
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
