package peer

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/internal/coordination/cache"
	"github.com/muster-run/muster/internal/op"
)

// CacheOptions of a Cache.
type CacheOptions struct {
	// Max is how many values are kept in this process; 0: 1024.
	Max int
	// TTL is how long one is kept for which nothing else is said; 0: as long as there
	// is room.
	TTL time.Duration
	// OnRemove is told what was removed because another process has said so, or (key "")
	// that all was: also when this process may have missed something. It is called after
	// that, by the one goroutine that reads what comes: it must not block or wait for a
	// reply. Send is fine. nil: nobody is told.
	OnRemove func(key string)
}

type (
	// CacheStats counts what a Cache has done.
	CacheStats = cache.Stats
	// FillPanic is what Cache.Fill panics with in all who wait, when fill did.
	FillPanic = cache.Panic
)

// Cache keeps values in this process, of which any process of the project can remove
// those that are out of date: caches of one name hear of it. It is emptied when this
// process may have missed that (a gap, another agent, no connection).
type Cache[V any] struct {
	p     *Peer
	name  string
	local *cache.Cache[V]
	leave func()
}

// NewCache makes a Cache. It returns when muster knows that this process hears what is
// removed.
func NewCache[V any](ctx context.Context, p *Peer, name string, o CacheOptions) (*Cache[V], error) {
	if err := checkName("the cache", name); err != nil {
		return nil, err
	}
	local, err := cache.New[V](cache.Options{Max: o.Max, TTL: o.TTL})
	if err != nil {
		return nil, err
	}
	c := &Cache[V]{p: p, name: name, local: local}
	told := func(key string) {
		if o.OnRemove != nil {
			p.guard("OnRemove", func() { o.OnRemove(key) })
		}
	}
	c.leave = p.caches.add(&cached{
		name: name,
		del:  func(key string) { local.Del(key); told(key) },
		drop: func() { local.Drop(); told("") },
	})
	if err := p.primitive(ctx, op.CacheUse, op.CacheBody{Cache: name}, nil); err != nil {
		c.leave()
		return nil, err
	}
	return c, nil
}

// Get finds a value that is kept in this process.
func (c *Cache[V]) Get(key string) (V, bool) { return c.local.Get(key) }

// Set keeps a value in this process for ttl; 0: the cache's own; negative: E-USAGE. Other
// processes keep what they have: call Del first where that is out of date. Nothing is
// kept once the connection to muster has ended.
func (c *Cache[V]) Set(key string, value V, ttl time.Duration) error {
	err := c.local.Set(key, value, ttl)
	c.deaf()
	return err
}

// Fill finds a value, or has it made by one call of fill for all in this process who ask
// meanwhile. A value that was removed while fill ran is returned and not kept. An error
// of fill is everybody's; a panic, too (*FillPanic). When ctx ends first its cause is
// returned, and fill goes on for others who wait.
func (c *Cache[V]) Fill(ctx context.Context, key string, ttl time.Duration, fill func(context.Context) (V, error)) (V, error) {
	defer c.deaf()
	return c.local.Fill(ctx, key, ttl, fill)
}

// deaf empties the cache when nothing can be heard any more of what is removed.
func (c *Cache[V]) deaf() {
	if c.p.ctx.Err() != nil {
		c.local.Drop()
	}
}

// Del removes a key here and in all other processes; it returns how many of those were
// told.
func (c *Cache[V]) Del(ctx context.Context, key string) (Receivers, error) {
	c.local.Del(key)
	return c.remove(ctx, op.CacheDel, key)
}

// Drop removes all keys, likewise.
func (c *Cache[V]) Drop(ctx context.Context) (Receivers, error) {
	c.local.Drop()
	return c.remove(ctx, op.CacheDrop, "")
}

func (c *Cache[V]) remove(ctx context.Context, opName, key string) (Receivers, error) {
	var r Receivers
	return r, c.p.primitive(ctx, opName, op.CacheBody{Cache: c.name, Key: key}, &r)
}

// Stats is what it has done so far.
func (c *Cache[V]) Stats() CacheStats { return c.local.Stats() }

// Close empties the cache. What is kept in it afterwards hears of no removal.
func (c *Cache[V]) Close() {
	c.leave()
	c.local.Drop()
}

// caches of a Peer.
type caches struct {
	mu  sync.Mutex
	all []*cached
}

// cached is a Cache of any type.
type cached struct {
	name string
	del  func(key string)
	drop func()
}

func (c *caches) add(one *cached) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(slices.Clone(c.all), one)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.all = slices.DeleteFunc(slices.Clone(c.all), func(x *cached) bool { return x == one })
	}
}

func (c *caches) list() []*cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// forget empties all of them.
func (c *caches) forget() {
	for _, one := range c.list() {
		one.drop()
	}
}

// invalidate removes what a frame says.
func (c *caches) invalidate(f op.Frame) {
	var body op.CacheBody
	if json.Unmarshal(f.Body, &body) != nil {
		c.forget() // something was removed
		return
	}
	for _, one := range c.list() {
		switch {
		case one.name != body.Cache:
		case f.Op == op.CacheDel:
			one.del(body.Key)
		default:
			one.drop()
		}
	}
}

// useAgain tells another agent which caches there are.
func (c *caches) useAgain(p *Peer) {
	told := map[string]bool{}
	for _, one := range c.list() {
		if !told[one.name] {
			told[one.name] = true
			p.tell(op.CacheUse, op.CacheBody{Cache: one.name})
		}
	}
}
