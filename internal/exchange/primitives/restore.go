package primitives

import (
	"encoding/json"
	"math"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
)

// restore brings back what the ledger holds.
func (p *Primitives) restore() error {
	bad := 0
	now := p.now()
	err := p.ledger.Each(func(rec []byte) error {
		r := record{rest: rec}
		if p.apply(&r, now); r.bad {
			bad++
		}
		return nil
	})
	if err != nil {
		return fault.New(fault.Internal, "cannot read the ledger of limiters, locks and counters: %w", err)
	}
	if dropped := p.ledger.Dropped(); bad > 0 || dropped > 0 {
		p.log.Warn("a part of the ledger of limiters, locks and counters was damaged", "records", bad, "bytes", dropped)
	}
	return nil
}

// apply does what a record says; a bad one does nothing.
func (p *Primitives) apply(r *record, now time.Duration) {
	if party := r.text(); party != "" {
		last := answered{r.signed(), json.RawMessage(r.text())}
		if r.bad {
			return
		}
		p.last[party] = last
	}
	if len(r.rest) == 0 {
		return
	}
	switch kind := r.kind(); kind {
	case kindBucket:
		id, s := limiter.ID{Name: r.text(), Key: r.text()}, limiter.State{Full: r.signed(), Frac: r.fixed(), PerToken: math.Float64frombits(r.fixed())}
		if !r.bad {
			p.limiters.Restore(id, s, now)
		}
	case kindCounter:
		if name, value := r.text(), r.signed(); !r.bad {
			p.counters.Restore(name, value)
		}
	default:
		p.applyHeld(kind, r, now)
	}
}

// applyHeld is apply for what belongs to parties.
func (p *Primitives) applyHeld(kind byte, r *record, now time.Duration) {
	switch kind {
	case kindHeld:
		s := lock.State{Name: r.text(), Token: r.text(), Party: r.text(), Owner: r.text(), Fence: r.unsigned(), Until: time.Duration(r.signed())}
		if !r.bad {
			p.locks.Restore(s, now)
		}
	case kindReleased:
		if name, fence := r.text(), r.unsigned(); !r.bad {
			p.locks.Forget(name, fence)
		}
	case kindGone:
		if party := r.text(); !r.bad {
			delete(p.last, party)
			p.caches.gone(party)
			p.locks.Gone(party, now)
		}
	case kindUse:
		if party, cache := r.text(), r.text(); !r.bad {
			p.caches.add(party, cache)
		}
	case kindFence:
		p.locks.RestoreFence(r.unsigned())
	}
}

// snapshot writes the ledger anew.
func (p *Primitives) snapshot() error {
	now := p.now()
	return p.ledger.Snapshot(func(add func(rec []byte)) {
		change := func(f func(b []byte) []byte) {
			p.buf = f(appendHead(p.buf[:0], "", 0, nil))
			add(p.buf)
		}
		change(func(b []byte) []byte { return appendFence(b, p.locks.Fence()) })
		p.limiters.Each(now, func(id limiter.ID, s limiter.State) {
			change(func(b []byte) []byte { return appendBucket(b, id, s) })
		})
		p.counters.Each(func(name string, value int64) {
			change(func(b []byte) []byte { return appendCounter(b, name, value) })
		})
		p.locks.Each(now, func(s lock.State) {
			change(func(b []byte) []byte { return appendHeld(b, s) })
		})
		for party, used := range p.caches.byParty {
			for cache := range used {
				change(func(b []byte) []byte { return appendUse(b, party, cache) })
			}
		}
		for party, last := range p.last {
			p.buf = appendHead(p.buf[:0], party, last.id, last.reply)
			add(p.buf)
		}
	})
}
