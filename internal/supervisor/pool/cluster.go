package pool

import (
	"maps"
	"os"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/worker"
	"github.com/muster-run/muster/spec"
)

// primaryFor is the primary that a worker's process gets, offering what the worker's
// generation has declared; nil: it is no worker of Node's cluster.
func (p *Pool) primaryFor(w *worker.Worker) *primary.Primary {
	if p.shared.Attempts.Loop == nil || w.Gen.Surroundings(p.shared.Node, w.Slot).Cluster() == spec.NodeOff {
		return nil
	}
	if p.primary == nil {
		p.primary = primary.New(p.primaryOptions())
	}
	p.primary.Offer(offered(w.Gen.Listeners))
	return p.primary
}

func (p *Pool) primaryOptions() primary.Options {
	return primary.Options{
		App: p.name, User: p.app.User, Store: p.shared.Attempts.Store, Loop: p.shared.Attempts.Loop,
		Balance: func(l spec.Listener) spec.Balance { return launch.BalanceOf(p.app, l) },
		Slots:   func() int { return p.app.Workers },
		After:   p.owner.After,
		Warn:    func(member string, f *fault.Fault) { p.post(func() { p.warn(p.named(member), f) }) },
		Blocked: p.Warn,
	}
}

// offered are declared listeners as a primary knows them.
func offered(list []*generation.Listener) (all []primary.Offered) {
	for _, b := range list {
		all = append(all, primary.Offered{
			Spec: b.Spec, Addr: b.Addr, Door: b.Door(), Balance: b.Balance(),
			File: func(slot int) *os.File { f, _ := b.For(slot); return f },
		})
	}
	return all
}

// named is the worker with a name, the newest of a slot; nil: none.
func (p *Pool) named(name string) (found *worker.Worker) {
	for _, w := range p.workers() {
		if w.String() == name && (found == nil || w.Run != nil) {
			found = w
		}
	}
	return found
}

// before are the servers that the worker before one in its slot listens on, and
// whether any worker of the app has asked for one.
func (p *Pool) before(w *worker.Worker) (keys []string, any bool) {
	for _, s := range p.slots {
		for _, other := range s.workers() {
			if other == w || other.Run == nil {
				continue
			}
			servers := other.Run.Servers()
			any = any || len(servers) > 0
			if s.n == w.Slot {
				keys = append(keys, servers...)
			}
		}
	}
	return keys, any || len(p.asked()) > 0
}

// adoptPrimary goes on with what workers have asked of an earlier agent.
func (p *Pool) adoptPrimary(rec record.Pool) (faults []*fault.Fault) {
	clustered := len(rec.Asked) > 0
	for _, v := range rec.Occupants {
		clustered = clustered || v.Process.Node != nil || v.Process.Forks != nil
	}
	if p.shared.Attempts.Loop == nil || !clustered {
		return nil
	}
	p.primary, faults = primary.Adopt(p.primaryOptions(), rec.Asked)
	if p.gen != nil {
		p.primary.Offer(offered(p.gen.Listeners))
	}
	return faults
}

// asked are the listeners that workers have asked for.
func (p *Pool) asked() []record.Asked {
	if p.primary == nil {
		return nil
	}
	return p.primary.Facts()
}

// releaseAsked closes them once the record no longer names them.
func (p *Pool) releaseAsked() {
	if p.primary != nil {
		p.owner.After(p.primary.Release)
		p.primary = nil
	}
}

// Doors are the counts of the listeners whose connections are dealt or guarded, by
// address.
func (p *Pool) Doors() map[string]handoff.Stats {
	stats := map[string]handoff.Stats{}
	p.do(func() {
		if p.primary != nil {
			maps.Copy(stats, p.primary.Stats())
		}
		if p.gen == nil {
			return
		}
		for _, b := range p.gen.Listeners {
			if d := b.Door(); d != nil {
				stats[b.Address()] = d.Stats()
			}
		}
	})
	return stats
}
