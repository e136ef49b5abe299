package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// target is what a selector picked of one app.
type target struct {
	pool  *pool
	slots []int // nil: all
}

func (t target) has(n int) bool { return t.slots == nil || slices.Contains(t.slots, n) }

// each runs an order on every selected app, all at once, and collects the results.
func (s *Supervisor) each(selector string, order func(target) (string, *fault.Fault)) api.Outcome {
	targets, f := s.find(selector)
	if f != nil {
		return api.Outcome{Results: []api.Result{{App: selector, Fault: f}}}
	}
	results := make([]api.Result, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			text, f := order(t)
			results[i] = api.Result{App: t.pool.name, Text: text, Fault: f}
		})
	}
	wg.Wait()
	return api.Outcome{Results: results}
}

// find resolves a selector.
func (s *Supervisor) find(selector string) ([]target, *fault.Fault) {
	sel, err := api.ParseSelector(selector)
	if err != nil {
		return nil, fault.From(err)
	}
	var targets []target
	for _, p := range s.all() {
		t, hit := target{pool: p}, false
		p.do(func() {
			t.slots, hit = sel.Match(p.name, p.app.Tags)
			if t.slots == nil {
				return
			}
			t.slots = slices.DeleteFunc(t.slots, func(n int) bool { return p.slots[n] == nil })
			hit = len(t.slots) > 0
		})
		if hit {
			targets = append(targets, t)
		}
	}
	if len(targets) == 0 {
		return nil, fault.New(fault.NoApp, "%q matches no app or worker", selector)
	}
	return targets, nil
}

// Start starts what is stopped or failed, after what it depends on.
func (s *Supervisor) Start(ctx context.Context, o api.Order) api.Outcome {
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		if f := s.startOne(ctx, t, "started by order"); f != nil {
			return "", f
		}
		return "started", nil
	})
}

// startOne starts the slots of a target, once what its app depends on is
// there, and waits until they are up.
func (s *Supervisor) startOne(ctx context.Context, t target, why string) *fault.Fault {
	p := t.pool
	begun := make(chan *fault.Fault, 2)
	var epoch int
	if !p.do(func() { p.wanted = true; epoch = p.halts }) {
		return fault.New(fault.NotRunning, "%s was removed", p.name)
	}
	item := lineItem{dropped: func(f *fault.Fault) { begun <- f }}
	item.run = func() {
		if p.halts != epoch {
			begun <- fault.New(fault.NotRunning, "%s was stopped", p.name)
			return
		}
		p.waitsFor = ""
		p.comeUp(t, why, begun)
	}
	s.helpers.Go(func() {
		if s.awaitDependencies(p, epoch, func(f *fault.Fault) { begun <- f }) {
			p.post(func() { p.inLine(item) })
		}
	})
	if f := s.answer(ctx, p, begun); f != nil {
		return f
	}
	return p.await(ctx, p.isUp)
}

// comeUp starts what is at rest; with nothing there at all, a first generation.
func (p *pool) comeUp(t target, why string, begun chan<- *fault.Fault) {
	for _, s := range p.slots {
		if t.has(s.n) {
			s.held = false
		}
	}
	serving := p.gen != nil && (len(p.app.Listen) == 0 || p.gen.listeners != nil)
	if serving && (!p.empty() || t.slots != nil) {
		p.startStopped(t, why)
		begun <- nil
		return
	}
	p.begin(&rollout{kind: rollFirst, want: p.nextRelease(), answer: func(f *fault.Fault) {
		if f != nil {
			p.wanted = false
		}
		begun <- f
	}})
}

// answer waits for what an order in a pool's line came to.
func (s *Supervisor) answer(ctx context.Context, p *pool, c <-chan *fault.Fault) *fault.Fault {
	select {
	case f := <-c:
		return f
	case <-p.done:
		return fault.New(fault.NotRunning, "%s was removed", p.name)
	case <-ctx.Done():
		return fault.New(fault.Timeout, "%s: still waiting: %s", p.name, context.Cause(ctx))
	}
}

// nextRelease is the release of a first start: the one that served before when
// nothing has changed since, else a new one.
func (p *pool) nextRelease() release {
	want := release{app: p.app, environ: p.environ}
	if p.gen != nil && len(spec.DiffApp(p.gen.release.app, p.app)) == 0 {
		want.name = p.gen.release.name
	}
	return want
}

// startStopped starts the target's workers that are at rest or wait.
func (p *pool) startStopped(t target, why string) {
	for n := range p.app.Workers {
		s := p.slot(n)
		if !t.has(n) {
			continue
		}
		if s.cur == nil {
			s.cur = p.add(s, p.gen)
		}
		if s.cur.atRest() || s.cur.state == event.Backoff {
			s.ended = false
			s.cur.stop(goalAgain, why, false)
		}
	}
}

// Stop ends workers. A stopped app releases its listeners at the end.
func (s *Supervisor) Stop(ctx context.Context, o api.Order) api.Outcome {
	chosen, _ := s.find(o.Selector)
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		s.awaitDependents(ctx, t, chosen)
		if f := s.stopOne(ctx, t, "stopped by order", o.Now); f != nil {
			return "", f
		}
		return "stopped", nil
	})
}

func (s *Supervisor) stopOne(ctx context.Context, t target, why string, now bool) *fault.Fault {
	p := t.pool
	if t.slots == nil {
		p.do(func() {
			for _, s := range p.slots {
				s.held = false
			}
			p.halt(why, now)
		})
		f := p.await(ctx, p.isGone)
		p.do(p.releaseListeners)
		return f
	}
	p.do(func() {
		for _, n := range t.slots {
			p.slots[n].held = true
			for _, w := range p.slots[n].workers() {
				w.stop(goalStop, why, now)
			}
		}
	})
	return p.await(ctx, func() (bool, *fault.Fault) {
		for _, n := range t.slots {
			if s := p.slots[n]; s != nil && s.cur != nil && s.cur.live() {
				return false, nil
			}
		}
		return true, nil
	})
}

// Restart ends and starts workers of the same release, all at once; for a
// change without a gap there is Reload.
func (s *Supervisor) Restart(ctx context.Context, o api.Order) api.Outcome {
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		p := t.pool
		begun := make(chan *fault.Fault, 1)
		p.post(func() {
			p.inLine(lineItem{
				run: func() {
					if !p.wanted || p.gen == nil {
						begun <- fault.New(fault.NotRunning, "%s is not running", p.name)
						return
					}
					for _, s := range p.sorted() {
						if t.has(s.n) && s.cur != nil && !s.held {
							s.ended = false
							s.cur.stop(goalAgain, "restarted by order", o.Now)
						}
					}
					begun <- nil
				},
				dropped: func(f *fault.Fault) { begun <- f },
			})
		})
		if f := s.answer(ctx, p, begun); f != nil {
			return "", f
		}
		if f := p.await(ctx, p.isUp); f != nil {
			return "", f
		}
		return "restarted", nil
	})
}

// Reload replaces every worker by one of a new release, without a gap.
func (s *Supervisor) Reload(ctx context.Context, o api.Order) api.Outcome {
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		if t.slots != nil {
			return "", fault.New(fault.Usage, "a reload is about a whole app: `muster restart %s` renews one worker", o.Selector)
		}
		return s.roll(ctx, t.pool, o.Now, func(p *pool) (*rollout, *fault.Fault) {
			return &rollout{kind: rollReload, want: release{app: p.app, environ: p.environ}}, nil
		})
	})
}

// Rollback reloads the release that served before the present one.
func (s *Supervisor) Rollback(ctx context.Context, o api.Order) api.Outcome {
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		return s.roll(ctx, t.pool, o.Now, func(p *pool) (*rollout, *fault.Fault) {
			if len(p.history) < 2 {
				return nil, fault.New(fault.NoHistory, "%s has no earlier release", p.name).At(p.name)
			}
			was := p.history[len(p.history)-2]
			r := &rollout{kind: rollRollback, want: *was, dir: was.dir}
			r.want.app.Workers = p.app.Workers
			return r, nil
		})
	})
}

// roll queues a rollout and waits for its end.
func (s *Supervisor) roll(ctx context.Context, p *pool, now bool,
	plan func(*pool) (*rollout, *fault.Fault),
) (string, *fault.Fault) {
	done := make(chan *fault.Fault, 1)
	var text string
	item := lineItem{dropped: func(f *fault.Fault) { done <- f }}
	item.run = func() {
		if !p.wanted || p.gen == nil {
			done <- fault.New(fault.NotRunning, "%s is not running", p.name).At(p.name)
			return
		}
		r, f := plan(p)
		if f != nil {
			done <- f
			return
		}
		r.answer = func(f *fault.Fault) {
			if f == nil && r.kind == rollRollback {
				// The release that was left is no longer an earlier one.
				p.history = slices.DeleteFunc(p.history, func(h *release) bool { return h == r.from.release })
			}
			text = fmt.Sprintf("%d workers replaced, release %s", r.done, r.want.name)
			done <- f
		}
		p.begin(r)
	}
	p.post(func() {
		if now && p.rollout != nil {
			p.rollout.abort(fault.New(fault.ReloadAborted, "replaced by a newer reload"))
		}
		if p.rollout != nil {
			p.publish(nil, event.Reload{Phase: event.ReloadQueued, Total: p.app.Workers})
		}
		p.inLine(item)
	})
	f := s.answer(ctx, p, done)
	return text, f
}

// Scale changes the number of workers.
func (s *Supervisor) Scale(ctx context.Context, o api.Order) api.Outcome {
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		p := t.pool
		n := 0
		begun := make(chan *fault.Fault, 1)
		p.post(func() {
			p.inLine(lineItem{
				run: func() {
					n = o.Workers
					if o.Relative {
						n += p.app.Workers
					}
					begun <- p.scale(n)
				},
				dropped: func(f *fault.Fault) { begun <- f },
			})
		})
		if f := s.answer(ctx, p, begun); f != nil {
			return "", f
		}
		if f := p.await(ctx, p.isScaled); f != nil {
			return "", f
		}
		return fmt.Sprintf("%d workers", n), nil
	})
}

// scale checks and sets the size of a pool.
func (p *pool) scale(n int) *fault.Fault {
	if n < 0 || n > spec.MaxWorkers {
		return fault.New(fault.Usage, "a pool has 0 to %d workers, not %d", spec.MaxWorkers, n).At(p.name)
	}
	app := p.app
	app.Workers = n
	alone := spec.Spec{Project: p.sup.opts.Project, Control: spec.Control{Mode: 0o600}, Apps: []spec.App{app}}
	for _, problem := range alone.Validate() {
		if !strings.Contains(problem.Path, "depends_on") {
			return fault.New(fault.Usage, "%s", problem.Text).At(p.name)
		}
	}
	if !p.wanted || p.gen == nil {
		p.app.Workers = n
		return nil
	}
	p.size(n, "scaled")
	return nil
}

// isScaled: up, and nothing of what was scaled away is left.
func (p *pool) isScaled() (bool, *fault.Fault) {
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

// Signal sends a signal to the main processes, or with Group to everything of them.
func (s *Supervisor) Signal(_ context.Context, o api.Order) api.Outcome {
	name, err := spec.ParseSignal(o.Signal)
	if err != nil {
		f := fault.From(err)
		f.Code = fault.Usage
		return api.Outcome{Results: []api.Result{{App: o.Selector, Fault: f}}}
	}
	sig := signalNumber(name)
	return s.each(o.Selector, func(t target) (string, *fault.Fault) {
		sent := 0
		var failed error
		t.pool.do(func() {
			for _, w := range t.pool.workers() {
				if !t.has(w.slot.n) || w.run == nil || !w.run.running {
					continue
				}
				err := w.run.proc.Signal(sig)
				if o.Group {
					_, err = w.run.proc.SignalRest(sig)
				}
				if err != nil {
					failed = err
					continue
				}
				sent++
			}
		})
		if sent == 0 {
			f := fault.New(fault.NotRunning, "%s has no running worker", t.pool.name)
			if failed != nil {
				f = fault.New(fault.Internal, "cannot send %s: %w", name, failed)
			}
			return "", f.At(t.pool.name)
		}
		return fmt.Sprintf("%s sent to %d workers", name, sent), nil
	})
}
