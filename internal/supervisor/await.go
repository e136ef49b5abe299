package supervisor

import (
	"context"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// waiter is told once something has become true of a pool.
type waiter struct {
	test   func() (done bool, f *fault.Fault)
	answer chan *fault.Fault
}

// check runs in the pool's goroutine; true: the waiter has its answer.
func (w *waiter) check() bool {
	done, f := w.test()
	if done {
		w.give(f)
	}
	return done
}

func (w *waiter) give(f *fault.Fault) {
	select {
	case w.answer <- f:
	default:
	}
}

// await blocks until test is true of the pool. The test runs in the pool's
// goroutine, after each of its steps.
func (p *pool) await(ctx context.Context, test func() (bool, *fault.Fault)) *fault.Fault {
	w := &waiter{test: test, answer: make(chan *fault.Fault, 1)}
	if !p.post(func() { p.waiters = append(p.waiters, w) }) {
		return fault.New(fault.NotRunning, "%s was removed", p.name)
	}
	select {
	case f := <-w.answer:
		return f
	case <-p.done:
		return nil
	case <-ctx.Done():
		p.post(func() { w.test = func() (bool, *fault.Fault) { return true, nil } })
		return fault.New(fault.Timeout, "%s: still waiting: %s", p.name, context.Cause(ctx))
	}
}

// patience is after how many failed starts in a row an order is told that the
// app does not come up; the supervisor itself goes on trying.
const patience = 3

// isUp: every worker is ready (a task: completed), or it is clear that it will
// not be soon.
func (p *pool) isUp() (bool, *fault.Fault) {
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
		case w.state == event.Backoff && w.tries.row >= patience:
			return true, w.fault
		case w.state == event.Ready && p.app.Type != spec.Task, w.state == event.Stopped && s.ended:
		default:
			up = false
		}
	}
	return up, nil
}

func (p *pool) taskFault(w *worker) *fault.Fault {
	if p.app.Type != spec.Task || w.fault == nil {
		return w.fault
	}
	return fault.New(fault.TaskFailed, "the task %s failed: %s", p.name, w.fault.Text).
		At(w.fault.Where).WithOutput(w.fault.Output)
}

// isGone: nothing of the app runs.
func (p *pool) isGone() (bool, *fault.Fault) { return p.empty() && p.rollout == nil, nil }

// reached tests a condition of depends_on.
func (p *pool) reached(c spec.Condition) (bool, *fault.Fault) {
	if c == spec.Started {
		for n := range p.app.Workers {
			if s := p.slots[n]; s == nil || !s.startedOnce {
				return false, nil
			}
		}
		return p.wanted, nil
	}
	if !p.wanted {
		return false, nil
	}
	up, f := p.isUp()
	return up && f == nil, nil
}

// hopeless tells why a dependency will not come by itself; nil while it may.
func (p *pool) hopeless() *fault.Fault {
	for _, s := range p.sorted() {
		if s.cur != nil && s.cur.state == event.Failed {
			return s.cur.fault
		}
	}
	return nil
}
