package peer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func useCache(t *testing.T, p *Peer, a *agent, name string) *Cache[int] {
	t.Helper()
	done := started(func() *Cache[int] {
		c, err := NewCache[int](within(t), p, name, CacheOptions{})
		if err != nil {
			t.Error(err)
		}
		return c
	})
	f := a.next(op.CacheUse)
	if b := decodeBody[op.CacheBody](t, f); b.Cache != name {
		t.Errorf("used %+v", b)
	}
	a.reply(f, nil)
	return receive(t, done)
}

func fill(t *testing.T, c *Cache[int], keys ...string) {
	t.Helper()
	for i, k := range keys {
		if err := c.Set(k, i, 0); err != nil {
			t.Fatal(err)
		}
	}
}

func has(c *Cache[int], key string) bool { _, ok := c.Get(key); return ok }

// What others remove goes here, too, and only that.
func TestCacheInvalidation(t *testing.T) {
	p, a := join(t, Options{})
	one, two := useCache(t, p, a, "one"), useCache(t, p, a, "two")
	same := useCache(t, p, a, "one")
	for _, c := range []*Cache[int]{one, two, same} {
		fill(t, c, "a", "b")
	}
	a.op(op.CacheDel, op.CacheBody{Cache: "one", Key: "a"}, from("web#1"))
	eventually(t, "both have lost a", func() bool { return !has(one, "a") && !has(same, "a") })
	if !has(one, "b") || !has(same, "b") || !has(two, "a") {
		t.Error("more was removed")
	}
	a.op(op.CacheDrop, op.CacheBody{Cache: "two"}, from("web#1"))
	eventually(t, "two is empty", func() bool { return !has(two, "a") && !has(two, "b") })
	if !has(one, "b") {
		t.Error("more was removed")
	}
	a.op(op.CacheDel, 7, from("web#1"))
	eventually(t, "in doubt all are empty", func() bool { return !has(one, "b") && !has(same, "b") })
}

// Removing tells the others, and counts them.
func TestCacheDel(t *testing.T) {
	p, a := join(t, Options{})
	c := useCache(t, p, a, "c")
	fill(t, c, "a", "b")
	done := started(func() Receivers { r, err := c.Del(within(t), "a"); wantCode(t, err, ""); return r })
	f := a.next(op.CacheDel)
	if b := decodeBody[op.CacheBody](t, f); b != (op.CacheBody{Cache: "c", Key: "a"}) || has(c, "a") || !has(c, "b") {
		t.Errorf("removed with %+v", b)
	}
	a.reply(f, Receivers{Receivers: 3})
	if r := receive(t, done); r.Receivers != 3 {
		t.Errorf("%+v", r)
	}
	done = started(func() Receivers { r, err := c.Drop(within(t)); wantCode(t, err, ""); return r })
	f = a.next(op.CacheDrop)
	if b := decodeBody[op.CacheBody](t, f); b != (op.CacheBody{Cache: "c"}) || has(c, "b") {
		t.Errorf("dropped with %+v", b)
	}
	a.reply(f, Receivers{})
	receive(t, done)
	if s := c.Stats(); s.Removed != 2 || s.Len != 0 {
		t.Errorf("%+v", s)
	}
}

// What is removed while a fill runs is not kept.
func TestCacheFill(t *testing.T) {
	p, a := join(t, Options{})
	c := useCache(t, p, a, "c")
	begun, release := make(chan bool), make(chan int)
	slow := func(context.Context) (int, error) { begun <- true; return <-release, nil }
	done := started(func() int { v, err := c.Fill(within(t), "k", 0, slow); wantCode(t, err, ""); return v })
	receive(t, begun)
	removals := c.Stats().Fills
	a.op(op.CacheDel, op.CacheBody{Cache: "c", Key: "k"})
	pinged(t, p, a)
	release <- 1
	if v := receive(t, done); v != 1 || has(c, "k") || removals != 1 {
		t.Errorf("filled with %d, kept: %v", v, has(c, "k"))
	}
	if v, err := c.Fill(within(t), "k", 0, func(context.Context) (int, error) { return 2, nil }); v != 2 || err != nil || !has(c, "k") {
		t.Errorf("filled with %d, %v; kept: %v", v, err, has(c, "k"))
	}
	if _, err := c.Fill(within(t), "e", 0, func(context.Context) (int, error) { return 0, errOwn }); !errors.Is(err, errOwn) {
		t.Error(err)
	}
	_, err := c.Fill(within(t), "k", -1, nil)
	wantCode(t, err, fault.Usage)
	wantCode(t, c.Set("k", 1, -time.Second), fault.Usage)
}

// pinged makes sure that the Peer has dealt with all that was sent before.
func pinged(t *testing.T, p *Peer, a *agent) {
	t.Helper()
	remove := p.Handle("pinged", func(context.Context, *Request) (any, error) { return nil, nil })
	defer remove()
	a.op("pinged", nil, id(1<<40))
	a.replied(1 << 40)
}

// A cache that may have missed a removal is empty: a gap, another agent, the end.
func TestCacheDoubt(t *testing.T) {
	p, a := join(t, Options{})
	c, closed := useCache(t, p, a, "c"), useCache(t, p, a, "closed")
	fill(t, closed, "a")
	closed.Close()
	if has(closed, "a") {
		t.Error("kept after Close")
	}
	fill(t, c, "a")
	a.op(op.Gap, op.GapBody{Missed: 1})
	eventually(t, "empty after a gap", func() bool { return !has(c, "a") })
	fill(t, c, "a")
	a.op(op.AgentNew, nil)
	eventually(t, "empty after another agent", func() bool { return !has(c, "a") })
	a.next(op.Hello)
	if b := decodeBody[op.CacheBody](t, a.next(op.CacheUse)); b.Cache != "c" {
		t.Errorf("used again: %+v", b)
	}
	fill(t, c, "a")
	a.conn.Close()
	eventually(t, "empty at the end", func() bool { return !has(c, "a") })
	receive(t, p.Done())
	fill(t, c, "a")
	if has(c, "a") {
		t.Error("kept after the end")
	}
	if v, err := c.Fill(within(t), "a", 0, func(context.Context) (int, error) { return 5, nil }); v != 5 || err != nil || has(c, "a") {
		t.Errorf("%d, %v, kept: %v", v, err, has(c, "a"))
	}
}

func TestCacheRefused(t *testing.T) {
	p, a := join(t, Options{})
	for name, o := range map[string]CacheOptions{"": {}, "max": {Max: -1}, "ttl": {TTL: -1}} {
		_, err := NewCache[int](within(t), p, name, o)
		wantCode(t, err, fault.Usage)
	}
	done := started(func() error { _, err := NewCache[int](within(t), p, "c", CacheOptions{}); return err })
	a.refuse(a.next(op.CacheUse), fault.TableFull)
	wantCode(t, receive(t, done), fault.TableFull)
	if len(p.caches.list()) != 0 {
		t.Error("it is heard all the same")
	}
}

// Who wants to know hears of what others remove, in order, and of nothing that this
// process removes; a panic of it does no harm.
func TestCacheTellsWhatWasRemoved(t *testing.T) {
	p, a := join(t, Options{})
	told := make(chan string, 8)
	o := CacheOptions{OnRemove: func(key string) {
		told <- key
		if key == "bad" {
			panic("on purpose")
		}
	}}
	done := started(func() *Cache[int] {
		c, err := NewCache[int](within(t), p, "one", o)
		if err != nil {
			t.Error(err)
		}
		return c
	})
	a.reply(a.next(op.CacheUse), nil)
	c := receive(t, done)
	fill(t, c, "a", "b")
	c.local.Del("b")
	a.op(op.CacheDel, op.CacheBody{Cache: "one", Key: "bad"}, from("web#1"))
	a.op(op.CacheDel, op.CacheBody{Cache: "other", Key: "a"}, from("web#1"))
	a.op(op.CacheDel, op.CacheBody{Cache: "one", Key: "a"}, from("web#1"))
	a.op(op.CacheDrop, op.CacheBody{Cache: "one"}, from("web#1"))
	for _, want := range []string{"bad", "a", ""} {
		if got := receive(t, told); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	if has(c, "a") {
		t.Error("it was told before it was done")
	}
}
