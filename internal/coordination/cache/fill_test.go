package cache

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
)

// fills is a fill that the test lets return.
type fills struct {
	calls int
	let   chan int // the value; 0: an error
	ctx   context.Context
}

type key struct{}

var errFill = errors.New("the source is away")

func newFills() *fills { return &fills{let: make(chan int)} }

func (f *fills) fill(ctx context.Context) (int, error) {
	f.calls++
	f.ctx = ctx
	select {
	case v := <-f.let:
		if v == 0 {
			return 0, errFill
		}
		return v, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

type filled struct {
	value int
	err   error
}

// ask calls Fill in a goroutine of its own.
func ask(ctx context.Context, c *Cache[int], fill func(context.Context) (int, error)) chan filled {
	got := make(chan filled, 1)
	go func() {
		v, err := c.Fill(ctx, "x", 0, fill)
		got <- filled{v, err}
	}()
	synctest.Wait()
	return got
}

// inBubble runs a test with a cache in which time and goroutines are known.
func inBubble(t *testing.T, f func(t *testing.T, c *Cache[int])) {
	synctest.Test(t, func(t *testing.T) { f(t, open(t, Options{TTL: time.Minute})) })
}

func TestSingleFlight(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		f := newFills()
		a, b := ask(t.Context(), c, f.fill), ask(t.Context(), c, f.fill)
		f.let <- 7
		if x, y := <-a, <-b; x != (filled{value: 7}) || y != x {
			t.Fatalf("%+v, %+v", x, y)
		}
		if got := <-ask(t.Context(), c, nil); got.value != 7 {
			t.Fatalf("not kept: %+v", got)
		}
		if s := c.Stats(); f.calls != 1 || s.Fills != 1 || s.Misses != 2 || s.Hits != 1 {
			t.Fatalf("%d calls, %+v", f.calls, s)
		}
		<-time.After(time.Minute) // the bubble's own time: the value is too old
		late := ask(t.Context(), c, f.fill)
		f.let <- 8
		if got := <-late; got.value != 8 {
			t.Fatalf("%+v", got)
		}
	})
}

// An error is everybody's, and is not kept.
func TestFillFails(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		f := newFills()
		a, b := ask(t.Context(), c, f.fill), ask(t.Context(), c, f.fill)
		f.let <- 0
		if x, y := <-a, <-b; !errors.Is(x.err, errFill) || !errors.Is(y.err, errFill) {
			t.Fatalf("%+v, %+v", x, y)
		}
		again := ask(t.Context(), c, f.fill)
		f.let <- 1
		if got := <-again; got.value != 1 {
			t.Fatalf("%+v", got)
		}
	})
}

// What is removed, dropped or set while a fill runs is not replaced by what it brings, and
// who asks then does not get that either.
func TestRemovedMeanwhile(t *testing.T) {
	for name, tc := range map[string]struct {
		during func(c *Cache[int])
		want   int
	}{
		"del":       {func(c *Cache[int]) { c.Del("x") }, 0},
		"drop":      {func(c *Cache[int]) { c.Drop() }, 0},
		"set":       {func(c *Cache[int]) { _ = c.Set("x", 5, 0) }, 5},
		"another":   {func(c *Cache[int]) { c.Del("y") }, 7},
		"set again": {func(c *Cache[int]) { _ = c.Set("x", 5, 0); c.Del("x") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, c *Cache[int]) {
				old, anew := newFills(), newFills()
				before := ask(t.Context(), c, old.fill)
				tc.during(c)
				var after chan filled
				if tc.want == 0 {
					after = ask(t.Context(), c, anew.fill)
				}
				old.let <- 7
				if got := <-before; got.value != 7 {
					t.Fatalf("who waited got %+v", got)
				}
				if v, _ := c.Get("x"); v != tc.want {
					t.Fatalf("%d is kept", v)
				}
				if after == nil {
					return
				}
				anew.let <- 9
				if got := <-after; got.value != 9 {
					t.Fatalf("who asked later got %+v", got)
				}
				if v, _ := c.Get("x"); v != 9 {
					t.Fatalf("%d is kept of the later one", v)
				}
			})
		})
	}
}

// One who gives up does not end the fill for others; the last one does.
func TestGivingUp(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		cause := errors.New("enough")
		one, end := context.WithCancelCause(context.WithValue(t.Context(), key{}, "first"))
		two, end2 := context.WithTimeout(t.Context(), time.Second)
		defer end2()
		f := newFills()
		a, b := ask(one, c, f.fill), ask(two, c, f.fill)
		end(cause)
		if got := <-a; !errors.Is(got.err, cause) {
			t.Fatalf("%+v", got)
		}
		if f.ctx.Err() != nil || f.ctx.Value(key{}) != "first" {
			t.Fatal("the fill ended with the first")
		}
		if got := <-b; !errors.Is(got.err, context.DeadlineExceeded) {
			t.Fatalf("%+v", got)
		}
		if f.ctx.Err() == nil {
			t.Fatal("the fill goes on for nobody")
		}
		// Nobody joins what was given up.
		anew := newFills()
		late := ask(t.Context(), c, anew.fill)
		anew.let <- 3
		if got := <-late; got.value != 3 {
			t.Fatalf("%+v", got)
		}
	})
}

// A fill that goes on although nobody waits keeps nothing.
func TestGivenUpKeepsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		ctx, end := context.WithCancel(t.Context())
		let := make(chan int)
		a := ask(ctx, c, func(context.Context) (int, error) { return <-let, nil })
		end()
		<-a
		let <- 4
		synctest.Wait()
		if v, ok := c.Get("x"); ok {
			t.Fatalf("%d is kept", v)
		}
	})
}

func TestPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		let := make(chan bool)
		caught := make(chan any, 2)
		for range 2 {
			go func() {
				defer func() { caught <- recover() }()
				_, _ = c.Fill(t.Context(), "x", 0, func(context.Context) (int, error) {
					<-let
					panic(errFill)
				})
			}()
		}
		synctest.Wait()
		close(let)
		for range 2 {
			p, ok := (<-caught).(*Panic)
			if !ok || !errors.Is(p, errFill) || !strings.Contains(p.Error(), "TestPanics") {
				t.Fatalf("%v", p)
			}
		}
		if got := <-ask(t.Context(), c, func(context.Context) (int, error) { return 2, nil }); got.value != 2 {
			t.Fatalf("then: %+v", got)
		}
		if (&Panic{Value: "x"}).Unwrap() != nil {
			t.Fatal("a text is no error")
		}
	})
}

func TestGoexit(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Cache[int]) {
		got := <-ask(t.Context(), c, func(context.Context) (int, error) { runtime.Goexit(); return 1, nil })
		if fault.CodeOf(got.err) != fault.HandlerFailed {
			t.Fatalf("%+v", got)
		}
		if _, ok := c.Get("x"); ok {
			t.Fatal("kept")
		}
	})
}

// A value that a fill brings is never older than what was removed before it was asked
// for. The source counts its versions; a reader may see no older one than the last that
// was removed when it asked.
func TestNeverOlder(t *testing.T) {
	c := open(t, Options{Max: 2})
	var mu sync.Mutex
	version := map[string]int{}
	read := func(key string) int {
		mu.Lock()
		defer mu.Unlock()
		return version[key]
	}
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 2000 {
				key := fmt.Sprint(i % 3)
				if w < 2 {
					mu.Lock()
					version[key]++
					c.Del(key)
					mu.Unlock()
					continue
				}
				least := read(key)
				got, err := c.Fill(t.Context(), key, 0, func(context.Context) (int, error) {
					v := read(key)
					runtime.Gosched()
					return v, nil
				})
				if err != nil || got < least {
					t.Errorf("%d, %v, at least %d", got, err, least)
				}
			}
		})
	}
	all.Wait()
}
