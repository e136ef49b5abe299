package cache

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/muster-run/muster/fault"
)

// Panic is what the callers of Fill panic with when the fill did.
type Panic struct {
	Value any
	Stack []byte // of the fill
}

// Error implements error.
func (p *Panic) Error() string { return fmt.Sprintf("%v\n\n%s", p.Value, p.Stack) }

// Unwrap is the Value, if that is an error.
func (p *Panic) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}

// flight is a fill under way.
type flight[V any] struct {
	waiting int // how many do; under the cache's mutex
	cancel  context.CancelFunc
	done    chan struct{}
	// These are fixed when done is closed.
	value  V
	err    error
	broken *Panic
}

// Fill finds a value, or has it made: by one call of fill for all who ask for the key
// meanwhile, whose value is kept for ttl (as in Set). An error of fill is everybody's
// and nothing is kept. When ctx ends before the fill, Fill returns its cause; fill's own
// ctx has the values of the first caller's and ends when nobody waits any more.
func (c *Cache[V]) Fill(ctx context.Context, key string, ttl time.Duration, fill func(context.Context) (V, error)) (V, error) {
	var none V
	if err := checkTTL(ttl); err != nil {
		return none, err
	}
	c.mu.Lock()
	if value, ok := c.get(key); ok {
		c.mu.Unlock()
		return value, nil
	}
	f := c.flights[key]
	if f == nil {
		f = &flight[V]{done: make(chan struct{})}
		c.flights[key] = f
		c.stats.Fills++
		var own context.Context
		own, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
		go c.fly(f, key, ttl, func() (V, error) { return fill(own) })
	}
	f.waiting++
	c.mu.Unlock()
	return c.wait(ctx, f, key)
}

// wait for a flight, or the end of ctx.
func (c *Cache[V]) wait(ctx context.Context, f *flight[V], key string) (V, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		c.leave(f, key)
		var none V
		return none, context.Cause(ctx)
	}
	if f.broken != nil {
		panic(f.broken)
	}
	return f.value, f.err
}

// leave a flight; the last one ends it.
func (c *Cache[V]) leave(f *flight[V], key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f.waiting--
	if f.waiting > 0 {
		return
	}
	f.cancel()
	if c.flights[key] == f {
		c.outdate(key)
	}
}

// outdate lets a flight that is under way keep nothing, and nobody join it.
func (c *Cache[V]) outdate(key string) { delete(c.flights, key) }

// fly runs a fill and tells those who wait, also when it panics or ends its goroutine.
func (c *Cache[V]) fly(f *flight[V], key string, ttl time.Duration, fill func() (V, error)) {
	returned := false
	defer func() {
		if v := recover(); v != nil {
			f.broken = &Panic{v, debug.Stack()}
		} else if !returned {
			f.err = fault.New(fault.HandlerFailed, "the function that fills the cache has ended its goroutine")
		}
		c.land(f, key, ttl)
	}()
	f.value, f.err = fill()
	returned = true
}

// land ends a flight; its value is kept if nothing has outdated it.
func (c *Cache[V]) land(f *flight[V], key string, ttl time.Duration) {
	defer f.cancel()
	defer close(f.done)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.flights[key] != f {
		return
	}
	delete(c.flights, key)
	if f.err == nil && f.broken == nil {
		c.set(key, f.value, ttl)
	}
}
