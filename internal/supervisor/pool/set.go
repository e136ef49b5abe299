package pool

import (
	"context"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/spec"
)

// Set changes what the app is declared as, behind a rollout that is under way. What
// may change under a running worker counts at once, the rest from the next start or
// reload.
func (p *Pool) Set(ctx context.Context, change func(*spec.App)) *fault.Fault {
	return p.enqueue(ctx, func() *fault.Fault {
		app := p.app
		change(&app)
		changes := spec.DiffApp(p.app, app)
		p.update(app)
		p.tell(changes)
		return nil
	})
}

// Amend reloads the app as a change of its declaration wants it; one that fails is
// undone, and changes nothing.
func (p *Pool) Amend(ctx context.Context, change func(*spec.App)) (string, *fault.Fault) {
	return p.roll(ctx, false, func() (*rollout, *fault.Fault) {
		app := p.app
		change(&app)
		return &rollout{kind: rollReload, want: &generation.Release{App: app, Environ: p.environ}}, nil
	})
}

// ahead: what is declared differs from what runs by more than takes effect without
// new workers (Set).
func (p *Pool) ahead(app spec.App) bool {
	if p.gen == nil {
		return false
	}
	for _, c := range spec.DiffApp(p.gen.Release.App, app) {
		if c.Action == spec.ReloadApp {
			return true
		}
	}
	return false
}
