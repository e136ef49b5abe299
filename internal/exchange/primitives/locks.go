package primitives

import (
	"context"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/lock"
	"github.com/muster-run/muster/internal/op"
)

// waiting is a call that waits in line for a lock.
type waiting struct {
	call Call
	stop func() bool // the watch over its ctx
}

// outcome is what a call that had waited is told.
type outcome struct {
	call Call
	held op.Held
	err  error
}

// askOf is what the body of a lock op asks for.
func askOf(c Call) (lock.Ask, error) {
	body, err := read[op.LockBody](c)
	if err == nil {
		err = checkName("lock", body.Name)
	}
	return lock.Ask{
		Name: body.Name, Token: body.Token, Party: c.Party, Owner: c.Name,
		Lease: op.Time(body.LeaseMS), Wait: op.Time(body.WaitMS),
	}, err
}

// acquire answers LockAcquire, at once or when the lock is had.
func (p *Primitives) acquire(c Call, now time.Duration) (any, error) {
	ask, err := askOf(c)
	if err != nil {
		return nil, err
	}
	// Its Context ends before OnGone is told: a party that is gone by then gets nothing, one
	// that goes later gives it back.
	if c.ctx.Err() != nil {
		return nil, fault.New(fault.PeerGone, "nobody waits for the lock %s any more", ask.Name)
	}
	p.ticket++
	ask.Ticket = p.ticket
	o, wait, err := p.locks.Acquire(ask, now)
	switch {
	case err != nil:
		return nil, err
	case wait:
		p.wait(c, ask.Ticket)
		return later{}, nil
	case o.Held:
		if err := p.keepHeld(o); err != nil {
			p.locks.Forget(o.Name, o.Fence)
			return nil, err
		}
	}
	return heldOf(o, now), nil
}

// wait remembers who is in line, until nobody waits for the answer.
func (p *Primitives) wait(c Call, ticket uint64) {
	c.Body = nil // it is not ours any more
	p.waiting[ticket] = &waiting{call: c, stop: context.AfterFunc(c.ctx, func() { p.cancel(ticket) })}
}

// cancel takes a call out of the line.
func (p *Primitives) cancel(ticket uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.locks.Cancel(ticket)
	delete(p.waiting, ticket)
	p.arm()
}

func heldOf(o lock.Outcome, now time.Duration) op.Held {
	left := op.Milliseconds(o.Until - now)
	if o.Held {
		return op.Held{Held: true, Fence: o.Fence, LeaseMS: left}
	}
	return op.Held{Owner: o.By, WaitMS: left}
}

// keepHeld writes down who has a lock.
func (p *Primitives) keepHeld(o lock.Outcome) error {
	return p.keep(func(b []byte) []byte {
		return appendHeld(b, lock.State{Name: o.Name, Token: o.Token, Party: o.Party, Owner: o.Owner, Fence: o.Fence, Until: o.Until})
	})
}

// renew answers LockRenew.
func (p *Primitives) renew(c Call, now time.Duration) (any, error) {
	ask, err := askOf(c)
	if err != nil {
		return nil, err
	}
	o, err := p.locks.Renew(ask, now)
	if err == nil {
		err = p.keepHeld(o)
	}
	if err != nil {
		return nil, err
	}
	return heldOf(o, now), nil
}

// release answers LockRelease.
func (p *Primitives) release(c Call, now time.Duration) (any, error) {
	ask, err := askOf(c)
	if err != nil {
		return nil, err
	}
	if reply, done, err := p.replay(c); done {
		return reply, err
	}
	held, err := p.locks.Holds(ask.Name, ask.Token, now)
	if err != nil {
		return nil, err
	}
	reply, err := p.once(c, op.Held{}, func(b []byte) []byte { return appendReleased(b, held.Name, held.Fence) })
	if err != nil {
		return nil, err
	}
	return reply, p.locks.Release(ask.Name, ask.Token, now)
}

// settle deals with those who were in line and are not any more, and sets the clock for
// the next. What it returns is said without the mutex.
func (p *Primitives) settle() (told []outcome) {
	for settled := p.locks.Settled(); len(settled) > 0; settled = p.locks.Settled() {
		for _, o := range settled {
			if said, ok := p.settled(o); ok {
				told = append(told, said)
			}
		}
	}
	p.arm()
	return told
}

// settled is what one of them is told, if somebody waits. A lock that cannot be given
// passes on.
func (p *Primitives) settled(o lock.Outcome) (outcome, bool) {
	now := p.now()
	w := p.waiting[o.Ticket]
	delete(p.waiting, o.Ticket)
	if w == nil || w.call.ctx.Err() != nil {
		p.passOn(o, now)
		return outcome{}, false
	}
	w.stop()
	if o.Held {
		if err := p.keepHeld(o); err != nil {
			p.passOn(o, now)
			return outcome{call: w.call, err: err}, true
		}
	}
	return outcome{call: w.call, held: heldOf(o, now)}, true
}

// passOn gives up what was given to somebody who does not get to know it.
func (p *Primitives) passOn(o lock.Outcome, now time.Duration) {
	if !o.Held {
		return
	}
	if err := p.locks.Release(o.Name, o.Token, now); err != nil {
		p.log.Warn("a lock ended before it was given", "lock", o.Name, "err", err)
	}
}

// arm sets the timer for when the next lease, or somebody's patience, ends.
func (p *Primitives) arm() {
	next, some := p.locks.Next()
	switch {
	case p.closed || next == p.armed && some:
	case !some:
		p.armed = 0
		p.timer.Stop()
	default:
		p.armed = next
		p.timer.Reset(next - p.now())
	}
}

// tick is called by the timer.
func (p *Primitives) tick() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.armed = 0
	p.locks.Tick(p.now())
	told := p.settle()
	p.mu.Unlock()
	p.afterwards(told)
}
