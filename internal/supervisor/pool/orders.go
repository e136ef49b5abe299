package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/steps"
	"github.com/muster-run/muster/spec"
	"golang.org/x/sys/unix"
)

// Slots picks workers of a pool; nil: all.
type Slots []int

func (s Slots) has(n int) bool { return s == nil || slices.Contains(s, n) }

// Dependencies blocks until what an app depends on is there. stopped says
// whether the start has become void; hopeless is told once when a dependency
// has failed for good. false: void.
type Dependencies func(p *Pool, stopped func() bool, hopeless func(*fault.Fault)) bool

// enqueue puts an order in line and waits until it was begun or dropped.
func (p *Pool) enqueue(ctx context.Context, order func() *fault.Fault) *fault.Fault {
	begun := make(chan *fault.Fault, 1)
	tell := p.teller(begun)
	p.post(func() { p.line.Add(steps.Order{Run: func() { tell(order()) }, Dropped: tell}) })
	return p.owner.Answer(ctx, begun)
}

// teller answers an order once what came of it is recorded.
func (p *Pool) teller(answer chan<- *fault.Fault) func(*fault.Fault) {
	return func(f *fault.Fault) {
		p.owner.After(func() {
			select {
			case answer <- f:
			default: // it has been answered
			}
		})
	}
}

// start is an order to start that waits: for other apps, then in line.
type start struct {
	slots  Slots
	why    string
	answer func(*fault.Fault) // at most twice: a hopeless dependency, and the start itself
}

// Start starts workers that are at rest, once what the app depends on is there,
// and returns when they are up or it is clear that they will not be soon.
func (p *Pool) Start(ctx context.Context, slots Slots, why string, dependencies Dependencies) *fault.Fault {
	begun := make(chan *fault.Fault, 2)
	s := &start{slots: slots, why: why, answer: p.teller(begun)}
	refused := true
	p.do(func() {
		if refused = p.retired; !refused {
			p.wanted, p.changed, p.startFault = true, true, nil
			p.prepareStart(s, dependencies)
		}
	})
	if refused {
		return fault.New(fault.NotRunning, "%s is being removed", p.name).At(p.name)
	}
	if f := p.owner.Answer(ctx, begun); f != nil {
		return f
	}
	return p.owner.Await(ctx, p.isUp)
}

// prepareStart has a start wait for what the app depends on, in the background,
// and then in line. A stop makes it void.
func (p *Pool) prepareStart(s *start, dependencies Dependencies) {
	epoch := p.halts
	p.starts = append(p.starts, s)
	gone := func() { p.starts = slices.DeleteFunc(p.starts, func(other *start) bool { return other == s }) }
	void := func() {
		gone()
		s.answer(fault.New(fault.NotRunning, "%s was stopped", p.name))
	}
	item := steps.Order{Dropped: s.answer, Run: func() {
		if p.halts != epoch {
			void()
			return
		}
		gone()
		p.waitsFor = ""
		p.comeUp(s)
	}}
	stopped := func() bool { yes := true; p.do(func() { yes = p.halts != epoch }); return yes }
	hopeless := func(f *fault.Fault) { p.post(func() { s.answer(f) }) }
	p.owner.After(func() {
		p.shared.Attempts.Errands.Go(func() {
			switch there := dependencies(p, stopped, hopeless); {
			case p.ctx.Err() != nil: // left: a successor takes the start up
			case there:
				p.post(func() { p.line.Add(item) })
			default:
				p.post(void)
			}
		})
	})
}

// Rest has it recorded that the app is there and at rest.
func (p *Pool) Rest() { p.do(func() { p.changed = true }) }

// WaitsFor notes what a start waits for, for the status.
func (p *Pool) WaitsFor(what string) { p.do(func() { p.waitsFor = what }) }

// comeUp starts what is at rest; with nothing there at all, a first generation.
func (p *Pool) comeUp(order *start) {
	for _, s := range p.slots {
		if order.slots.has(s.n) {
			s.Held = false
		}
	}
	serving := p.gen != nil && (len(p.app.Listen) == 0 || p.gen.Listeners != nil)
	if serving && (!p.empty() || order.slots != nil) {
		p.startStopped(order.slots, order.why)
		order.answer(nil)
		return
	}
	p.begin(&rollout{kind: rollFirst, want: p.nextRelease(), answer: order.answer})
}

// nextRelease is the release of a first start: the one that served before when
// nothing has changed since, else a new one.
func (p *Pool) nextRelease() *generation.Release {
	want := &generation.Release{App: p.app, Environ: p.environ}
	if p.gen != nil && len(spec.DiffApp(p.gen.Release.App, p.app)) == 0 &&
		slices.Equal(p.gen.Release.Environ, p.environ) {
		want.Name = p.gen.Release.Name
	}
	return want
}

// startStopped starts the workers that are at rest or wait.
func (p *Pool) startStopped(slots Slots, why string) {
	for n := range p.app.Workers {
		s := p.slot(n)
		if !slots.has(n) {
			continue
		}
		s.Ended, s.Held = false, false
		if s.cur != nil && (s.cur.State == event.Failed || s.cur.State == event.Backoff) {
			s.cur.Stop(record.Again, why, false)
			continue
		}
		p.revive(s, why)
	}
}

// Retire is Stop of the whole app, which is not started again meanwhile: Close
// follows. When it fails, the pool is as after Stop.
func (p *Pool) Retire(ctx context.Context, why string, now bool) *fault.Fault {
	p.do(func() { p.retired = true })
	f := p.Stop(ctx, nil, why, now)
	if f != nil {
		p.do(func() { p.retired = false })
	}
	return f
}

// Stop ends workers and returns when nothing is left of them. A whole app that
// is stopped gives up its listeners at the end.
func (p *Pool) Stop(ctx context.Context, slots Slots, why string, now bool) *fault.Fault {
	if slots == nil {
		p.do(func() {
			for _, s := range p.slots {
				s.Held = false
			}
			p.halt(why, now)
		})
		return p.owner.Await(ctx, func() (bool, *fault.Fault) {
			gone, _ := p.isGone()
			return gone || p.wanted, nil // wanted: another order has started it again
		})
	}
	p.do(func() {
		for _, n := range slots {
			s := p.slot(n)
			s.Held = true
			for _, w := range s.workers() {
				w.Stop(record.Stop, why, now)
			}
		}
	})
	return p.owner.Await(ctx, func() (bool, *fault.Fault) {
		for _, n := range slots {
			if s := p.slots[n]; s != nil && s.Held && s.cur != nil && s.cur.Live() {
				return false, nil
			}
		}
		return true, nil
	})
}

// Restart ends and starts workers of the same release, all at once; for a
// change without a gap there is Reload.
func (p *Pool) Restart(ctx context.Context, slots Slots, why string, now bool) *fault.Fault {
	f := p.enqueue(ctx, func() *fault.Fault {
		if f := p.serving(); f != nil {
			return f
		}
		for _, s := range p.sorted() {
			if slots.has(s.n) && s.n < p.app.Workers && s.cur != nil && !s.Held {
				s.Ended = false
				s.cur.Stop(record.Again, why, now)
			}
		}
		return nil
	})
	if f != nil {
		return f
	}
	return p.owner.Await(ctx, p.isUp)
}

// serving tells when there is nothing that an order could act on.
func (p *Pool) serving() *fault.Fault {
	if !p.wanted || p.gen == nil {
		return fault.New(fault.NotRunning, "%s is not running", p.name).At(p.name)
	}
	return nil
}

// Reload replaces every worker by one of a new release, without a gap. now
// replaces a reload that runs; else it waits in line. next is what the app is
// declared as from now on, but for its number of workers; nil: as it is.
func (p *Pool) Reload(ctx context.Context, now bool, next *spec.App) (string, *fault.Fault) {
	if next != nil {
		p.relog(*next)
	}
	return p.roll(ctx, now, func() (*rollout, *fault.Fault) {
		return &rollout{kind: rollReload, want: &generation.Release{App: p.next(next), Environ: p.environ}}, nil
	})
}

// relog takes over where the output goes.
func (p *Pool) relog(app spec.App) {
	if err := p.log.Reconfigure(app.Log, p.shared.LogFile(app)); err != nil {
		p.post(func() { p.warn(nil, fault.From(err)) })
	}
}

// next is a declaration for the pool as large as it is.
func (p *Pool) next(app *spec.App) spec.App {
	if app == nil {
		return p.app
	}
	next := *app
	next.Workers = p.app.Workers
	return next
}

// Declare takes over a declaration for the next start, where nothing runs.
func (p *Pool) Declare(app *spec.App) {
	p.do(func() {
		if !p.wanted && p.empty() {
			p.declare(p.next(app), p.environ)
		}
	})
}

// Rollback is Reload to the release that served before the present one.
func (p *Pool) Rollback(ctx context.Context, now bool) (string, *fault.Fault) {
	return p.roll(ctx, now, func() (*rollout, *fault.Fault) {
		if len(p.history) < 2 {
			return nil, fault.New(fault.NoHistory, "%s has no earlier release", p.name).At(p.name)
		}
		want := *p.history[len(p.history)-2]
		want.App.Workers = p.app.Workers
		return &rollout{kind: rollRollback, want: &want}, nil
	})
}

// roll queues a rollout and waits for its end.
func (p *Pool) roll(ctx context.Context, now bool, plan func() (*rollout, *fault.Fault)) (string, *fault.Fault) {
	done := make(chan *fault.Fault, 1)
	tell := p.teller(done)
	var text string
	item := steps.Order{Dropped: tell}
	item.Run = func() {
		r, f := (*rollout)(nil), p.serving()
		if f == nil {
			r, f = plan()
		}
		if f != nil || r == nil {
			text = "unchanged"
			tell(f)
			return
		}
		r.answer = func(f *fault.Fault) {
			text = fmt.Sprintf("%s replaced, release %s%s", workers(r.done), r.want.Name, r.note)
			tell(f)
		}
		p.begin(r)
	}
	p.post(func() {
		if now && p.rollout != nil {
			p.rollout.abort(fault.New(fault.ReloadAborted, "the reload of %s was replaced by a newer one", p.name))
		}
		if p.rollout != nil {
			p.publish(nil, event.Reload{Phase: event.ReloadQueued, Total: p.app.Workers})
		}
		p.line.Add(item)
	})
	if f := p.owner.Answer(ctx, done); f != nil {
		return "", f
	}
	return text, nil
}

// Scale changes the number of workers, to n or by n, and returns when the pool
// has that size.
func (p *Pool) Scale(ctx context.Context, n int, relative bool) (string, *fault.Fault) {
	size := n
	f := p.enqueue(ctx, func() *fault.Fault {
		if relative {
			size = p.app.Workers + n
		}
		return p.scale(size)
	})
	if f != nil {
		return "", f
	}
	return workers(size), p.owner.Await(ctx, p.isScaled)
}

// scale checks and sets the size of a pool.
func (p *Pool) scale(n int) *fault.Fault {
	if n < 0 || n > spec.MaxWorkers {
		return fault.New(fault.Usage, "a pool has 0 to %d workers, not %d", spec.MaxWorkers, n).At(p.name)
	}
	app := p.app
	app.Workers, app.DependsOn = n, nil // the other apps are not looked at
	alone := spec.Spec{Project: p.shared.Project, Control: spec.Control{Mode: 0o600}, Apps: []spec.App{app}}
	for _, problem := range alone.Validate() {
		return fault.New(fault.Usage, "%s", problem.Text).At(p.name)
	}
	if !p.wanted || p.gen == nil {
		p.app.Workers = n
		return nil
	}
	p.size(n, "scaled")
	return nil
}

// Signal sends a signal to main processes, or with group to everything of them.
func (p *Pool) Signal(slots Slots, name string, group bool) (string, *fault.Fault) {
	sig, sent := unix.SignalNum(name), 0
	var failed error
	p.do(func() {
		for _, w := range p.workers() {
			if !slots.has(w.Slot) || w.Run == nil || !w.Run.Running() {
				continue
			}
			if err := w.Run.Send(sig, group); err != nil {
				failed = err
			} else {
				sent++
			}
		}
	})
	switch {
	case sent > 0:
		return fmt.Sprintf("%s sent to %s", name, workers(sent)), nil
	case failed != nil:
		return "", fault.New(fault.Internal, "cannot send %s: %w", name, failed).At(p.name)
	}
	return "", fault.New(fault.NotRunning, "%s has no running worker", p.name).At(p.name)
}

// Apply brings the pool to a new declaration by the mildest way that makes the
// changes (spec.Diff) effective. start is called when nothing runs yet.
func (p *Pool) Apply(ctx context.Context, app spec.App, environ []string, changes []spec.Change,
	start func() *fault.Fault,
) (string, *fault.Fault) {
	running, behind := false, false
	p.do(func() {
		running = p.wanted && p.gen != nil && !p.empty()
		if !running {
			p.declare(app, environ)
			return
		}
		behind = p.ahead(app)
	})
	p.relog(app)
	actions := map[spec.Action]bool{}
	for _, c := range changes {
		actions[c.Action] = true
	}
	switch {
	case !running:
		return "started", start()
	case actions[spec.ReloadApp], behind:
		p.post(func() { p.tell(changes) })
		return p.roll(ctx, false, func() (*rollout, *fault.Fault) {
			if len(spec.DiffApp(p.app, app)) == 0 && slices.Equal(p.environ, environ) && !p.ahead(app) {
				return nil, nil // what was before it in line has brought it
			}
			return &rollout{kind: rollReload, want: &generation.Release{App: app, Environ: environ}}, nil
		})
	}
	p.do(func() {
		p.update(app)
		p.tell(changes)
	})
	if actions[spec.ScaleApp] {
		return p.Scale(ctx, app.Workers, false)
	}
	p.do(func() { p.startStopped(nil, "applied") })
	text := "unchanged"
	if len(actions) > 0 {
		text = "updated"
	}
	return text, p.owner.Await(ctx, p.isUp)
}

// update takes over what may change without touching a worker.
func (p *Pool) update(app spec.App) {
	app.Workers = p.app.Workers
	p.declare(app, p.environ)
	gens := []*generation.Generation{p.gen}
	for _, w := range p.workers() {
		gens = append(gens, w.Gen)
	}
	for _, gen := range gens {
		if gen != nil {
			gen.Update(app)
			p.archive.Renew(gen.Release)
		}
	}
}

// workers is "1 worker", "2 workers".
func workers(n int) string {
	if n == 1 {
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}
