package steps

import (
	"context"
	"slices"

	"github.com/muster-run/muster/fault"
)

// Options of an Owner. All are required.
type Options struct {
	// Name of what is owned, for faults.
	Name string
	// Settle follows up on each step.
	Settle func()
	// Save keeps the state once per batch of steps, before their effects.
	Save func()
	// Broken hears of a panic in a step.
	Broken func(cause any)
}

// Owner runs steps in one goroutine. Post, Do and Await are safe for concurrent
// use; After and End belong to its steps.
type Owner struct {
	opts    Options
	inbox   inbox
	done    chan struct{} // Run has returned
	effects []func()
	waiters []*waiter
	ended   bool
}

// New makes an Owner; Run runs it.
func New(o Options) *Owner {
	return &Owner{opts: o, inbox: inbox{wake: make(chan struct{}, 1)}, done: make(chan struct{})}
}

// Post adds a step; it never waits. false: the Owner has ended.
func (o *Owner) Post(step func()) bool { return o.inbox.post(step) }

// Do runs a step and returns once what it has made of the state is saved. false:
// the Owner has ended.
func (o *Owner) Do(step func()) bool {
	ran := make(chan struct{})
	if !o.Post(func() { defer o.After(func() { close(ran) }); step() }) {
		return false
	}
	select {
	case <-ran:
		return true
	case <-o.done:
	}
	select { // both came at once
	case <-ran:
		return true
	default:
		return false
	}
}

// After performs an effect once the batch under way is saved. In order.
func (o *Owner) After(effect func()) { o.effects = append(o.effects, effect) }

// Done is closed when Run has returned.
func (o *Owner) Done() <-chan struct{} { return o.done }

// End ends the Owner with the step that calls it; who waits is told f.
func (o *Owner) End(f *fault.Fault) {
	o.ended = true
	o.inbox.close()
	for _, w := range o.waiters {
		o.After(func() { w.give(f) })
	}
	o.waiters = nil
}

// Run runs the steps until End.
func (o *Owner) Run() {
	defer close(o.done)
	for !o.ended {
		steps := o.inbox.take()
		if len(steps) == 0 {
			<-o.inbox.wake
			continue
		}
		for _, step := range steps {
			o.guarded(step)
			if o.ended {
				break
			}
			o.guarded(o.settle)
		}
		o.conclude()
	}
}

func (o *Owner) settle() {
	o.opts.Settle()
	o.waiters = slices.DeleteFunc(o.waiters, func(w *waiter) bool {
		done, f := w.test()
		if done {
			o.After(func() { w.give(f) })
		}
		return done
	})
}

// conclude saves what a batch has changed, and performs its effects.
func (o *Owner) conclude() {
	for first := true; first || len(o.effects) > 0; first = false {
		o.guarded(o.opts.Save)
		effects := o.effects
		o.effects = nil
		for _, effect := range effects {
			o.guarded(effect)
		}
	}
}

func (o *Owner) guarded(f func()) {
	defer func() {
		if cause := recover(); cause != nil {
			o.opts.Broken(cause)
		}
	}()
	f()
}

// waiter is told once something has become true.
type waiter struct {
	test   func() (done bool, f *fault.Fault)
	answer chan *fault.Fault
}

func (w *waiter) give(f *fault.Fault) {
	select {
	case w.answer <- f:
	default:
	}
}

// Await blocks until test is true. The test runs in the Owner's goroutine, after
// each of its steps.
func (o *Owner) Await(ctx context.Context, test func() (bool, *fault.Fault)) *fault.Fault {
	w := &waiter{test: test, answer: make(chan *fault.Fault, 1)}
	if !o.Post(func() { o.waiters = append(o.waiters, w) }) {
		return o.gone()
	}
	f := o.Answer(ctx, w.answer)
	if ctx.Err() != nil {
		o.Post(func() { w.test = func() (bool, *fault.Fault) { return true, nil } })
	}
	return f
}

// Answer waits for what an order comes to.
func (o *Owner) Answer(ctx context.Context, c <-chan *fault.Fault) *fault.Fault {
	select {
	case f := <-c:
		return f
	case <-ctx.Done():
		return fault.New(fault.Timeout, "%s: still waiting: %s", o.opts.Name, context.Cause(ctx))
	case <-o.done:
	}
	select { // both came at once
	case f := <-c:
		return f
	default:
		return o.gone()
	}
}

func (o *Owner) gone() *fault.Fault {
	return fault.New(fault.NotRunning, "%s was removed", o.opts.Name)
}
