package peer

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

const (
	// leaseDefault is how long a lock is held beyond its owner's last sign.
	leaseDefault       = 10 * time.Second
	leaseMin, leaseMax = 100 * time.Millisecond, 24 * time.Hour
	// lockWait is how long one request waits for a lock; then it is asked again.
	lockWait = time.Hour
)

// errReleased ends what is done while a lock is held.
var errReleased = errors.New("the lock was given back")

// LockOptions of a Lock.
type LockOptions struct {
	// Lease is how long the lock stays taken when its owner says nothing more, as it
	// hangs; 100 ms to 24 h, 0: 10 s. An owner that ends frees it at once.
	Lease time.Duration
}

// Lock is a lock that all processes of the project share.
type Lock struct {
	p    *Peer
	name string
	o    LockOptions
}

// Lock makes a lock. It asks for nothing yet.
func (p *Peer) Lock(name string, o LockOptions) *Lock {
	if o.Lease == 0 {
		o.Lease = leaseDefault
	}
	return &Lock{p, name, o}
}

// Acquire waits for the lock, in line with others, until ctx ends. The lease is renewed
// for as long as it is held, every third of its length.
func (l *Lock) Acquire(ctx context.Context) (*Held, error) {
	token := rand.Text()
	for {
		wait := lockWait
		if at, ok := ctx.Deadline(); ok {
			wait = min(wait, time.Until(at))
		}
		h, _, err := l.ask(ctx, token, max(wait, time.Millisecond))
		if h != nil || err != nil && (fault.CodeOf(err) != fault.Deadline || ctx.Err() != nil) {
			return h, err
		}
		if ctx.Err() != nil {
			return nil, gaveUp(ctx, "the lock "+l.name+" was not free")
		}
	}
}

// Try takes the lock if it is free; otherwise owner says which process has it.
func (l *Lock) Try(ctx context.Context) (h *Held, owner string, err error) {
	return l.ask(ctx, rand.Text(), 0)
}

// Do runs f while the lock is held. f's context ends when the lock is lost; f must end
// then, as another may have it already. The error is f's, or why f was not run.
func (l *Lock) Do(ctx context.Context, f func(context.Context) error) error {
	h, err := l.Acquire(ctx)
	if err != nil {
		return err
	}
	defer h.Release()
	inner, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	defer context.AfterFunc(h.ctx, func() { stop(h.Err()) })()
	return f(inner)
}

// ask asks once. When it gives up, what may have been granted meanwhile is given back.
func (l *Lock) ask(ctx context.Context, token string, wait time.Duration) (*Held, string, error) {
	if err := checkName("the lock", l.name); err != nil {
		return nil, "", err
	}
	if l.o.Lease < leaseMin || l.o.Lease > leaseMax {
		return nil, "", fault.New(fault.Usage, "a lease of %v", l.o.Lease).WithFix("write a lease from 100ms to 24h, or 0 for 10s")
	}
	asked, stop := context.WithTimeout(ctx, wait+askPrimitive)
	defer stop()
	var got op.Held
	begun := time.Now()
	err := l.p.primitive(asked, op.LockAcquire, op.LockBody{
		Name: l.name, Token: token, LeaseMS: l.o.Lease.Milliseconds(), WaitMS: wait.Milliseconds(),
	}, &got)
	switch {
	case err != nil:
		l.p.tell(op.LockRelease, op.LockBody{Name: l.name, Token: token})
		return nil, "", err
	case !got.Held:
		return nil, got.Owner, nil
	}
	h := &Held{l: l, token: token, fence: got.Fence, done: make(chan struct{})}
	if time.Since(begun) > l.o.Lease/3 {
		// It was granted at some time of a long wait: only a renewal says how long it holds.
		begun = time.Now()
		if err := h.renew(ctx, begun.Add(l.o.Lease)); err != nil {
			return nil, "", h.refused(ctx, err)
		}
	}
	h.ctx, h.end = context.WithCancelCause(l.p.ctx)
	go h.keep(begun)
	return h, "", nil
}

// refused gives a lock back that could not be made sure of. Where its lease has ended
// in the meantime there is no error: it is asked for again.
func (h *Held) refused(ctx context.Context, err error) error {
	h.l.p.tell(op.LockRelease, op.LockBody{Name: h.l.name, Token: h.token})
	if ctx.Err() == nil && fault.CodeOf(err) == fault.NotOwner {
		return nil
	}
	return err
}

// Held is a lock in hand.
type Held struct {
	l     *Lock
	token string
	fence uint64

	ctx  context.Context // ends when it is lost or given back
	end  context.CancelCauseFunc
	once sync.Once
	done chan struct{} // the keeping alive has ended
}

// Fence grows with every new owner of the lock: what is written under it can be told
// from what an earlier owner writes late.
func (h *Held) Fence() uint64 { return h.fence }

// Token proves that this is the owner.
func (h *Held) Token() string { return h.token }

// Lost is closed when the lock is not held any more: its lease could not be renewed in
// time, or Release was called.
func (h *Held) Lost() <-chan struct{} { return h.ctx.Done() }

// Err is why it is not held any more; nil while it is, and after Release.
func (h *Held) Err() error {
	if err := context.Cause(h.ctx); !errors.Is(err, errReleased) {
		return err
	}
	return nil
}

// Release gives the lock back; the next in line has it at once. Calling it again, or
// when the lock is lost, is harmless.
func (h *Held) Release() {
	h.once.Do(func() {
		h.end(errReleased)
		<-h.done
		h.l.p.tell(op.LockRelease, op.LockBody{Name: h.l.name, Token: h.token})
	})
}

// keep renews the lease. How long it holds is measured from before each request, so
// that this end never trusts it for longer than muster does.
func (h *Held) keep(begun time.Time) {
	defer close(h.done)
	lease := h.l.o.Lease
	until := begun.Add(lease)
	for pause(h.ctx, min(lease/3, time.Until(until))) == nil {
		if !time.Now().Before(until) {
			h.end(fault.New(fault.NotOwner, "the lease of lock %s has ended: it could not be renewed in time", h.l.name))
			return
		}
		begun = time.Now()
		err := h.renew(h.ctx, until)
		switch {
		case err == nil:
			until = begun.Add(lease)
		case fault.CodeOf(err) == fault.NotOwner, fault.CodeOf(err) == fault.AgentUnreachable:
			h.end(err)
			return
		}
	}
}

// renew asks for another lease. It waits no longer than the present one holds.
func (h *Held) renew(ctx context.Context, until time.Time) error {
	ctx, stop := context.WithDeadline(ctx, until)
	defer stop()
	var got op.Held
	err := h.l.p.primitive(ctx, op.LockRenew, op.LockBody{Name: h.l.name, Token: h.token, LeaseMS: h.l.o.Lease.Milliseconds()}, &got)
	if err == nil && !got.Held {
		return fault.New(fault.NotOwner, "the lock %s was given to %s", h.l.name, got.Owner)
	}
	return err
}
