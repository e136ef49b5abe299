package muster

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/lifecycle"
	"github.com/muster-run/muster/internal/operations"
	"github.com/muster-run/muster/internal/output/gz"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/worker"
)

// poolVar is in the environment of workers: the pid of their Pool. A worker whose SDK is
// switched off must not become a pool, either.
const poolVar = "MUSTER_POOL"

// Pool is this program as a pool of workers. Its methods are safe for concurrent use. The
// Peer within it takes part in operations as client:pool.
type Pool struct {
	*peer.Peer
	o        Options
	node     string
	dir      string
	events   *event.Hub
	sup      *supervisor.Supervisor
	ops      *operations.Operations
	inside   *inside
	teardown lifecycle.Teardown
	printing sync.WaitGroup

	listeners listeners
	asked     chan end      // the first wish to end; what follows is in hurry
	hurry     chan struct{} // closed: kill what is left
	hurried   sync.Once
	over      chan struct{} // closed when everything has ended
	err       error         // of the end, from then on
}

// end is why a Pool ends.
type end struct {
	reason string
	code   int // of Wait's error; 0: none
	now    bool
}

// theProcess has at most one Pool (S1.1).
var theProcess struct {
	sync.Mutex
	taken bool
}

// Start makes the pool and returns when its workers are ready, or with the reason why
// they are not: then nothing is left of it. When ctx ends the Pool stops, gracefully.
// Faults: E-USAGE in a worker, and where this process has a Pool already; E-CONFIG; and
// those of starting, such as E-BIND and E-READY-TIMEOUT.
func Start(ctx context.Context, o Options) (*Pool, error) {
	if worker.IsWorker() || os.Getenv(poolVar) == strconv.Itoa(os.Getppid()) {
		return nil, fault.New(fault.Usage, "this process is a worker, so it cannot be a pool").
			WithFix("ask worker.IsWorker() first, and call worker.Run there")
	}
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	p := &Pool{
		o: o, events: &event.Hub{}, asked: make(chan end, 1), hurry: make(chan struct{}), over: make(chan struct{}),
	}
	if p.node, err = os.Hostname(); err != nil {
		p.node = "localhost"
	}
	if err := claim(); err != nil {
		return nil, err
	}
	p.undo("claim", func() error { release(); return nil })
	if err := p.begin(ctx); err != nil {
		_ = p.teardown.Run() // what has begun is of no use
		p.printing.Wait()
		return nil, err
	}
	return p, nil
}

// Run is Start and Wait.
func Run(ctx context.Context, o Options) error {
	p, err := Start(ctx, o)
	if err != nil {
		return err
	}
	return p.Wait()
}

func claim() error {
	theProcess.Lock()
	defer theProcess.Unlock()
	if theProcess.taken {
		return fault.New(fault.Usage, "this process has a pool already").WithFix("stop it first, or give it more workers with Scale")
	}
	theProcess.taken = true
	return nil
}

func release() {
	theProcess.Lock()
	defer theProcess.Unlock()
	theProcess.taken = false
}

// undo registers a teardown.
func (p *Pool) undo(name string, f func() error) {
	_ = p.teardown.Add(name, 0, func(context.Context) error { return f() })
}

// begin builds everything and starts the workers.
func (p *Pool) begin(ctx context.Context) error {
	if err := p.makeDir(); err != nil {
		return err
	}
	p.undo("events", func() error { p.events.Close(); return nil })
	if err := p.supervise(); err != nil {
		return err
	}
	p.join()
	p.ops.Begin(operations.Home{
		Apps: p.sup, Status: p.status, ReloadConfig: noConfiguration,
		StopAgent: func(reason string, code int, now bool) { p.ask(end{reason, code, now}) },
		StopApp: func(_ context.Context, _, reason string, code int, now bool) api.Outcome {
			p.ask(end{reason, code, now})
			return api.Outcome{}
		},
	})
	p.print()
	if f := p.sup.Apply(ctx, p.o.spec()).Outcome.Fault(); f != nil {
		p.shutdown(false)
		return f
	}
	go p.serve(ctx) // ends with the Pool
	return nil
}

func noConfiguration(context.Context) error {
	return fault.New(fault.Usage, "a pool has no configuration to read again").WithFix("the program calls Pool.Apply")
}

// makeDir makes the directories.
func (p *Pool) makeDir() (err error) {
	if p.dir = p.o.Dir; p.dir == "" {
		if p.dir, err = os.MkdirTemp(os.Getenv("XDG_RUNTIME_DIR"), "muster-"); err != nil {
			p.dir, err = os.MkdirTemp("", "muster-")
		}
		p.undo("directory", func() error { return os.RemoveAll(p.dir) })
	} else {
		err = os.MkdirAll(p.dir, 0o700)
	}
	if err != nil {
		return fault.New(fault.StateDir, "cannot make the pool's directory: %w", err).WithFix("name another one in Options.Dir")
	}
	p.dir, err = filepath.Abs(p.dir)
	return err
}

// supervise makes the parts, each with its teardown.
func (p *Pool) supervise() error {
	starter, err := process.NewDirect(process.Options{
		Project: p.o.App.Name, NoCgroup: true, DieWithParent: true, LeaveStrangers: os.Getpid() != 1,
	})
	if err != nil {
		return err
	}
	p.undo("starter", starter.Close)
	store := process.NewDirectStore()
	p.undo("store", store.Close)
	loop, err := handoff.NewLoop()
	if err != nil {
		return fault.New(fault.Internal, "connections cannot be dealt: %w", err)
	}
	p.undo("hand-off", loop.Close)
	p.ops, err = operations.New(operations.Options{
		Project: p.o.App.Name, Node: p.node, Agent: os.Getpid(), Epoch: 1, Files: store, Events: p.events, Log: p.o.Log,
	})
	if err != nil {
		return err
	}
	p.undo("operations", func() error { p.ops.Close(); return nil })
	p.sup, err = supervisor.New(supervisor.Options{
		Project: p.o.App.Name, Node: p.node, Starter: starter, Store: store, Events: p.events, Loop: loop,
		Exchange: p.ops.Exchange(), LogDir: filepath.Join(p.dir, "log"), RunDir: p.dir, Packing: gz.Packing{}, Log: p.o.Log,
	})
	return err
}

// serve waits for a reason to end, and ends everything.
func (p *Pool) serve(ctx context.Context) {
	defer close(p.over)
	e := p.reason(ctx)
	if e.code != 0 {
		p.err = fault.New(fault.Exited, "the pool has ended with code %d: %s", e.code, e.reason).At(p.o.App.Name)
	}
	p.events.Publish(event.Event{Node: p.node, Slot: event.NoSlot, Data: event.AgentStopping{Reason: e.reason, ExitCode: e.code}})
	p.shutdown(e.now)
	p.tellEnd(e.reason)
	if err := p.teardown.Run(); err != nil && p.err == nil {
		p.err = err
	}
	p.printing.Wait()
}

// reason waits until the Pool is to end.
func (p *Pool) reason(ctx context.Context) end {
	select {
	case e := <-p.asked:
		return e
	case <-ctx.Done():
		return end{reason: fmt.Sprint("the context has ended: ", context.Cause(ctx))}
	case code := <-p.sup.AllEnded():
		return end{reason: "all workers have ended", code: code}
	}
}

// ask has the Pool end. Only the first wish counts, but for making haste.
func (p *Pool) ask(e end) {
	select {
	case p.asked <- e:
	default:
	}
	if e.now {
		p.hurried.Do(func() { close(p.hurry) })
	}
}

// shutdown returns when no worker is left.
func (p *Pool) shutdown(now bool) {
	done := make(chan struct{})
	go func() {
		select {
		case <-p.hurry:
			_ = p.sup.Shutdown(context.Background(), true) // the other one says how it went
		case <-done:
		}
	}()
	if err := p.sup.Shutdown(context.Background(), now); err != nil {
		p.o.Log.Warn("not all workers have ended in order", "error", err)
	}
	close(done)
}

// tellEnd calls OnEnd, under a deadline.
func (p *Pool) tellEnd(reason string) {
	if p.o.OnEnd == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), spec.OnExitTimeout)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if v := recover(); v != nil {
				p.o.Log.Error("OnEnd has panicked", "panic", v, "stack", string(debug.Stack()))
			}
		}()
		p.o.OnEnd(ctx, reason)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		p.o.Log.Warn("OnEnd has not returned in time", "timeout", spec.OnExitTimeout)
	}
}

// Wait returns when the Pool has ended and nothing is left of it: nil after Stop and the
// end of Start's context, E-EXITED when all workers have ended by themselves, or one has
// asked for it, with a code other than 0.
func (p *Pool) Wait() error {
	<-p.over
	return p.err
}

// Stop ends the workers as App.Stop says, and returns when nothing is left. When ctx ends
// before, what is left is killed.
func (p *Pool) Stop(ctx context.Context) error {
	p.ask(end{reason: "the program has stopped it"})
	select {
	case <-p.over:
	case <-ctx.Done():
		p.ask(end{now: true})
	}
	return p.Wait()
}
