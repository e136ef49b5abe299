package supervisor

import (
	"cmp"
	"context"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/spec"
)

// target is what a selector picked of one app.
type target struct {
	pool  *pool.Pool
	slots pool.Slots // nil: all
}

// find resolves a selector.
func (s *Supervisor) find(selector string) ([]target, *fault.Fault) {
	sel, err := api.ParseSelector(selector)
	if err != nil {
		return nil, fault.From(err)
	}
	var targets []target
	for _, p := range s.all() {
		if slots, ok := p.Matches(sel); ok {
			targets = append(targets, target{p, slots})
		}
	}
	if len(targets) == 0 {
		return nil, fault.New(fault.NoApp, "%q matches no app or worker", selector)
	}
	return targets, nil
}

// each runs an order on every selected app.
func (s *Supervisor) each(ctx context.Context, selector string,
	order func(context.Context, target) (string, *fault.Fault),
) api.Outcome {
	ctx, done, f := s.order(ctx)
	var targets []target
	if f == nil {
		defer done()
		targets, f = s.find(selector)
	}
	if f != nil {
		return api.Outcome{Results: []api.Result{{App: selector, Fault: f}}}
	}
	return api.Outcome{Results: together(targets, func(t target) (string, *fault.Fault) { return order(ctx, t) })}
}

// together runs an order on several apps at once.
func together(targets []target, order func(target) (string, *fault.Fault)) []api.Result {
	results := make([]api.Result, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			text, f := order(t)
			results[i] = api.Result{App: t.pool.Name(), Text: text, Fault: f}
		})
	}
	wg.Wait()
	return results
}

// done is the text of an order that went well.
func done(text string, f *fault.Fault) (string, *fault.Fault) {
	if f != nil {
		return "", f
	}
	return text, nil
}

// Start starts what is stopped or failed, after what it depends on.
func (s *Supervisor) Start(ctx context.Context, o api.Order) api.Outcome {
	if f := s.checkApps(o); f != nil {
		return api.Outcome{Results: []api.Result{{App: o.Selector, Fault: f}}}
	}
	return s.each(ctx, o.Selector, func(ctx context.Context, t target) (string, *fault.Fault) {
		t.pool.Declare(declaration(s.keepSettings(o), t.pool))
		return done("started", t.pool.Start(ctx, t.slots, "started by order", s.awaitDependencies))
	})
}

// Stop ends workers, those of dependents first.
func (s *Supervisor) Stop(ctx context.Context, o api.Order) api.Outcome {
	chosen, _ := s.find(o.Selector)
	return s.each(ctx, o.Selector, func(ctx context.Context, t target) (string, *fault.Fault) {
		s.awaitDependents(ctx, t, chosen)
		return done("stopped", t.pool.Stop(ctx, t.slots, cmp.Or(o.Reason, "stopped by order"), o.Now))
	})
}

// Restart ends and starts workers of the same release, all at once.
func (s *Supervisor) Restart(ctx context.Context, o api.Order) api.Outcome {
	return s.each(ctx, o.Selector, func(ctx context.Context, t target) (string, *fault.Fault) {
		return done("restarted", t.pool.Restart(ctx, t.slots, cmp.Or(o.Reason, "restarted by order"), o.Now))
	})
}

// Reload replaces every worker by one of a new release, without a gap.
func (s *Supervisor) Reload(ctx context.Context, o api.Order) api.Outcome {
	if f := s.checkApps(o); f != nil {
		return api.Outcome{Results: []api.Result{{App: o.Selector, Fault: f}}}
	}
	return s.eachWhole(ctx, o.Selector, func(ctx context.Context, p *pool.Pool) (string, *fault.Fault) {
		return p.Reload(ctx, o.Now, declaration(s.keepSettings(o), p))
	})
}

// declaration is what an order declares a pool's app as; nil: nothing.
func declaration(o api.Order, p *pool.Pool) *spec.App {
	for _, app := range o.Apps {
		if app.Name == p.Name() {
			return &app
		}
	}
	return nil
}

// checkApps checks the declarations of an order beside those that stay.
func (s *Supervisor) checkApps(o api.Order) *fault.Fault {
	if len(o.Apps) == 0 {
		return nil
	}
	next := s.Spec()
	for i, app := range next.Apps {
		for _, declared := range o.Apps {
			if declared.Name == app.Name {
				next.Apps[i] = declared
			}
		}
	}
	return s.check(next)
}

// Rollback reloads the release that served before the present one.
func (s *Supervisor) Rollback(ctx context.Context, o api.Order) api.Outcome {
	return s.eachWhole(ctx, o.Selector, func(ctx context.Context, p *pool.Pool) (string, *fault.Fault) { return p.Rollback(ctx, o.Now) })
}

// Scale changes the number of workers.
func (s *Supervisor) Scale(ctx context.Context, o api.Order) api.Outcome {
	return s.eachWhole(ctx, o.Selector, func(ctx context.Context, p *pool.Pool) (string, *fault.Fault) {
		return p.Scale(ctx, o.Workers, o.Relative)
	})
}

// eachWhole is each for orders that are about whole apps.
func (s *Supervisor) eachWhole(ctx context.Context, selector string,
	order func(context.Context, *pool.Pool) (string, *fault.Fault),
) api.Outcome {
	return s.each(ctx, selector, func(ctx context.Context, t target) (string, *fault.Fault) {
		if t.slots != nil {
			return "", wholeApp(selector, t.pool)
		}
		return order(ctx, t.pool)
	})
}

func wholeApp(selector string, p *pool.Pool) *fault.Fault {
	return fault.New(fault.Usage, "%q is one worker; this is about a whole app", selector).
		WithFix("name the app: " + p.Name() + "; `muster restart` renews one worker")
}

// Signal sends a signal to the main processes, or with Group to everything of them.
func (s *Supervisor) Signal(ctx context.Context, o api.Order) api.Outcome {
	name, err := spec.ParseSignal(o.Signal)
	if err != nil {
		f := *fault.From(err)
		f.Code = fault.Usage
		return api.Outcome{Results: []api.Result{{App: o.Selector, Fault: &f}}}
	}
	return s.each(ctx, o.Selector, func(_ context.Context, t target) (string, *fault.Fault) {
		return t.pool.Signal(t.slots, name, o.Group)
	})
}

// Launch is what a command needs to run in an app's surroundings, as the worker
// in the selected slot (the first by default) would.
func (s *Supervisor) Launch(selector string) (api.Launch, error) {
	targets, f := s.find(selector)
	if f != nil {
		return api.Launch{}, f
	}
	if len(targets) > 1 {
		return api.Launch{}, fault.New(fault.Usage, "%q selects %d apps, one is needed", selector, len(targets))
	}
	slot := 0
	if targets[0].slots != nil {
		slot = targets[0].slots[0]
	}
	w := targets[0].pool.Surroundings(slot)
	if w.Dir == "" {
		dir, err := launch.ResolveDir(w.App)
		if err != nil {
			return api.Launch{}, err
		}
		w.Dir = dir
	}
	cmd, err := launch.Command(w)
	if err != nil {
		return api.Launch{}, err
	}
	return api.Launch{Env: cmd.Env, Dir: cmd.Dir, User: w.App.User, Group: w.App.Group}, nil
}
