package primitives

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/op"
)

// script is calls of all kinds; each is one record of the ledger at most, or none.
func script(a *agent, now *clock, after func(step string)) {
	limit := op.LimiterBody{Name: "l", Key: "k", Rate: 3, Burst: 2}
	slower := op.LimiterBody{Name: "l", Key: "k", Rate: 1.7, Burst: 2, IntervalMS: 60_000}
	for i, s := range []struct {
		party, op string
		body      any
	}{
		{"p1", op.LimiterTake, limit},
		{"p1", op.CounterAdd, op.CounterBody{Name: "c", Add: 5}},
		{"p2", op.CounterAdd, op.CounterBody{Name: "c", Add: -2}},
		{"p2", op.LimiterTake, limit},
		{"p2", op.LimiterTake, limit},  // refused
		{"p2", op.LimiterTake, slower}, // refused, and another limit
		{"p1", op.LockAcquire, lockBody("x", 1)},
		{"p2", op.LockAcquire, lockBody("x", 2)}, // refused
		{"p2", op.LockAcquire, lockBody("y", 2)},
		{"client/1", op.LockAcquire, lockBody("z", 3)},
		{"p1", op.LockRenew, op.LockBody{Name: "x", Token: token(1), LeaseMS: 9000}},
		{"p1", op.LockRelease, lockBody("x", 1)},
		{"p3", op.LockAcquire, lockBody("x", 4)},
		{"p1", op.CacheUse, op.CacheBody{Cache: "u"}},
		{"p2", op.CacheUse, op.CacheBody{Cache: "u"}},
		{"client/1", op.CounterAdd, op.CounterBody{Name: "d", Add: 1}},
		{"p2", "gone", nil},
		{"p1", op.CounterAdd, op.CounterBody{Name: "c", Add: -3}}, // 0 again
		{"client/1", op.LockRelease, lockBody("z", 3)},
		{"p1", op.LockAcquire, lockBody("z", 5)},
		{"p1", op.LockRelease, lockBody("z", 5)}, // the highest fence is nobody's
		{"p2", "gone", nil},                      // nothing is left of it
	} {
		now.pass(10 * time.Millisecond)
		if s.op == "gone" {
			a.fake.gone(s.party)
		} else {
			a.ask(s.party, s.op, int64(i+1), s.body)
		}
		after(fmt.Sprintf("%d, %s of %s", i, s.op, s.party))
	}
}

// However much of the ledger is there, the successor's state is what it was at one moment.
func TestEveryCut(t *testing.T) {
	var now clock
	s := newStore(t)
	a := begin(t, s, now.Now)
	type moment struct {
		step, state string
		size        int
	}
	moments := []moment{{"begin", a.dump(), len(s.text())}}
	records := 0
	script(a, &now, func(step string) {
		moments = append(moments, moment{step, "", len(s.text())})
		n := 0
		if err := a.ledger.Each(func([]byte) error { n++; return nil }); err != nil || n > records+1 {
			t.Fatalf("%s: %d records, before %d, %v", step, n, records, err)
		}
		records = n
	})
	if records != 19 {
		t.Fatalf("%d records", records)
	}
	// The state of each moment, at the same time, by another agent that does only that much.
	for i := range moments[1:] {
		var again clock
		b := begin(t, newStore(t), again.Now)
		n := 0
		func() {
			defer func() { _ = recover() }()
			script(b, &again, func(string) {
				if n++; n == i+1 {
					panic("enough")
				}
			})
		}()
		again.now = now.now
		moments[i+1].state = b.dump()
		b.end()
	}
	moments[0].state = "fence 0\n[]\n"
	text := s.text()
	for cut := 8; cut <= len(text); cut++ {
		i, _ := slices.BinarySearchFunc(moments, cut, func(m moment, cut int) int { return m.size - cut })
		for i == len(moments) || moments[i].size > cut {
			i--
		}
		for i+1 < len(moments) && moments[i+1].size == moments[i].size {
			i++
		}
		b := begin(t, holding(t, text[:cut]), now.Now)
		if got := b.dump(); got != moments[i].state {
			t.Fatalf("cut at %d, after %s:\n%s\nwant\n%s", cut, moments[i].step, got, moments[i].state)
		}
		b.end()
	}
}

// A snapshot stands for the same state.
func TestSnapshot(t *testing.T) {
	var now clock
	s := newStore(t)
	a := begin(t, s, now.Now)
	script(a, &now, func(step string) {
		if err := a.snapshot(); err != nil {
			t.Fatal(err)
		}
		b := begin(t, s, now.Now)
		if a.dump() != b.dump() {
			t.Fatalf("%s:\n%s\nwas\n%s", step, b.dump(), a.dump())
		}
		b.end()
	})
}

// The ledger does not grow without end.
func TestLedgerStaysSmall(t *testing.T) {
	var now clock
	s := newStore(t)
	a := begin(t, s, now.Now)
	name := strings.Repeat("l", op.NameMax)
	for i := range 15_000 { // 4 MB
		now.pass(time.Millisecond)
		a.ask("p1", op.LimiterTake, int64(i+1), op.LimiterBody{Name: name, Rate: 1e6})
		a.tasks.Wait()
	}
	if n := len(s.text()); n > 1<<20+1024 {
		t.Fatalf("%d bytes", n)
	}
	if b := begin(t, s, now.Now); a.dump() != b.dump() || a.log.Len() > 0 {
		t.Fatalf("%s\n%s\n%s", a.dump(), b.dump(), a.log)
	}
}

// What a ledger holds that is no record, or of a kind that comes later, is passed over.
func TestStrangeRecords(t *testing.T) {
	var now clock
	s := newStore(t)
	l, err := ledger.Open(s, "x")
	if err != nil {
		t.Fatal(err)
	}
	good := appendCounter(appendHead(nil, "p1", 7, []byte(`{"value":1}`)), "c", 1)
	for _, rec := range [][]byte{
		{},
		{0xff},
		{0, kindHeld},
		{0, kindBucket, 1},
		{0, kindCounter},
		{0, kindReleased, 9},
		{0, kindGone, 1},
		{0, kindUse},
		{0, kindFence},
		{0, 77, 1, 2, 3},
		{2, 'p'},
		{1, 'p', 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		append(slices.Clip(good), "more"...),
	} {
		if err := l.Append(rec); err != nil {
			t.Fatal(err)
		}
	}
	l.Close()
	a := begin(t, s, now.Now)
	if got := a.dump(); got != "fence 0\n[counter c 1 last of p1: 7 {\"value\":1}]\n" {
		t.Fatal(got)
	}
	if !strings.Contains(a.log.String(), "damaged") {
		t.Fatal("nobody was told")
	}
}

// again is a call that may have been heard before.
func again(a *agent, party, name string, id int64, body any) *asker {
	return a.send(Call{Party: party, ID: id, Again: true}, name, body)
}

func TestReplay(t *testing.T) {
	var now clock
	s := newStore(t)
	a := begin(t, s, now.Now)
	add := op.CounterBody{Name: "c", Add: 1}
	one := op.LimiterBody{Name: "l", Rate: 1, Burst: 3}
	a.ask("p1", op.CounterAdd, 10, add)
	taken := got[op.Taken](t, a.ask("p1", op.LimiterTake, 11, one))
	a.ask("p2", op.LockAcquire, 20, lockBody("x", 1))
	a.ask("p2", op.LockRelease, 21, lockBody("x", 1))
	a.ask("client/1", op.CounterAdd, 30, add)
	a.end()
	a = begin(t, s, now.Now)
	// The last: its answer is kept, and nothing is done.
	if same := got[op.Taken](t, again(a, "p1", op.LimiterTake, 11, one)); same != taken {
		t.Fatalf("%+v, was %+v", same, taken)
	}
	if _, code := as[op.Held](t, again(a, "p2", op.LockRelease, 21, lockBody("x", 1))); code != "" {
		t.Fatal(code)
	}
	// One before: the answer is not kept, and nothing is done.
	if _, code := as[op.Value](t, again(a, "p1", op.CounterAdd, 10, add)); code != fault.AgentReplaced {
		t.Fatal(code)
	}
	if _, code := as[op.Value](t, again(a, "p1", op.LimiterTake, 9, one)); code != fault.AgentReplaced {
		t.Fatal(code)
	}
	// One after: it had not been heard.
	if v := got[op.Value](t, again(a, "p1", op.CounterAdd, 12, add)); v.Value != 3 {
		t.Fatalf("%+v", v)
	}
	if v := got[op.Value](t, again(a, "p1", op.CounterAdd, 12, add)); v.Value != 3 {
		t.Fatalf("%+v", v)
	}
	// Not said to be heard before: the numbers are the asker's own business.
	if v := got[op.Value](t, a.ask("p1", op.CounterAdd, 12, add)); v.Value != 4 {
		t.Fatalf("%+v", v)
	}
	// A client has no past, nor has a party that is gone.
	if v := got[op.Value](t, again(a, "client/1", op.CounterAdd, 30, add)); v.Value != 5 {
		t.Fatalf("%+v", v)
	}
	a.fake.gone("p1")
	if v := got[op.Value](t, again(a, "p1", op.CounterAdd, 12, add)); v.Value != 6 {
		t.Fatalf("%+v", v)
	}
	// One way: there is no number to know it by.
	again(a, "p1", op.CounterAdd, 0, add)
	if v := got[op.Value](t, again(a, "p1", op.CounterGet, 13, add)); v.Value != 7 {
		t.Fatalf("%+v", v)
	}
}

// life is processes that count, take and release while agents die at any point: before a
// call is heard, and between the record and the answer.
type life struct {
	*rapid.T
	t     *testing.T
	store *store
	now   clock
	agent *agent
	ids   map[string]int64
	sums  map[string]int64 // what was answered last
	sum   int64
	taken float64
	fence uint64
}

func (l *life) replaceAgent() {
	l.agent.end()
	l.agent = begin(l.t, l.store, l.now.Now)
}

// call makes one, which may find the agent dying; the answer is the one that is heard.
func (l *life) call(party, name string, body any) *asker {
	l.ids[party]++
	id := l.ids[party]
	switch rapid.IntRange(0, 3).Draw(l.T, "death") {
	case 0: // not heard
		l.replaceAgent()
	case 1: // heard, and the answer is lost
		l.agent.ask(party, name, id, body)
		l.replaceAgent()
	default:
		return l.agent.ask(party, name, id, body)
	}
	return again(l.agent, party, name, id, body)
}

func (l *life) step() {
	l.now.pass(time.Duration(rapid.IntRange(0, 300).Draw(l.T, "pause")) * time.Millisecond)
	party := rapid.SampledFrom([]string{"p1", "p2"}).Draw(l.T, "party")
	switch rapid.IntRange(0, 3).Draw(l.T, "what") {
	case 0:
		n := rapid.Int64Range(-3, 3).Draw(l.T, "n")
		l.sum += n
		if v := got[op.Value](l.t, l.call(party, op.CounterAdd, op.CounterBody{Name: "c", Add: n})); v.Value != l.sum {
			l.Fatalf("counted %d, not %d", v.Value, l.sum)
		}
	case 1: // a bucket that does not fill in this test's time, by whole tokens
		taken := got[op.Taken](l.t, l.call(party, op.LimiterTake, op.LimiterBody{Name: "l", Rate: 1e-2, Burst: 20, IntervalMS: 3_600_000, Tokens: 2}))
		if taken.Allowed != (l.taken < 20) {
			l.Fatalf("%+v after %v", taken, l.taken)
		}
		l.taken = min(20, l.taken+2)
	case 2: // whoever had it has given it up
		h := got[op.Held](l.t, l.call(party, op.LockAcquire, lockBody("x", int(l.fence))))
		if !h.Held || h.Fence <= l.fence {
			l.Fatalf("%+v after fence %d", h, l.fence)
		}
		n := int(l.fence)
		l.fence = h.Fence
		if _, code := as[op.Held](l.t, l.call(party, op.LockRelease, lockBody("x", n))); code != "" {
			l.Fatalf("release: %s", code)
		}
	case 3:
		l.replaceAgent()
	}
}

func TestExactlyOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := &life{T: rt, t: t, store: newStore(t), ids: map[string]int64{}, sums: map[string]int64{}}
		l.agent = begin(t, l.store, l.now.Now)
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			l.step()
		}
		l.agent.end()
	})
}

// Leases go on while there is no agent, and whoever waits is next with the one after.
func TestLeaseOverTheDeath(t *testing.T) {
	inTime(t, func(t *testing.T, a *agent) {
		s := &store{t: t}
		if err := a.ledger.Snapshot(func(func([]byte)) {}); err != nil {
			t.Fatal(err)
		}
		a.end()
		now := a.now
		a = begin(t, s, now)
		defer func() { s.file.Close() }()
		got[op.Held](t, a.ask("p1", op.LockAcquire, 1, lockBody("x", 1)))
		a.ask("p2", op.LockAcquire, 1, waitBody("x", 2)).end()
		a.end()
		<-time.After(400 * time.Millisecond)
		a = begin(t, s, now)
		second := again(a, "p2", op.LockAcquire, 1, waitBody("x", 2))
		<-time.After(600*time.Millisecond - 1)
		waits(t, second)
		<-time.After(1)
		synctest.Wait()
		if h := got[op.Held](t, second); !h.Held || h.Fence != 2 {
			t.Fatalf("%+v", h)
		}
		if _, code := as[op.Held](t, a.ask("p1", op.LockRelease, 2, lockBody("x", 1))); code != fault.NotOwner {
			t.Fatalf("the dead one's token: %s", code)
		}
		a.end()
	})
}

// Parties that did not live to see the next agent are forgotten, clients wait out their
// leases.
func TestSettle(t *testing.T) {
	var now clock
	s := newStore(t)
	a := begin(t, s, now.Now)
	for i, party := range []string{"p1", "p2", "client/1"} {
		a.ask(party, op.LockAcquire, 1, lockBody(party, i))
		a.ask(party, op.CounterAdd, 2, op.CounterBody{Name: "c", Add: 1})
		a.ask(party, op.CacheUse, 3, op.CacheBody{Cache: "u"})
	}
	a.end()
	a = begin(t, s, now.Now)
	a.Settle(func(party string) bool { return party == "p1" })
	if c := a.Counts(); c.Locks != 2 || c.CacheUses != 1 || c.Counters != 1 || len(a.last) != 1 {
		t.Fatalf("%+v, %v", c, a.last)
	}
	// The client comes back as another party, with its token.
	if h := got[op.Held](t, a.ask("client/9", op.LockRenew, 1, lockBody("client/1", 2))); !h.Held {
		t.Fatalf("%+v", h)
	}
	b := begin(t, s, now.Now)
	if a.fake.gone("client/9"); b.dump() == a.dump() {
		t.Fatal("the lock of a client that is gone is still held")
	}
}

// What cannot be written down is not done.
func TestLedgerFails(t *testing.T) {
	var now clock
	a := begin(t, newStore(t), now.Now)
	a.ask("p1", op.LockAcquire, 1, lockBody("held", 1))
	a.ask("p1", op.CounterAdd, 2, op.CounterBody{Name: "c", Add: 1})
	a.ask("p1", op.LimiterTake, 3, op.LimiterBody{Name: "l", Rate: 1, Burst: 2})
	waiting := a.ask("p3", op.LockAcquire, 1, waitBody("held", 3))
	before := a.dump()
	a.ledger.Close()
	for i, s := range []struct {
		op   string
		body any
	}{
		{op.LimiterTake, op.LimiterBody{Name: "l", Rate: 1, Burst: 2}},
		{op.LimiterTake, op.LimiterBody{Name: "new", Rate: 1}},
		{op.CounterAdd, op.CounterBody{Name: "c", Add: 1}},
		{op.LockAcquire, lockBody("new", 2)},
		{op.LockRelease, lockBody("held", 1)},
		{op.LockRenew, lockBody("held", 1)},
		{op.CacheUse, op.CacheBody{Cache: "u"}},
	} {
		if _, code := as[struct{}](t, a.ask("p1", s.op, int64(10+i), s.body)); code != fault.Internal {
			t.Errorf("%s: %q", s.op, code)
		}
	}
	if after := a.dump(); strings.ReplaceAll(after, "fence 2", "fence 1") != before {
		t.Fatalf("%s\nwas %s", after, before)
	}
	a.fake.gone("p1") // the next in line is told that it cannot have it
	if _, code := as[op.Held](t, waiting); code != fault.Internal {
		t.Fatal(code)
	}
	if c := a.Counts(); c.Locks != 0 || c.Waiting != 0 {
		t.Fatalf("%+v", c)
	}
}

// All at once, with parties that come and go.
func TestConcurrent(t *testing.T) {
	s := newStore(t)
	a := begin(t, s, nil)
	for i := range 100 {
		a.fake.parties = append(a.fake.parties, fmt.Sprint("p", i%8, "-", i/8))
	}
	stop := make(chan struct{})
	var all, snapshots sync.WaitGroup
	snapshots.Go(func() { // all the time
		for {
			select {
			case <-stop:
				return
			default:
			}
			if err := a.snapshot(); err != nil {
				t.Error(err)
			}
		}
	})
	var mu sync.Mutex
	inside := 0
	for w := range 8 {
		all.Go(func() {
			for i := range 150 {
				party := fmt.Sprint("p", w, "-", i/10)
				id := int64(i + 1)
				a.ask(party, op.LimiterTake, id, op.LimiterBody{Name: "l", Rate: 100})
				a.ask(party, op.LimiterTake, id, op.LimiterBody{Name: "l", Key: fmt.Sprint(w, i), Rate: 0.01})
				a.ask(party, op.CounterAdd, id, op.CounterBody{Name: fmt.Sprint(w, i/3), Add: int64(i%3) - 1}) // -1, -1, 0
				a.ask(party, op.CacheUse, id, op.CacheBody{Cache: "u"})
				a.ask(party, op.CacheDel, id, op.CacheBody{Cache: "u", Key: "k"})
				body := waitBody("x", w)
				body.LeaseMS = 60_000
				held := a.ask(party, op.LockAcquire, id, body)
				if i%7 == 3 {
					held.end() // may have it, or not
					a.fake.gone(party)
					continue
				}
				<-held.ctx.Done()
				if h := got[op.Held](t, held); !h.Held {
					t.Errorf("%+v", h)
				}
				mu.Lock()
				if inside++; inside != 1 {
					t.Error("two have the lock")
				}
				mu.Unlock()
				got[op.Value](t, a.ask(party, op.CounterAdd, id+1000, op.CounterBody{Name: "c", Add: 1}))
				mu.Lock()
				inside--
				mu.Unlock()
				a.ask(party, op.LockRelease, id+2000, body)
				if i%10 == 9 {
					a.fake.gone(party)
				}
			}
		})
	}
	all.Wait()
	want := int64(0)
	for i := range 150 {
		if i%7 != 3 {
			want += 8
		}
	}
	if v := got[op.Value](t, a.ask("p", op.CounterGet, 1, op.CounterBody{Name: "c"})); v.Value != want {
		t.Fatalf("%d, not %d", v.Value, want)
	}
	for end := time.Now().Add(20 * time.Second); ; runtime.Gosched() { // the news of who gave up may be on its way
		a.Primitives.mu.Lock()
		left := len(a.waiting)
		a.Primitives.mu.Unlock()
		if c := a.Counts(); left == 0 && c.Locks == 0 && c.Waiting == 0 {
			break
		} else if time.Now().After(end) {
			t.Fatalf("%+v, %d calls", c, left)
		}
	}
	close(stop)
	snapshots.Wait()
	b := begin(t, s, func() time.Duration { return time.Minute })
	a.Primitives.now = func() time.Duration { return time.Minute }
	if was, is := a.dump(), b.dump(); was != is {
		t.Fatalf("%s\nwas\n%s", is, was)
	}
}

func BenchmarkTake(b *testing.B) {
	a := begin(b, newStore(b), nil)
	body := `{"name":"x","key":"k","rate":1000000,"burst":1000000}`
	id := int64(0)
	for b.Loop() {
		id++
		a.ask("p", op.LimiterTake, id, body)
	}
}
