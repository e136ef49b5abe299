package solo

import (
	"time"

	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
	"github.com/muster-run/muster/internal/op"
)

// now is the time since the start.
func (w *Wire) now() time.Duration { return time.Since(w.start) }

// take asks a limiter.
func (w *Wire) take(b op.LimiterBody) (any, error) {
	b = b.WithDefaults()
	limit := limiter.Limit{Rate: b.Rate, Burst: b.Burst, Interval: op.Time(b.IntervalMS)}
	got, err := w.limits.Take(limiter.ID{Name: b.Name, Key: b.Key}, limit, b.Tokens, w.now())
	return op.Taken{Allowed: got.Allowed, WaitNS: int64(got.Wait), Left: got.Left}, err
}

// ask is the wish of a body.
func ask(b op.LockBody) lock.Ask {
	return lock.Ask{
		Name: b.Name, Token: b.Token, Party: name, Owner: name,
		Lease: op.Time(b.LeaseMS), Wait: op.Time(b.WaitMS),
	}
}

// acquire answers at once, or when the lock is free (settle).
func (w *Wire) acquire(f op.Frame) {
	_, err := with(f, func(b op.LockBody) (any, error) {
		a := ask(b)
		a.Ticket = uint64(f.ID)
		o, waiting, err := w.locks.Acquire(a, w.now())
		if err == nil && !waiting {
			w.answer(f.ID, w.outcome(o), nil)
		}
		return nil, err
	})
	if err != nil {
		w.answer(f.ID, nil, err)
	}
}

// outcome as it is answered.
func (w *Wire) outcome(o lock.Outcome) op.Held {
	left := op.Milliseconds(o.Until - w.now())
	if !o.Held {
		return op.Held{Owner: o.By, WaitMS: left}
	}
	return op.Held{Held: true, Fence: o.Fence, LeaseMS: left}
}

// held is what an owner asks.
func (w *Wire) held(opName string, b op.LockBody) (any, error) {
	if opName == op.LockRelease {
		return nil, w.locks.Release(b.Name, b.Token, w.now())
	}
	o, err := w.locks.Renew(ask(b), w.now())
	return w.outcome(o), err
}

// settle answers those in line for locks, and sees to the next end of a lease.
func (w *Wire) settle() {
	w.locks.Tick(w.now())
	for _, o := range w.locks.Settled() {
		w.answer(int64(o.Ticket), w.outcome(o), nil)
	}
	at, some := w.locks.Next()
	if !some {
		return
	}
	wait := max(0, at-w.now())
	if w.timer == nil {
		w.timer = time.AfterFunc(wait, w.tick)
	} else {
		w.timer.Reset(wait)
	}
}

func (w *Wire) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over() {
		w.settle()
	}
}
