package supervisor

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Diff lists what Apply would change.
func (s *Supervisor) Diff(next spec.Spec) []spec.Change {
	s.mu.Lock()
	was := s.spec
	s.mu.Unlock()
	was.Apps, was.Environ = nil, nil
	bare := next
	bare.Apps, bare.Environ = nil, nil
	changes := spec.Diff(was, bare)
	for _, p := range s.all() {
		old := spec.Spec{}
		p.do(func() { old.Apps, old.Environ = []spec.App{p.app}, p.environ })
		changes = append(changes, spec.Diff(old, onlyApp(next, p.name))...)
	}
	for _, app := range next.Apps {
		if s.pool(app.Name) == nil {
			changes = append(changes, spec.Diff(spec.Spec{Environ: next.Environ}, onlyApp(next, app.Name))...)
		}
	}
	return slices.DeleteFunc(changes, func(c spec.Change) bool { return c.App == "" && c.Field == "environ" })
}

func onlyApp(s spec.Spec, name string) spec.Spec {
	one := spec.Spec{Environ: s.Environ}
	for _, app := range s.Apps {
		if app.Name == name {
			one.Apps = append(one.Apps, app)
		}
	}
	return one
}

// Apply brings the host to a new spec: apps that are gone are stopped, new ones
// started, changed ones reloaded, scaled or updated in place. It returns once
// everything it touched is up, or has failed. A spec that is not valid, or
// whose new listeners cannot all be bound, changes nothing.
func (s *Supervisor) Apply(ctx context.Context, next spec.Spec) api.ApplyResult {
	s.applying.Lock()
	defer s.applying.Unlock()
	var result api.ApplyResult
	refuse := func(f *fault.Fault) api.ApplyResult {
		result.Results = []api.Result{{App: "", Fault: f}}
		return result
	}
	if problems := next.Validate(); len(problems) > 0 {
		f := fault.New(fault.Config, "%d problems in the configuration", len(problems))
		for _, p := range problems {
			f.Output = append(f.Output, p.String())
		}
		return refuse(f)
	}
	result.Changes = s.Diff(next)
	if f := s.prebind(next); f != nil {
		return refuse(f)
	}
	s.announce(result.Changes)
	result.Results = append(result.Results, s.removeApps(ctx, next)...)
	s.mu.Lock()
	s.spec = next
	s.mu.Unlock()
	result.Results = append(result.Results, s.applyApps(ctx, next, result.Changes)...)
	s.dropPrebound()
	return result
}

func (s *Supervisor) announce(changes []spec.Change) {
	var lines []string
	for _, c := range changes {
		line := strings.TrimSpace(string(c.Action) + " " + c.App + " " + c.Field)
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	s.opts.Events.Publish(event.Event{
		Node: s.opts.Node, Slot: event.NoSlot, Data: event.Applied{Changes: lines},
	})
}

// prebind binds every listener that is new, before anything is touched.
func (s *Supervisor) prebind(next spec.Spec) *fault.Fault {
	kept := s.opts.Store.List()
	for _, app := range next.Apps {
		for _, l := range app.Listen {
			name := storeName(app.Name, l)
			if slices.ContainsFunc(kept, func(k string) bool { return k == name || sameSocket(k, l) }) {
				continue
			}
			b, err := s.bind(app.Name, l)
			if err != nil {
				s.dropPrebound()
				return fault.From(err)
			}
			s.mu.Lock()
			s.prebound[name] = b
			s.mu.Unlock()
		}
	}
	return nil
}

// takePrebound hands a listener bound in advance to the generation that uses it.
func (s *Supervisor) takePrebound(name string) *bound {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.prebound[name]
	delete(s.prebound, name)
	return b
}

// dropPrebound closes what no generation has taken (a start that still waits
// for a dependency binds again).
func (s *Supervisor) dropPrebound() {
	s.mu.Lock()
	left := s.prebound
	s.prebound = map[string]*bound{}
	s.mu.Unlock()
	for name, b := range left {
		app, _, _ := strings.Cut(name, "/")
		s.release(app, []*bound{b})
	}
}

// removeApps stops what the new spec no longer has, dependents first.
func (s *Supervisor) removeApps(ctx context.Context, next spec.Spec) []api.Result {
	var gone []target
	for _, p := range s.all() {
		if !slices.ContainsFunc(next.Apps, func(a spec.App) bool { return a.Name == p.name }) {
			gone = append(gone, target{pool: p})
		}
	}
	return s.together(gone, func(t target) (string, *fault.Fault) {
		s.awaitDependents(ctx, t, gone)
		if f := s.stopOne(ctx, t, "removed from the configuration", false); f != nil {
			return "", f
		}
		s.remove(t.pool)
		return "removed", nil
	})
}

func (s *Supervisor) remove(p *pool) {
	s.mu.Lock()
	delete(s.pools, p.name)
	delete(s.ends, p.name)
	s.mu.Unlock()
	p.close()
}

// together runs an order on several apps at once.
func (s *Supervisor) together(targets []target, order func(target) (string, *fault.Fault)) []api.Result {
	results := make([]api.Result, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() {
			text, f := order(t)
			results[i] = api.Result{App: t.pool.name, Text: text, Fault: f}
		})
	}
	wg.Wait()
	return results
}

func (s *Supervisor) applyApps(ctx context.Context, next spec.Spec, changes []spec.Change) []api.Result {
	var results []api.Result
	var targets []target
	apps := map[string]spec.App{}
	for _, app := range next.Apps {
		p, err := s.ensure(app, next.Environ)
		if err != nil {
			results = append(results, api.Result{App: app.Name, Fault: fault.From(err)})
			continue
		}
		apps[app.Name] = app
		targets = append(targets, target{pool: p})
	}
	applied := s.together(targets, func(t target) (string, *fault.Fault) {
		return s.applyOne(ctx, t, apps[t.pool.name], next.Environ, mine(changes, t.pool.name))
	})
	return append(results, applied...)
}

// ensure finds or makes the pool of an app.
func (s *Supervisor) ensure(app spec.App, environ []string) (*pool, error) {
	if p := s.pool(app.Name); p != nil {
		return p, nil
	}
	p, err := newPool(s, app, environ)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools[app.Name] = p
	return p, nil
}

// mine are the actions that the changes of one app ask for.
func mine(changes []spec.Change, app string) map[spec.Action]bool {
	actions := map[spec.Action]bool{}
	for _, c := range changes {
		if c.App == app {
			actions[c.Action] = true
		}
	}
	return actions
}

// applyOne brings one app to its new declaration, by the mildest way.
func (s *Supervisor) applyOne(ctx context.Context, t target, app spec.App, environ []string,
	actions map[spec.Action]bool,
) (string, *fault.Fault) {
	p := t.pool
	running := false
	p.do(func() {
		running = p.wanted && p.gen != nil && !p.empty()
		if !running {
			p.app, p.environ = app, environ
		}
	})
	_ = p.log.Reconfigure(app.Log, s.logFile(app))
	switch {
	case !running:
		return "started", s.startOne(ctx, t, "applied")
	case actions[spec.ReloadApp]:
		return s.roll(ctx, p, false, func(*pool) (*rollout, *fault.Fault) {
			return &rollout{kind: rollReload, want: release{app: app, environ: environ}}, nil
		})
	}
	p.do(func() { p.update(app) })
	if actions[spec.ScaleApp] {
		o := s.Scale(ctx, api.Order{Selector: p.name, Workers: app.Workers})
		return o.Results[0].Text, o.Results[0].Fault
	}
	text := "unchanged"
	if len(actions) > 0 {
		text = "updated"
	}
	p.do(func() { p.startStopped(t, "applied") })
	return text, p.await(ctx, p.isUp)
}

// update takes over what may change without touching a worker.
func (p *pool) update(app spec.App) {
	workers := p.app.Workers
	p.app = app
	p.app.Workers = workers
	for _, w := range p.workers() {
		w.gen.update(app)
	}
	if p.gen != nil {
		p.gen.update(app)
	}
}
