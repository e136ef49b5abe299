package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/lifecycle"
)

// interruptedCode is the exit code after Ctrl-C.
const interruptedCode = 130

// ErrLeft is what Run returns when another agent goes on with what runs.
var ErrLeft = errors.New("another agent takes over")

// ending is a request to end, and how.
type ending struct {
	Reason string `json:"reason"`
	Code   int    `json:"code"`
	Now    bool   `json:"now"`
	// Good: nobody wants it again (`down`, Ctrl-C, all workers have ended).
	Good bool `json:"good,omitempty"`

	leave bool // for another agent: nothing that runs is touched
	lost  bool // the keeper is gone: everything goes at once
}

// Run applies the spec (unless it goes on where another agent was) and serves
// until something ends it: ctx, a signal, a stop request over the API, or
// (UntilEnded) the end of all workers. It returns the exit code when no worker
// is left and everything is undone. The error says what of the agent itself
// failed; workers that fail are no error. After an upgrade it is ErrLeft, when
// the keeper is gone E-KEEPER-LOST: then output and events have no end. Call it
// once.
func (a *Agent) Run(ctx context.Context) (int, error) {
	failed := make(chan lifecycle.Failure, 1) // an essential part has ended
	parts := lifecycle.New(func(f lifecycle.Failure) {
		a.opts.Log.Error("a part of the agent has failed", "part", f.Part, "error", f.Err, "again_in", f.Again)
		if f.Again == 0 {
			failed <- f
		}
	})
	if err := parts.Start(context.WithoutCancel(ctx),
		lifecycle.Part{Name: "control", Run: func(ctx context.Context) error { return a.server.Serve(ctx, a.socket) }},
		lifecycle.Part{Name: "metrics", Run: a.metrics.Run, Restart: true},
		lifecycle.Part{Name: "saved", Run: a.keep, Restart: true},
	); err != nil {
		return 1, err
	}
	a.publish(a.startedEvent())
	a.opts.Serving()
	a.up()

	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	first := make(chan *fault.Fault, 1) // what came of the first apply
	a.jobs.Go(func() { first <- a.begin(work) })
	end, err := a.serve(ctx, work, waits{first: first, failed: failed})
	stopWork()
	switch {
	case end.lost:
		return 1, a.orphaned(parts.Stop)
	case end.leave:
		return 0, errors.Join(ErrLeft, err, a.leave(parts.Stop))
	}
	// Before anything that takes a while: a successor goes on with the end.
	a.lastNote(end)
	if err := a.bequeath(&end); err != nil {
		a.opts.Log.Warn("an agent after this one would not know that it is to end", "error", err)
	}
	a.awaitJobs()
	if a.end(end); a.isLost() {
		return 1, a.orphaned(parts.Stop)
	}
	close(a.over)
	return end.Code, errors.Join(err, parts.Stop(), a.teardown.Run())
}

// jobsGrace bounds the wait for the agent's own orders at its end: one may wait
// in line behind somebody else's.
const jobsGrace = 2 * time.Second

// awaitJobs lets the agent's own orders see that their context has ended.
func (a *Agent) awaitJobs() {
	done := make(chan struct{})
	go func() { a.jobs.Wait(); close(done) }() // ends with the last order
	select {
	case <-done:
	case <-time.After(jobsGrace):
	}
}

// waits is what Run waits for beside signals and requests.
type waits struct {
	first  <-chan *fault.Fault
	failed <-chan lifecycle.Failure
}

// begin applies the first spec and returns the fault that leaves nothing to run.
// A spec without apps is not applied: it is that of a background agent, whose
// starter applies the whole one over the API at the same moment.
func (a *Agent) begin(ctx context.Context) *fault.Fault {
	a.keyedFollows()                                                     // where the agent before has served
	if a.supervisor.Adopted() > 0 || len(a.supervisor.Spec().Apps) > 0 { // as the agent before had left it
		a.notify(fmt.Sprintf("READY=1\nSTATUS=%d apps", len(a.supervisor.Spec().Apps)))
		return nil
	}
	if len(a.opts.Spec.Apps) == 0 {
		a.notify("READY=1\nSTATUS=no apps yet")
		return nil
	}
	outcome := a.apply(ctx, a.first()).Outcome
	if ctx.Err() != nil {
		return nil // the end was asked for before it was done
	}
	f := outcome.Fault()
	if f != nil && (a.idle() || a.hopeless(f)) {
		return f
	}
	a.report(outcome)
	a.notify(fmt.Sprintf("READY=1\nSTATUS=%d apps", len(a.opts.Spec.Apps)))
	return nil
}

// hopeless says that the program of `muster run` is not there: whoever typed its
// name wants to know at once, while an app of a file waits for it to come back.
func (a *Agent) hopeless(f *fault.Fault) bool {
	if a.opts.Spec.File != "" || !a.opts.UntilEnded {
		return false
	}
	switch f.Code {
	case fault.CommandNotFound, fault.CommandDenied, fault.DirMissing, fault.UserUnknown, fault.Permission:
		return true
	}
	return false
}

// serve obeys signals and requests until one of them ends the agent.
func (a *Agent) serve(ctx, work context.Context, on waits) (ending, error) {
	var ended <-chan int
	if a.opts.UntilEnded {
		ended = a.supervisor.AllEnded()
	}
	for {
		select {
		case e := <-a.asked:
			return e, nil
		case sig := <-a.opts.Signals:
			if e, ends := a.signal(work, sig); ends {
				return e, nil
			}
		case code := <-ended:
			return ending{Reason: "all workers have ended", Code: code, Good: true}, nil
		case <-ctx.Done():
			return ending{Reason: "the caller has ended"}, nil
		case <-a.lost():
			return ending{lost: true}, nil
		case f := <-on.first:
			if f != nil && a.opts.UntilEnded {
				return ending{Reason: "nothing could be started", Code: fault.ExitCode(f)}, f
			}
		case f := <-on.failed:
			err := fault.New(fault.Internal, "the control server has ended: %w", f.Err)
			return ending{Reason: err.Text, Code: 1}, err
		}
	}
}

// signal obeys one signal; ends says that it ends the agent.
func (a *Agent) signal(work context.Context, sig os.Signal) (e ending, ends bool) {
	switch sig {
	case syscall.SIGTERM, syscall.SIGQUIT, os.Interrupt:
		return a.endOf(sig)
	case syscall.SIGHUP:
		if a.opts.Load == nil {
			return a.endOf(sig)
		}
		a.ordered("reload", "SIGHUP")
		a.jobs.Go(func() { a.reloadConfiguration(work) })
	case syscall.SIGUSR2:
		a.ordered("upgrade", "SIGUSR2")
		a.jobs.Go(func() { a.upgradeItself(work) })
	case syscall.SIGTTIN:
		a.ordered("scale +1", "SIGTTIN")
		a.jobs.Go(func() { a.grow(work, +1) })
	case syscall.SIGTTOU:
		a.ordered("scale -1", "SIGTTOU")
		a.jobs.Go(func() { a.grow(work, -1) })
	}
	return ending{}, false
}

// endOf is the end that a signal asks for.
func (a *Agent) endOf(sig os.Signal) (e ending, ends bool) {
	switch sig {
	case syscall.SIGTERM:
		return ending{Reason: "signal SIGTERM"}, true
	case syscall.SIGQUIT:
		return ending{Reason: "signal SIGQUIT"}, true
	case os.Interrupt:
		return ending{Reason: "Ctrl-C (signal SIGINT)", Code: interruptedCode, Good: true}, true
	case syscall.SIGHUP:
		return ending{Reason: "signal SIGHUP (the terminal was closed)", Code: 128 + int(syscall.SIGHUP)}, a.opts.Load == nil
	}
	return ending{}, false
}

// ordered publishes that a signal has given an order.
func (a *Agent) ordered(verb, sig string) {
	a.publish(event.Order{Verb: verb, Target: "all", By: "signal " + sig})
}

// reloadConfiguration loads the file anew and applies it. A file that is not
// valid changes nothing.
func (a *Agent) reloadConfiguration(ctx context.Context) {
	a.notify("RELOADING=1\n" + monotonicNow())
	defer a.notify("READY=1")
	s, err := a.opts.Load()
	if err != nil {
		a.warn(fault.From(err))
		return
	}
	a.report(a.Apply(ctx, s).Outcome)
}

// grow scales every app by one worker.
func (a *Agent) grow(ctx context.Context, by int) {
	a.report(a.supervisor.Scale(ctx, api.Order{Selector: "all", Workers: by, Relative: true}))
}

// Stop asks the agent to end and returns when every worker is gone and the
// hooks have run. It may be called by several at once: the first decides the
// exit code, and one that says Now makes haste.
func (a *Agent) Stop(r api.StopRequest) {
	reason := r.Reason
	if reason == "" {
		reason = "asked over the control socket"
	}
	a.askToEnd(ending{Reason: reason, Code: r.ExitCode, Now: r.Now, Good: true})
	<-a.over
}

// report tells what has failed of an order that nobody waits for.
func (a *Agent) report(o api.Outcome) {
	for _, r := range o.Results {
		if r.Fault != nil {
			f := r.Fault
			if f.Where == "" && r.App != "" {
				f = f.At(r.App)
			}
			a.warn(f)
		}
	}
}

func (a *Agent) warn(f *fault.Fault) { a.publish(event.Warning{Fault: *f}) }

func (a *Agent) publish(d event.Data) {
	a.events.Publish(event.Event{Node: a.opts.Node, Slot: event.NoSlot, Data: d})
}
