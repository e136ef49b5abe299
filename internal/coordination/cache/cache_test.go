package cache

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is set by hand.
type clock struct{ now time.Duration }

func (c *clock) Now() time.Duration { return c.now }

func open(t rapid.TB, o Options) *Cache[int] {
	t.Helper()
	c, err := New[int](o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// kept is the model: what is in the cache, the last used at the end.
type kept struct {
	key   string
	value int
	until time.Duration
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now clock
		o := Options{Max: rapid.IntRange(1, 4).Draw(t, "max"), TTL: time.Duration(rapid.IntRange(0, 5).Draw(t, "ttl")), Now: now.Now}
		c := open(t, o)
		var model []kept
		var want Stats
		find := func(key string) int { return slices.IndexFunc(model, func(k kept) bool { return k.key == key }) }
		for step := range rapid.IntRange(1, 80).Draw(t, "steps") {
			now.now += time.Duration(rapid.IntRange(0, 2).Draw(t, "pause"))
			key := fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "key"))
			i := find(key)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3: // set
				ttl := time.Duration(rapid.IntRange(0, 5).Draw(t, "own ttl"))
				if err := c.Set(key, step, ttl); err != nil {
					t.Fatal(err)
				}
				if ttl == 0 {
					ttl = o.TTL
				}
				k := kept{key, step, now.now + ttl}
				if ttl == 0 {
					k.until = 1 << 60
				}
				if i >= 0 {
					model = slices.Delete(model, i, i+1)
				}
				if model = append(model, k); len(model) > o.Max {
					model = model[1:]
					want.Evicted++
				}
			case 4, 5, 6, 7, 8: // get
				got, ok := c.Get(key)
				switch {
				case i < 0:
					want.Misses++
				case model[i].until <= now.now:
					model, i = slices.Delete(model, i, i+1), -1
					want.Misses++
					want.Expired++
				default:
					want.Hits++
					k := model[i]
					model = append(slices.Delete(model, i, i+1), k)
				}
				if ok != (i >= 0) || ok && got != model[len(model)-1].value {
					t.Fatalf("%s is %d, %v; the model: %+v", key, got, ok, model)
				}
			case 9:
				if rapid.Bool().Draw(t, "all") {
					c.Drop()
					want.Removed += uint64(len(model))
					model = nil
				} else if c.Del(key); i >= 0 {
					model = slices.Delete(model, i, i+1)
					want.Removed++
				}
			}
			if want.Len = len(model); c.Stats() != want {
				t.Fatalf("%+v; the model: %+v", c.Stats(), want)
			}
		}
	})
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{{Max: -1}, {TTL: -1}} {
		if _, err := New[int](o); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%+v: %v", o, err)
		}
	}
	c := open(t, Options{})
	_ = c.Set("x", 1, 0)
	if err := c.Set("x", 2, -1); fault.CodeOf(err) != fault.Usage {
		t.Fatal(err)
	}
	if _, err := c.Fill(t.Context(), "y", -1, nil); fault.CodeOf(err) != fault.Usage {
		t.Fatal(err)
	}
	if v, _ := c.Get("x"); v != 1 {
		t.Fatalf("x is %d", v)
	}
	for i := range MaxDefault + 1 {
		_ = c.Set(fmt.Sprint(i), i, 0)
	}
	if n := c.Stats().Len; n != MaxDefault {
		t.Fatalf("%d values", n)
	}
}

// Without a clock of one's own time passes.
func TestOwnClock(t *testing.T) {
	c := open(t, Options{TTL: time.Nanosecond})
	_ = c.Set("x", 1, 0)
	for start := time.Now(); time.Since(start) < time.Minute; {
		if _, ok := c.Get("x"); !ok {
			return
		}
	}
	t.Fatal("never ends")
}

func BenchmarkGet(b *testing.B) {
	c, _ := New[int](Options{TTL: time.Hour})
	_ = c.Set("x", 1, 0)
	for b.Loop() {
		c.Get("x")
	}
}
