// Package surge decides reload.surge: auto: whether the new workers of an app can
// start beside its old ones. It looks at the sockets of the old workers.
package surge

import (
	"slices"

	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/reload"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/spec"
)

// Choice is what the decision needs. A new worker can start beside the old one
// unless both would need the same port for themselves.
type Choice struct {
	Sys attempt.Sys
	App spec.App
	// Ours are the inodes of the listeners that the workers inherit.
	Ours map[uint64]bool
	// Procs are the old workers.
	Procs []process.Proc
}

// Policy of a rollout of the app. Programs that hang up on keep-alive clients are
// replaced all together where nothing else is written, as by their own reload.
func (c Choice) Policy() reload.Policy {
	p := reload.Policy{Batch: c.App.Reload.Batch, Surge: c.Choose()}
	if c.App.Reload.Surge == spec.SurgeAuto && p.Surge > 0 && launch.HangsUp(c.App) {
		p.Batch = max(p.Batch, c.App.Workers)
		p.Surge = p.Batch
	}
	return p
}

// Choose blocks: it looks at the sockets of the old workers.
func (c Choice) Choose() int {
	app := c.App
	if app.Reload.Surge != spec.SurgeAuto {
		return app.Reload.Surge
	}
	alone := func(p spec.Port) bool { return p.Increment != 0 || app.Workers < 2 }
	if slices.ContainsFunc(app.Ports, alone) {
		return 0
	}
	// Several workers that listen for themselves share their port by
	// SO_REUSEPORT, and can share it with one more.
	if len(app.Listen) > 0 || len(c.Procs) != 1 {
		return max(1, app.Reload.Batch)
	}
	if own, err := c.Sys.Foreign(c.Sys.Members(c.Procs[0]), c.Ours); err == nil && len(own) > 0 {
		return 0
	}
	return max(1, app.Reload.Batch)
}
