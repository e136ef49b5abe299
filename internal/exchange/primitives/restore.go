package primitives

import (
	"encoding/json"
	"math"
	"runtime"
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

// breath is after how many records of a snapshot calls may come in between.
const breath = 256

// snapshot writes the ledger anew, while calls go on: a record is the whole state of what
// it is about, so it does not matter which of them stand in between.
func (p *Primitives) snapshot() error {
	return p.ledger.Snapshot(func(add func(rec []byte)) {
		p.mu.Lock()
		defer p.mu.Unlock()
		n := 0
		p.each(func(party string, last answered, change func(b []byte) []byte) {
			p.buf = appendHead(p.buf[:0], party, last.id, last.reply)
			if change != nil {
				p.buf = change(p.buf)
			}
			add(p.buf)
			if n++; n%breath == 0 {
				p.mu.Unlock()
				runtime.Gosched()
				p.mu.Lock()
			}
		})
	})
}

// each calls f with all that the ledger must hold. The mutex may be given up in f.
func (p *Primitives) each(f func(party string, last answered, change func(b []byte) []byte)) {
	now := p.now()
	changed := func(change func(b []byte) []byte) { f("", answered{}, change) }
	changed(func(b []byte) []byte { return appendFence(b, p.locks.Fence()) })
	p.limiters.Each(now, func(id limiter.ID, s limiter.State) {
		changed(func(b []byte) []byte { return appendBucket(b, id, s) })
	})
	p.counters.Each(func(name string, value int64) {
		changed(func(b []byte) []byte { return appendCounter(b, name, value) })
	})
	p.locks.Each(now, func(s lock.State) {
		changed(func(b []byte) []byte { return appendHeld(b, s) })
	})
	for party, used := range p.caches.byParty {
		for cache := range used {
			if p.caches.has(party, cache) { // not gone meanwhile
				changed(func(b []byte) []byte { return appendUse(b, party, cache) })
			}
		}
	}
	for party, last := range p.last {
		f(party, last, nil)
	}
}
