package pool

import (
	"slices"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/worker"
)

// growSockets makes the sockets of new slots, before their workers start. Where that
// cannot be, two workers share one.
func (p *Pool) growSockets(n int) {
	if p.primary != nil {
		p.primary.Resize(max(n, p.widest()))
	}
	if p.gen == nil {
		return
	}
	if err := p.shared.Sockets.Grow(p.name, p.gen.Listeners, n); err != nil {
		p.warn(nil, fault.From(err))
	}
}

// fitSockets closes the sockets of slots whose last worker is gone. A rollout may be
// about to use them.
func (p *Pool) fitSockets() {
	if p.gen == nil || p.rollout != nil || !p.wanted {
		return
	}
	n := p.widest()
	if p.primary != nil && n == p.app.Workers { // once for all that go, as it blocks
		p.primary.Resize(n)
	}
	list := p.listeners()
	if p.shared.Sockets.Want(list, n) {
		p.owner.After(func() {
			p.shared.Attempts.Errands.Go(func() { p.shared.Sockets.Fit(list) })
		})
	}
}

// widest is how many slots the pool has, or still has workers for.
func (p *Pool) widest() int {
	n := p.app.Workers
	for k := range p.slots {
		n = max(n, k+1)
	}
	return n
}

// Warn publishes what was noticed of the worker of a slot, or (-1) of the app. over: it
// has ended.
func (p *Pool) Warn(slot int, f *fault.Fault, over bool) {
	p.post(func() {
		var w *worker.Worker
		f := f.At(p.name)
		if s := p.slots[slot]; s != nil && s.cur != nil {
			w = s.cur
			f = f.At(w.String())
		}
		if !over {
			p.warn(w, f)
			return
		}
		p.warnings = record.Over(p.warnings, f)
		p.publish(w, event.Warning{Fault: *f, Over: true})
	})
}

// listeners are all that workers may have.
func (p *Pool) listeners() []*generation.Listener { return slices.Concat(p.gen.Listeners, p.stale) }
