package supervisor

import (
	"context"
	"fmt"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/spec"
)

// awaitDependencies blocks until everything the pool's app depends on is there.
// hopeless is told once when a dependency has failed for good; the wait goes on,
// because the app follows as soon as the dependency was repaired. false: the
// start was made void by a stop.
func (s *Supervisor) awaitDependencies(p *pool.Pool, stopped func() bool, hopeless func(*fault.Fault)) bool {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	s.waiting[changed] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, changed)
		s.mu.Unlock()
	}()
	told, shown := false, ""
	for !stopped() {
		app, _ := p.Declared()
		missing, why := s.missing(app.DependsOn)
		if missing == "" {
			return true
		}
		if missing != shown {
			p.WaitsFor(missing)
			shown = missing
		}
		if why != nil && !told {
			told = true
			hopeless(fault.New(fault.Dependency, "%s waits for %s, but that failed: %s", p.Name(), missing, why.Text).
				At(why.Where).WithOutput(why.Output))
		}
		select {
		case <-changed:
		case <-s.ctx.Done():
			return false
		}
	}
	return false
}

// missing names the first dependency that is not there yet, and why it will not
// come by itself (nil while it may).
func (s *Supervisor) missing(deps []spec.Dependency) (string, *fault.Fault) {
	for _, d := range deps {
		name := fmt.Sprintf("%s: %s", d.App, d.Condition)
		p := s.pool(d.App)
		if p == nil {
			return name, nil
		}
		if there, why := p.Reached(d.Condition); !there {
			return name, why
		}
	}
	return "", nil
}

// awaitDependents blocks until every chosen app that depends on t's is gone.
func (s *Supervisor) awaitDependents(ctx context.Context, t target, chosen []target) {
	if t.slots != nil {
		return
	}
	for _, other := range chosen {
		if other.slots != nil || other.pool == t.pool {
			continue
		}
		app, _ := other.pool.Declared()
		for _, d := range app.DependsOn {
			if d.App == t.pool.Name() {
				_ = other.pool.AwaitGone(ctx)
			}
		}
	}
}
