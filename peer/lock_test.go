package peer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func TestAloneLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Alone(Options{})
		defer p.Close()
		l := p.Lock("l", LockOptions{Lease: time.Second})
		first, err := l.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if h, owner, err := l.Try(context.Background()); h != nil || owner == "" || err != nil {
			t.Errorf("%v, owner %q, %v", h, owner, err)
		}
		second := started(func() *Held { h, err := l.Acquire(context.Background()); wantCode(t, err, ""); return h })
		<-time.After(time.Minute) // of the bubble: the lease is kept alive, and the other waits
		if first.Err() != nil || len(second) > 0 {
			t.Error("the lock was not kept", first.Err())
		}
		first.Release()
		first.Release()
		<-first.Lost()
		next := <-second
		if next.Fence() <= first.Fence() || next.Token() == first.Token() || first.Err() != nil {
			t.Errorf("fences %d and %d, %v", first.Fence(), next.Fence(), first.Err())
		}
		short, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_, err = l.Acquire(short)
		wantCode(t, err, fault.Deadline)
		next.Release()
		if h, _, err := l.Try(context.Background()); h == nil || err != nil {
			t.Error("not free again", err)
		}
	})
}

func TestLockDo(t *testing.T) {
	p := alone(t)
	l := p.Lock("l", LockOptions{})
	inside := false
	err := l.Do(within(t), func(ctx context.Context) error {
		inside = true
		if h, _, _ := l.Try(ctx); h != nil {
			t.Error("it is free inside")
		}
		return errOwn
	})
	if !inside || !errors.Is(err, errOwn) {
		t.Error(inside, err)
	}
	if h, _, err := l.Try(within(t)); h == nil || err != nil {
		t.Error("not free afterwards", err)
	}
	wantCode(t, p.Lock("", LockOptions{}).Do(within(t), nil), fault.Usage)
	for _, lease := range []time.Duration{-1, time.Millisecond, 25 * time.Hour} {
		_, _, err := p.Lock("x", LockOptions{Lease: lease}).Try(within(t))
		wantCode(t, err, fault.Usage)
	}
}

// granted acquires a lock from the test's agent.
func granted(t *testing.T, p *Peer, a *agent, lease time.Duration) (*Held, op.LockBody) {
	t.Helper()
	done := started(func() *Held {
		h, err := p.Lock("l", LockOptions{Lease: lease}).Acquire(within(t))
		if err != nil {
			t.Error(err)
		}
		return h
	})
	f := a.next(op.LockAcquire)
	a.reply(f, op.Held{Held: true, Fence: 5})
	return receive(t, done), decodeBody[op.LockBody](t, f)
}

// A lock that is lost says so at once, and why.
func TestLockLost(t *testing.T) {
	p, a := join(t, Options{})
	h, body := granted(t, p, a, 1500*time.Millisecond)
	if h.Fence() != 5 || len(body.Token) < 16 || body.LeaseMS != 1500 || body.WaitMS < 20_000 {
		t.Errorf("asked with %+v", body)
	}
	f := a.next(op.LockRenew)
	if b := decodeBody[op.LockBody](t, f); b.Token != body.Token || b.LeaseMS != 1500 {
		t.Errorf("renewed with %+v", b)
	}
	a.reply(f, op.Held{Held: true, Fence: 5})
	a.refuse(a.next(op.LockRenew), fault.NotOwner)
	receive(t, h.Lost())
	wantCode(t, h.Err(), fault.NotOwner)
	h.Release()
	a.next(op.LockRelease)
}

// A lease that cannot be renewed in time is lost, whatever muster says later.
func TestLockLeaseEnds(t *testing.T) {
	p, a := join(t, Options{})
	begun := time.Now()
	h, _ := granted(t, p, a, 100*time.Millisecond)
	a.next(op.LockRenew)
	receive(t, h.Lost())
	wantCode(t, h.Err(), fault.NotOwner)
	if since := time.Since(begun); since < 100*time.Millisecond {
		t.Errorf("lost after %v", since)
	}
}

// Do ends what it runs when the lock is lost.
func TestLockDoLost(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() error {
		return p.Lock("l", LockOptions{Lease: 1500 * time.Millisecond}).Do(within(t), func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	a.reply(a.next(op.LockAcquire), op.Held{Held: true})
	a.refuse(a.next(op.LockRenew), fault.NotOwner)
	wantCode(t, receive(t, done), fault.NotOwner)
}

// Who gives up waiting gives back what may have been granted meanwhile.
func TestLockGivenUp(t *testing.T) {
	p, a := join(t, Options{})
	ctx, giveUp := context.WithCancel(context.Background())
	done := started(func() error { _, err := p.Lock("l", LockOptions{}).Acquire(ctx); return err })
	f := a.next(op.LockAcquire)
	giveUp()
	wantCode(t, receive(t, done), fault.Interrupted)
	if c := a.frame(); c.Cmd != op.CmdCancel || c.ID != f.ID {
		t.Errorf("got %s", c.Append(nil))
	}
	r := a.next(op.LockRelease)
	if decodeBody[op.LockBody](t, r).Token != decodeBody[op.LockBody](t, f).Token || r.ID != 0 {
		t.Errorf("released with %s", r.Append(nil))
	}
}

// A lock that was granted during a long wait is held for what a renewal says; if its
// lease has ended by then, it is asked for again.
func TestLockLongWait(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() *Held {
		h, err := p.Lock("l", LockOptions{Lease: 1500 * time.Millisecond}).Acquire(within(t))
		if err != nil {
			t.Error(err)
		}
		return h
	})
	for _, refused := range []bool{true, false} {
		f := a.next(op.LockAcquire)
		<-time.After(600 * time.Millisecond) // somebody else has it
		a.reply(f, op.Held{Held: true, Fence: 1})
		renew := a.next(op.LockRenew)
		if refused {
			a.refuse(renew, fault.NotOwner)
			a.next(op.LockRelease)
			continue
		}
		a.reply(renew, op.Held{Held: true, Fence: 1})
	}
	h := receive(t, done)
	if h.Err() != nil {
		t.Error(h.Err())
	}
	p.Close()
	receive(t, h.Lost())
	wantCode(t, h.Err(), fault.AgentUnreachable)
}
