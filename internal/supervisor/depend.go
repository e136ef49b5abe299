package supervisor

import (
	"context"
	"fmt"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// awaitDependencies blocks until everything the pool's app depends on is there.
// hopeless is told once when a dependency has failed for good; the wait goes on,
// because the app follows as soon as the dependency was repaired. false: the
// start was made void by a stop.
func (s *Supervisor) awaitDependencies(p *pool, epoch int, hopeless func(*fault.Fault)) bool {
	changed := make(chan struct{}, 1)
	s.mu.Lock()
	s.waiting[changed] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.waiting, changed)
		s.mu.Unlock()
	}()
	for told := false; ; {
		var deps []spec.Dependency
		void := true
		p.do(func() { deps, void = p.app.DependsOn, p.halts != epoch })
		if void {
			return false
		}
		missing, why := s.missing(deps)
		if missing == "" {
			return true
		}
		p.do(func() { p.waitsFor = missing })
		if why != nil && !told {
			told = true
			hopeless(fault.New(fault.Dependency, "%s waits for %s, but that failed: %s", p.name, missing, why.Text).
				At(why.Where).WithOutput(why.Output))
		}
		select {
		case <-changed:
		case <-p.done:
			return false
		}
	}
}

// missing names the first dependency that is not there yet, and why it will not
// come by itself (nil while it may).
func (s *Supervisor) missing(deps []spec.Dependency) (string, *fault.Fault) {
	for _, d := range deps {
		p := s.pool(d.App)
		if p == nil {
			return fmt.Sprintf("%s: %s", d.App, d.Condition), nil
		}
		var there bool
		var why *fault.Fault
		p.do(func() {
			if there, _ = p.reached(d.Condition); !there {
				why = p.hopeless()
			}
		})
		if !there {
			return fmt.Sprintf("%s: %s", d.App, d.Condition), why
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
		depends := false
		other.pool.do(func() {
			for _, d := range other.pool.app.DependsOn {
				depends = depends || d.App == t.pool.name
			}
		})
		if depends && other.slots == nil && other.pool != t.pool {
			_ = other.pool.await(ctx, other.pool.isGone)
		}
	}
}
