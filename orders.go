package muster

import (
	"context"
	"os"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
)

// Reload replaces the workers one by one by new ones, which run what the program's file is
// now: no request is lost, an old one leaves when a new one is ready. It returns when
// that is done. When the new ones do not come up every old one stays, and the error has
// their last lines.
func (p *Pool) Reload(ctx context.Context) error {
	return failed(p.sup.Reload(ctx, api.Order{Selector: p.o.App.Name}))
}

// Restart ends the workers and starts them anew, as they are.
func (p *Pool) Restart(ctx context.Context) error {
	return failed(p.sup.Restart(ctx, api.Order{Selector: p.o.App.Name}))
}

// Scale changes the number of workers, from 0 to spec.MaxWorkers, and returns when they
// are ready, or gone.
func (p *Pool) Scale(ctx context.Context, workers int) error {
	return failed(p.sup.Scale(ctx, api.Order{Selector: p.o.App.Name, Workers: workers}))
}

// Signal sends a signal, such as "SIGUSR1", to every worker's own process.
func (p *Pool) Signal(ctx context.Context, name string) error {
	return failed(p.sup.Signal(ctx, api.Order{Selector: p.o.App.Name, Signal: name}))
}

// Apply makes another declaration the one that runs: workers are reloaded, scaled or told,
// as it takes. Its name must be the same.
func (p *Pool) Apply(ctx context.Context, app spec.App) error {
	o := p.o
	o.App, o.Workers, o.Listen = copyOf(app), 0, nil
	if app.Name != p.o.App.Name {
		return fault.New(fault.Config, "the pool is of %s, and cannot become one of %s", p.o.App.Name, app.Name).
			WithFix("begin with Pool.App, and leave its name")
	}
	if err := o.listen(); err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	return failed(p.sup.Apply(ctx, o.spec()).Outcome)
}

// App is what is declared now. It is the caller's to change, and to Apply.
func (p *Pool) App() spec.App {
	for _, app := range p.sup.Spec().Apps {
		return copyOf(app)
	}
	return copyOf(p.o.App)
}

// failed is the fault of an outcome, nil where there is none.
func failed(o api.Outcome) error {
	if f := o.Fault(); f != nil {
		return f
	}
	return nil
}

// Status is the state of the pool and of each worker.
func (p *Pool) Status() api.App {
	for _, app := range p.sup.Snapshot() {
		return app
	}
	return api.App{Name: p.o.App.Name, Status: event.AppStopped}
}

// status is what workers are told.
func (p *Pool) status() api.Status {
	return api.Status{Project: p.o.App.Name, Node: p.node, AgentPID: os.Getpid(), AgentStarts: 1, Apps: p.sup.Snapshot()}
}

// Events is the hub of everything that happens to the workers. It is closed at the end.
func (p *Pool) Events() *event.Hub { return p.events }

// Last are the newest n lines that the worker of a slot has printed (n < 0: all that are
// kept), over its restarts.
func (p *Pool) Last(slot, n int) []string {
	if log := p.sup.Log(p.o.App.Name); log != nil {
		return log.Last(slot, n)
	}
	return nil
}

// listeners are those of On.
type listeners struct {
	mu   sync.Mutex
	next int
	off  map[int]func()
}

// On has f answer what workers ask of muster by an operation that muster does not know
// (and hear what they tell it): in them, w.Request(ctx, "", "stock:left", …). One of the
// listeners of an operation answers, all hear what is told. "*" is every operation. A
// panic in f is logged, and an error to the asker. off removes it.
func (p *Pool) On(opName string, f func(ctx context.Context, r *peer.Request) (any, error)) (off func(), err error) {
	remove, err := p.Hear(context.Background(), []string{opName}, f)
	if err != nil {
		return nil, err
	}
	l := &p.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.off == nil {
		l.off = map[int]func(){}
	}
	n := l.next
	l.next++
	l.off[n] = remove
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.off, n)
		remove()
	}, nil
}

// Clear removes everything that On has added.
func (p *Pool) Clear() {
	l := &p.listeners
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, remove := range l.off {
		remove()
	}
	clear(l.off)
}
