package pool

import (
	"slices"

	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/reload"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/spec"
)

// surgeChoice decides reload.surge: auto. A new worker can start beside the old
// one unless both would need the same port for themselves.
type surgeChoice struct {
	sys   attempt.Sys
	app   spec.App
	ours  map[uint64]bool
	procs []process.Proc
}

// surge collects what the choice needs, in the pool's goroutine.
func (p *Pool) surge(app spec.App) surgeChoice {
	c := surgeChoice{sys: p.shared.Attempts.Sys, app: app, ours: map[uint64]bool{}}
	for _, s := range p.slots {
		if s.cur != nil && s.cur.run != nil && s.cur.run.Running() {
			c.procs = append(c.procs, s.cur.run.Proc())
		}
	}
	if p.gen != nil {
		for _, b := range p.gen.Listeners {
			c.ours[b.Inode] = true
		}
	}
	return c
}

// policy of a rollout of the app. Programs that hang up on keep-alive clients are
// replaced all together where nothing else is written, as by their own reload.
func (c surgeChoice) policy() reload.Policy {
	p := reload.Policy{Batch: c.app.Reload.Batch, Surge: c.choose()}
	if c.app.Reload.Surge == spec.SurgeAuto && p.Surge > 0 && launch.HangsUp(c.app) {
		p.Batch = max(p.Batch, c.app.Workers)
		p.Surge = p.Batch
	}
	return p
}

// choose blocks: it looks at the sockets of the old workers.
func (c surgeChoice) choose() int {
	app := c.app
	if app.Reload.Surge != spec.SurgeAuto {
		return app.Reload.Surge
	}
	alone := func(p spec.Port) bool { return p.Increment != 0 || app.Workers < 2 }
	if slices.ContainsFunc(app.Ports, alone) {
		return 0
	}
	// Several workers that listen for themselves share their port by
	// SO_REUSEPORT, and can share it with one more.
	if len(app.Listen) > 0 || len(c.procs) != 1 {
		return max(1, app.Reload.Batch)
	}
	var own []listener.Socket
	for _, proc := range c.procs {
		found, err := c.sys.Foreign(c.sys.Members(proc), c.ours)
		if err == nil {
			own = append(own, found...)
		}
	}
	if len(own) > 0 {
		return 0
	}
	return max(1, app.Reload.Batch)
}
