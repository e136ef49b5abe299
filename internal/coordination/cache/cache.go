package cache

import (
	"container/list"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
)

// MaxDefault is how many values a cache holds if nothing else is said.
const MaxDefault = 1024

// Options of a Cache.
type Options struct {
	// Max is how many values are kept; 0: MaxDefault.
	Max int
	// TTL is how long a value is kept for which nothing else is said; 0: as long as
	// there is room.
	TTL time.Duration
	// Now is the time since any moment that stays the same; nil: a clock that is not
	// set.
	Now func() time.Duration
}

func (o Options) complete() (Options, error) {
	if o.Max < 0 {
		return o, fault.New(fault.Usage, "a cache for %d values", o.Max).WithFix("write how many values it may hold, or 0 for 1024")
	}
	if err := checkTTL(o.TTL); err != nil {
		return o, err
	}
	if o.Max == 0 {
		o.Max = MaxDefault
	}
	if o.Now == nil {
		start := time.Now()
		o.Now = func() time.Duration { return time.Since(start) }
	}
	return o, nil
}

func checkTTL(ttl time.Duration) error {
	if ttl < 0 {
		return fault.New(fault.Usage, "a value is to be kept for %s", ttl).WithFix("write a time above 0, or 0 for the cache's own")
	}
	return nil
}

// Stats counts what a cache has done.
type Stats struct {
	Len          int    `json:"len"`
	Hits, Misses uint64 // answers of Get and Fill
	Fills        uint64 // calls of a fill
	Evicted      uint64 // for want of room
	Expired      uint64 // found too old
	Removed      uint64 // by Del and Drop
}

// Cache holds values by key.
type Cache[V any] struct {
	o       Options
	mu      sync.Mutex
	entries map[string]*list.Element // of order
	order   *list.List               // of *entry[V], the last used in front
	flights map[string]*flight[V]
	stats   Stats
}

type entry[V any] struct {
	key   string
	value V
	until time.Duration // 0: without end
}

// New makes a Cache. Options that make no sense are E-USAGE.
func New[V any](o Options) (*Cache[V], error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	return &Cache[V]{o: o, entries: map[string]*list.Element{}, order: list.New(), flights: map[string]*flight[V]{}}, nil
}

// Get finds a value that is in time.
func (c *Cache[V]) Get(key string) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key)
}

func (c *Cache[V]) get(key string) (value V, ok bool) {
	e := c.entries[key]
	if e == nil {
		c.stats.Misses++
		return value, false
	}
	v := e.Value.(*entry[V])
	if v.until != 0 && v.until <= c.o.Now() {
		c.remove(e)
		c.stats.Expired++
		c.stats.Misses++
		return value, false
	}
	c.order.MoveToFront(e)
	c.stats.Hits++
	return v.value, true
}

func (c *Cache[V]) remove(e *list.Element) {
	delete(c.entries, e.Value.(*entry[V]).key)
	c.order.Remove(e)
}

// Set keeps a value for ttl; 0: the cache's own; negative: E-USAGE, and nothing is
// changed. A fill of the key that is under way keeps nothing.
func (c *Cache[V]) Set(key string, value V, ttl time.Duration) error {
	if err := checkTTL(ttl); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outdate(key)
	c.set(key, value, ttl)
	return nil
}

func (c *Cache[V]) set(key string, value V, ttl time.Duration) {
	v := &entry[V]{key: key, value: value}
	if ttl == 0 {
		ttl = c.o.TTL
	}
	if ttl > 0 {
		v.until = c.o.Now() + ttl
	}
	if e := c.entries[key]; e != nil {
		e.Value = v
		c.order.MoveToFront(e)
		return
	}
	c.entries[key] = c.order.PushFront(v)
	if c.order.Len() > c.o.Max {
		c.remove(c.order.Back())
		c.stats.Evicted++
	}
}

// Del removes a key.
func (c *Cache[V]) Del(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outdate(key)
	if e := c.entries[key]; e != nil {
		c.remove(e)
		c.stats.Removed++
	}
}

// Drop removes all keys.
func (c *Cache[V]) Drop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key := range c.flights {
		c.outdate(key)
	}
	c.stats.Removed += uint64(c.order.Len())
	clear(c.entries)
	c.order.Init()
}

// Stats is what it has done so far.
func (c *Cache[V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Len = c.order.Len()
	return c.stats
}
