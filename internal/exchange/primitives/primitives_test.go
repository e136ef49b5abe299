package primitives

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func TestLimiterDefaults(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	body := op.LimiterBody{Name: "x", Rate: 2.5}
	for i := range 3 {
		if taken := got[op.Taken](t, a.ask("p", op.LimiterTake, int64(i+1), body)); !taken.Allowed || taken.Left != float64(2-i) {
			t.Fatalf("take %d: %+v", i, taken)
		}
	}
	if taken := got[op.Taken](t, a.ask("p", op.LimiterTake, 4, body)); taken.Allowed || taken.WaitNS != int64(400*time.Millisecond) {
		t.Fatalf("%+v", taken)
	}
	body.Key = "another"
	if taken := got[op.Taken](t, a.ask("p", op.LimiterTake, 5, body)); !taken.Allowed {
		t.Fatalf("%+v", taken)
	}
}

// Eight at once get exactly the burst and what the rate brings.
func TestLimiterOfEight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		a := begin(t, newStore(t), func() time.Duration { return time.Since(start) })
		body := op.LimiterBody{Name: "x", Rate: 70, Burst: 25, IntervalMS: 1000}
		const seconds = 30
		allowed := make([]int, 8)
		var done sync.WaitGroup
		for w := range allowed {
			done.Go(func() {
				for id := int64(1); time.Since(start) < seconds*time.Second; id++ {
					taken := got[op.Taken](t, a.ask(fmt.Sprint("p", w), op.LimiterTake, id, body))
					if taken.Allowed {
						allowed[w]++
						continue
					}
					<-time.After(time.Duration(taken.WaitNS))
				}
			})
		}
		done.Wait()
		sum := 0
		for _, n := range allowed {
			sum += n
		}
		if want := 25 + 70*seconds; sum != want-1 && sum != want { // the last one comes at the very end
			t.Fatalf("%d were allowed, %v, of %d", sum, allowed, want)
		}
	})
}

func TestCounter(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	add := func(n int64) (op.Value, fault.Code) {
		return as[op.Value](t, a.ask("p", op.CounterAdd, 1, op.CounterBody{Name: "x", Add: n}))
	}
	if v, code := add(5); v.Value != 5 || code != "" {
		t.Fatalf("%v, %s", v, code)
	}
	if _, code := add(math.MaxInt64); code != fault.Usage {
		t.Fatal(code)
	}
	if v, _ := add(0); v.Value != 5 {
		t.Fatalf("%v", v)
	}
	if v := got[op.Value](t, a.ask("q", op.CounterGet, 1, op.CounterBody{Name: "x"})); v.Value != 5 {
		t.Fatalf("%v", v)
	}
}

// inTime runs a test with an agent in a bubble, whose clock is the bubble's.
func inTime(t *testing.T, f func(t *testing.T, a *agent)) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		f(t, begin(t, newStore(t), func() time.Duration { return time.Since(start) }))
	})
}

// waits says that a call has no answer yet.
func waits(t *testing.T, a *asker) {
	t.Helper()
	synctest.Wait()
	select {
	case r := <-a.got:
		t.Fatalf("answered: %s %v", r.body, r.err)
	default:
	}
}

func TestLockPasses(t *testing.T) {
	inTime(t, func(t *testing.T, a *agent) {
		first := got[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1)))
		if !first.Held || first.LeaseMS != 1000 {
			t.Fatalf("%+v", first)
		}
		if no := got[op.Held](t, a.ask("p2", op.LockAcquire, 1, lockBody("x", 2))); no.Held || no.Owner != "name of p1" || no.WaitMS != 1000 {
			t.Fatalf("%+v", no)
		}
		second, third := a.ask("p2", op.LockAcquire, 2, waitBody("x", 2)), a.ask("p3", op.LockAcquire, 1, waitBody("x", 3))
		waits(t, second)
		if _, code := as[op.Held](t, a.ask("p2", op.LockRelease, 3, lockBody("x", 9))); code != fault.NotOwner {
			t.Fatalf("released with another's token: %s", code)
		}
		got[op.Held](t, a.ask("p1", op.LockRelease, 2, lockBody("x", 1)))
		if h := got[op.Held](t, second); !h.Held || h.Fence <= first.Fence {
			t.Fatalf("%+v", h)
		}
		// The second never renews: the third has it when that lease is over, to the moment.
		<-time.After(time.Second - 1)
		waits(t, third)
		<-time.After(1)
		synctest.Wait()
		if h := got[op.Held](t, third); !h.Held || h.LeaseMS != 1000 {
			t.Fatalf("%+v", h)
		}
		if _, code := as[op.Held](t, a.ask("p2", op.LockRenew, 4, lockBody("x", 2))); code != fault.NotOwner {
			t.Fatalf("renewed after its lease: %s", code)
		}
		<-time.After(600 * time.Millisecond)
		if h := got[op.Held](t, a.ask("p3", op.LockRenew, 2, lockBody("x", 3))); h.LeaseMS != 1000 {
			t.Fatalf("%+v", h)
		}
		if c := a.Counts(); c.Locks != 1 || c.Waiting != 0 {
			t.Fatalf("%+v", c)
		}
	})
}

// Who is gone, who has given up and who waited too long do not get the lock.
func TestLockAndThoseWhoLeave(t *testing.T) {
	inTime(t, func(t *testing.T, a *agent) {
		got[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1)))
		short := waitBody("x", 2)
		short.WaitMS = 200
		late := a.ask("p2", op.LockAcquire, 1, short)
		gaveUp, ended, last := a.ask("p3", op.LockAcquire, 1, waitBody("x", 3)), a.ask("p4", op.LockAcquire, 1, waitBody("x", 4)), a.ask("p5", op.LockAcquire, 1, waitBody("x", 5))
		gaveUp.end()
		synctest.Wait()
		if c := a.Counts(); c.Waiting != 3 {
			t.Fatalf("who gave up is in line: %+v", c)
		}
		ended.end()
		a.fake.gone("p4")
		<-time.After(200 * time.Millisecond)
		synctest.Wait()
		if h := got[op.Held](t, late); h.Held || h.WaitMS != 800 || h.Owner != "name of p1" {
			t.Fatalf("%+v", h)
		}
		waits(t, last)
		a.fake.gone("p1") // kill -9 of the owner: at once
		if h := got[op.Held](t, last); !h.Held {
			t.Fatalf("%+v", h)
		}
		waits(t, gaveUp)
		waits(t, ended)
		synctest.Wait()
		if c := a.Counts(); c.Waiting != 0 || len(a.waiting) != 0 {
			t.Fatalf("%+v", c)
		}
	})
}

// Between the end of a wish and the news of it the lock passes on.
func TestLockForNobody(t *testing.T) {
	inTime(t, func(t *testing.T, a *agent) {
		got[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1)))
		second, third := a.ask("p2", op.LockAcquire, 1, waitBody("x", 2)), a.ask("p3", op.LockAcquire, 1, waitBody("x", 3))
		a.Primitives.mu.Lock() // the news cannot come
		second.end()
		if err := a.locks.Release("x", token(1), a.now()); err != nil {
			t.Fatal(err)
		}
		told := a.settle()
		a.Primitives.mu.Unlock()
		a.afterwards(told)
		if h := got[op.Held](t, third); !h.Held {
			t.Fatalf("%+v", h)
		}
		waits(t, second)
	})
}

// A wish that is heard when its party is gone already takes nothing.
func TestLockTooLate(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	serve := a.ops[op.LockAcquire]
	a.ops[op.LockAcquire] = func(c Call) {
		c.Asker.(*asker).end()
		a.fake.gone(c.Party)
		serve(c)
	}
	if _, code := as[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1))); code != fault.PeerGone {
		t.Fatal(code)
	}
	if c := a.Counts(); c.Locks != 0 {
		t.Fatalf("%+v", c)
	}
}

// Asking again with the same token is harmless, held or in line.
func TestLockAgain(t *testing.T) {
	inTime(t, func(t *testing.T, a *agent) {
		first := got[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1)))
		if again := got[op.Held](t, a.ask("p1", op.LockAcquire, 2, lockBody("x", 1))); again != first {
			t.Fatalf("%+v, then %+v", first, again)
		}
		before := a.ask("p2", op.LockAcquire, 1, waitBody("x", 2))
		again := a.ask("p2", op.LockAcquire, 2, waitBody("x", 2))
		if h := got[op.Held](t, before); h.Held {
			t.Fatalf("%+v", h)
		}
		a.fake.gone("p1")
		if h := got[op.Held](t, again); !h.Held {
			t.Fatalf("%+v", h)
		}
	})
}

func TestCaches(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	a.fake.parties = []string{"p1", "p2", "p3", "client/1"}
	for _, party := range []string{"p1", "p2", "p2", "client/1"} {
		got[struct{}](t, a.ask(party, op.CacheUse, 1, op.CacheBody{Cache: "users"}))
	}
	got[struct{}](t, a.ask("p3", op.CacheUse, 1, op.CacheBody{Cache: "others"}))
	if r := got[op.Receivers](t, a.ask("p1", op.CacheDel, 2, op.CacheBody{Cache: "users", Key: "k\n\"1"})); r.Receivers != 2 {
		t.Fatalf("%+v", r)
	}
	if r := got[op.Receivers](t, a.ask("p3", op.CacheDrop, 2, op.CacheBody{Cache: "users", Key: "no"})); r.Receivers != 3 {
		t.Fatalf("%+v", r)
	}
	a.fake.gone("p2")
	if r := got[op.Receivers](t, a.ask("p3", op.CacheDrop, 3, op.CacheBody{Cache: "users"})); r.Receivers != 2 {
		t.Fatalf("%+v", r)
	}
	want := []string{
		`p2 cache:del {"cache":"users","key":"k\n\"1"} from name of p1`,
		`client/1 cache:del {"cache":"users","key":"k\n\"1"} from name of p1`,
		`p1 cache:drop {"cache":"users"} from name of p3`,
	}
	if !slices.Equal(a.told[:3], want) {
		t.Fatalf("%q", a.told)
	}
	if c := a.Counts(); c.CacheUses != 3 {
		t.Fatalf("%+v", c)
	}
}

func TestCachesRoom(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	use := func(party string, i int) fault.Code {
		_, code := as[struct{}](t, a.ask(party, op.CacheUse, 1, op.CacheBody{Cache: fmt.Sprint(i)}))
		return code
	}
	for i := range UsesMaxParty {
		if code := use("p1", i); code != "" {
			t.Fatal(code)
		}
	}
	if code := use("p1", UsesMaxParty); code != fault.TableFull {
		t.Fatal(code)
	}
	if code := use("p1", 0); code != "" { // it has it already
		t.Fatal(code)
	}
	a.caches.total = UsesMax
	if code := use("p2", 0); code != fault.TableFull {
		t.Fatal(code)
	}
}

func TestBadBodies(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	before := a.dump()
	long := strings.Repeat("x", op.NameMax+1)
	for i, tc := range []struct {
		op, body string
		code     fault.Code
	}{
		{op.LimiterTake, ``, fault.Usage},
		{op.LimiterTake, `[]`, fault.Usage},
		{op.LimiterTake, `{"rate":1}`, fault.Usage},
		{op.LimiterTake, `{"name":"x"}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":0}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":-1}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":1e999}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":1,"burst":-1}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":1,"interval_ms":-1}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":1,"interval_ms":9223372036854775807}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","rate":1,"tokens":2}`, fault.Usage},
		{op.LimiterTake, `{"name":"` + long + `","rate":1}`, fault.Usage},
		{op.LimiterTake, `{"name":"x","key":"` + long + `","rate":1}`, fault.Usage},
		{op.CounterAdd, `{"add":1}`, fault.Usage},
		{op.CounterAdd, `{"name":"x","add":1.5}`, fault.Usage},
		{op.CounterAdd, `{"name":"x","add":9223372036854775808}`, fault.Usage},
		{op.CounterGet, `{}`, fault.Usage},
		{op.CounterGet, `5`, fault.Usage},
		{op.LockAcquire, `{`, fault.Usage},
		{op.LockAcquire, `{"token":"0123456789abcdef"}`, fault.Usage},
		{op.LockAcquire, `{"name":"x"}`, fault.Usage},
		{op.LockAcquire, `{"name":"x","token":"short"}`, fault.Usage},
		{op.LockAcquire, `{"name":"x","token":"0123456789abcdef","lease_ms":-1}`, fault.Usage},
		{op.LockAcquire, `{"name":"x","token":"0123456789abcdef","lease_ms":99}`, fault.Usage},
		{op.LockAcquire, `{"name":"x","token":"0123456789abcdef","lease_ms":9223372036854775807}`, fault.Usage},
		{op.LockAcquire, `{"name":"x","token":"0123456789abcdef","wait_ms":-1}`, fault.Usage},
		{op.LockRenew, `{}`, fault.Usage},
		{op.LockRenew, `{"name":"x","token":"0123456789abcdef"}`, fault.NotOwner},
		{op.LockRelease, `{}`, fault.Usage},
		{op.LockRelease, `{"name":"x","token":"0123456789abcdef"}`, fault.NotOwner},
		{op.CacheUse, `{}`, fault.Usage},
		{op.CacheUse, `{"cache":"` + long + `"}`, fault.Usage},
		{op.CacheDel, `{"key":"x"}`, fault.Usage},
		{op.CacheDrop, `null`, fault.Usage},
	} {
		if _, code := as[struct{}](t, a.ask("p", tc.op, int64(i+1), tc.body)); code != tc.code {
			t.Errorf("%s %s: %q", tc.op, tc.body, code)
		}
	}
	if after := a.dump(); after != before {
		t.Fatalf("changed: %s", after)
	}
}

// Without a ledger, a clock and a log all works, but for what is after the agent.
func TestPlain(t *testing.T) {
	f := newFake()
	p, err := New(f, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for id := range int64(2) {
		if taken := got[op.Taken](t, f.ask("p", op.LimiterTake, id+1, op.LimiterBody{Name: "x", Rate: 1, IntervalMS: 3_600_000})); taken.Allowed != (id == 0) {
			t.Fatalf("%+v", taken)
		}
	}
	if h := got[op.Held](t, f.ask("p", op.LockAcquire, 3, lockBody("x", 1))); !h.Held || h.LeaseMS != 1000 {
		t.Fatalf("%+v", h)
	}
	if sinceBoot() <= 0 {
		t.Fatal("no clock")
	}
}
