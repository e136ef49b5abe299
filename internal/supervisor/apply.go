package supervisor

import (
	"context"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/spec"
)

// Diff lists what Apply would change.
func (s *Supervisor) Diff(next spec.Spec) []spec.Change {
	s.mu.Lock()
	was := s.spec
	s.mu.Unlock()
	changes := spec.Diff(bare(was), bare(next))
	for _, p := range s.all() {
		app, environ := p.Declared()
		changes = append(changes, spec.Diff(spec.Spec{Environ: environ, Apps: []spec.App{app}}, only(next, p.Name()))...)
	}
	for _, app := range next.Apps {
		if s.pool(app.Name) == nil {
			changes = append(changes, spec.Diff(spec.Spec{Environ: next.Environ}, only(next, app.Name))...)
		}
	}
	return changes
}

// bare is a spec without its apps: each is compared with what its pool has.
func bare(s spec.Spec) spec.Spec { s.Apps, s.Environ = nil, nil; return s }

// only is a spec with one of its apps, or none.
func only(s spec.Spec, name string) spec.Spec {
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
	ctx, done, f := s.order(ctx)
	if f == nil {
		defer done()
		f = s.check(next)
	}
	if f != nil {
		result.Results = []api.Result{{Fault: f}}
		return result
	}
	result.Changes = s.Diff(next)
	if f := s.shared.Sockets.Prebind(next.Apps); f != nil {
		result.Results = []api.Result{{App: f.Where, Fault: f}}
		return result
	}
	s.announce(result.Changes)
	s.bring(ctx, next, &result, func(string) bool { return false })
	return result
}

// bring does what an Apply is to change, but to the apps that skip names.
func (s *Supervisor) bring(ctx context.Context, next spec.Spec, result *api.ApplyResult, skip func(app string) bool) {
	s.save(&next)
	result.Results = append(result.Results, s.removeApps(ctx, next)...)
	s.mu.Lock()
	s.spec = next
	clear(s.settings)
	s.mu.Unlock()
	result.Results = append(result.Results, s.applyApps(ctx, next, result.Changes, skip)...)
	s.shared.Sockets.DropPrebound(skip)
	s.save(nil)
}

func (s *Supervisor) check(next spec.Spec) *fault.Fault {
	problems := next.Validate()
	if len(problems) == 0 {
		return accounts(next)
	}
	f := fault.New(fault.Config, "%d problems in the configuration", len(problems))
	for _, p := range problems {
		f.Output = append(f.Output, p.String())
	}
	return f
}

// accounts says which app's user or group does not exist here, before anything
// is touched for the others.
func accounts(next spec.Spec) *fault.Fault {
	for _, app := range next.Apps {
		if err := launch.Check(app); err != nil {
			return fault.From(err)
		}
	}
	return nil
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

// removeApps stops what the new spec no longer has, dependents first.
func (s *Supervisor) removeApps(ctx context.Context, next spec.Spec) []api.Result {
	var gone []target
	for _, p := range s.all() {
		if !slices.ContainsFunc(next.Apps, func(a spec.App) bool { return a.Name == p.Name() }) {
			gone = append(gone, target{pool: p})
		}
	}
	return together(gone, func(t target) (string, *fault.Fault) {
		s.awaitDependents(ctx, t, gone)
		if f := t.pool.Retire(ctx, "removed from the configuration", false); f != nil {
			return "", f
		}
		s.remove(t.pool)
		return "removed", nil
	})
}

func (s *Supervisor) remove(p *pool.Pool) {
	s.mu.Lock()
	delete(s.pools, p.Name())
	delete(s.ends, p.Name())
	s.mu.Unlock()
	p.Close()
}

func (s *Supervisor) applyApps(ctx context.Context, next spec.Spec, changes []spec.Change,
	skip func(app string) bool,
) []api.Result {
	var failed []api.Result
	var targets []target
	apps := map[string]spec.App{}
	for _, app := range next.Apps {
		if skip(app.Name) {
			continue
		}
		p, err := s.ensure(app, next.Environ)
		if err != nil {
			failed = append(failed, api.Result{App: app.Name, Fault: fault.From(err)})
			continue
		}
		apps[app.Name] = app
		targets = append(targets, target{pool: p})
	}
	held := s.takeHeld()
	applied := together(targets, func(t target) (string, *fault.Fault) {
		p := t.pool
		mine := slices.DeleteFunc(slices.Clone(changes), func(c spec.Change) bool { return c.App != p.Name() })
		return p.Apply(ctx, apps[p.Name()], next.Environ, mine, func() *fault.Fault {
			if slices.Contains(held, p.Name()) {
				p.Rest()
				return nil
			}
			return p.Start(ctx, nil, "applied", s.awaitDependencies)
		})
	})
	return append(failed, applied...)
}

// ensure finds or makes the pool of an app.
func (s *Supervisor) ensure(app spec.App, environ []string) (*pool.Pool, error) {
	if p := s.pool(app.Name); p != nil {
		return p, nil
	}
	p, err := pool.New(s.ctx, s.shared, app, environ)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.pools[app.Name] = p
	s.mu.Unlock()
	if s.left.Load() { // and Leave may not have seen it
		p.Leave()
	}
	return p, nil
}
