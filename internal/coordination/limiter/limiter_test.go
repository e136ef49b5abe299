package limiter

import (
	"errors"
	"math"
	"math/big"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

var ten = Limit{Rate: 10, Burst: 5, Interval: time.Second}

func take(t rapid.TB, table *Table, l Limit, tokens float64, now time.Duration) Taken {
	t.Helper()
	taken, err := table.Take(ID{Name: "x"}, l, tokens, now)
	if err != nil {
		t.Fatal(err)
	}
	return taken
}

// The burst at once, then one for each tenth of a second, neither earlier nor later.
func TestBurstThenRate(t *testing.T) {
	table := New(10)
	for i := range 5 {
		if got := take(t, table, ten, 1, 0); !got.Allowed || got.Left != float64(4-i) || got.Wait != 0 || !got.Moved {
			t.Fatalf("take %d: %+v", i, got)
		}
	}
	if got := take(t, table, ten, 1, 0); got != (Taken{Wait: 100 * time.Millisecond}) {
		t.Fatalf("the sixth: %+v", got)
	}
	if got := take(t, table, ten, 3, 0); got.Wait != 300*time.Millisecond {
		t.Fatalf("three: %+v", got)
	}
	if take(t, table, ten, 1, 100*time.Millisecond-1).Allowed || !take(t, table, ten, 1, 100*time.Millisecond).Allowed {
		t.Fatal("not at its time")
	}
}

// exact is the model: what is in a bucket, as a fraction.
type exact struct {
	tokens *big.Rat
	at     time.Duration
}

func rat(f float64) *big.Rat { return new(big.Rat).SetFloat64(f) }

func (m *exact) take(l Limit, tokens float64, now time.Duration) (allowed bool, wait *big.Rat) {
	perNS := new(big.Rat).Quo(rat(l.Rate), rat(float64(l.Interval)))
	if m.tokens == nil {
		m.tokens, m.at = rat(l.Burst), now
	}
	m.tokens.Add(m.tokens, new(big.Rat).Mul(perNS, rat(float64(now-m.at))))
	if m.at = now; m.tokens.Cmp(rat(l.Burst)) > 0 {
		m.tokens = rat(l.Burst)
	}
	if short := new(big.Rat).Sub(rat(tokens), m.tokens); short.Sign() > 0 {
		return false, short.Quo(short, perNS)
	}
	m.tokens.Sub(m.tokens, rat(tokens))
	return true, nil
}

// Where a token's price is a whole number of nanoseconds, all is as in the model, to the
// nanosecond.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limit{
			Rate:     rapid.SampledFrom([]float64{1, 2, 4, 5, 10, 50, 1000, 1 << 9}).Draw(t, "rate"),
			Burst:    float64(rapid.IntRange(1, 20).Draw(t, "burst")),
			Interval: rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 512_000_000}).Draw(t, "interval"),
		}
		now := time.Duration(rapid.Int64Range(0, 1<<50).Draw(t, "start"))
		table, model := New(5), &exact{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(3*l.perToken())).Draw(t, "pause"))
			tokens := float64(rapid.IntRange(1, int(l.Burst)).Draw(t, "tokens"))
			got := take(t, table, l, tokens, now)
			allowed, wait := model.take(l, tokens, now)
			if got.Allowed != allowed {
				t.Fatalf("%v of %+v at %d: %+v, the model: %v", tokens, l, now, got, allowed)
			}
			if !allowed {
				if want, _ := wait.Float64(); float64(got.Wait) != math.Ceil(want) {
					t.Fatalf("wait %d, the model: %s", got.Wait, wait.FloatString(3))
				}
			}
			if left, _ := model.tokens.Float64(); math.Abs(left-got.Left) > 1e-6 {
				t.Fatalf("left %v, the model: %v", got.Left, left)
			}
		}
	})
}

func drawLimit(t *rapid.T) Limit {
	l := Limit{
		Rate:     rapid.Float64Range(1e-3, 1e6).Draw(t, "rate"),
		Burst:    rapid.Float64Range(1, 1e4).Draw(t, "burst"),
		Interval: time.Duration(rapid.Int64Range(1e6, int64(time.Hour)).Draw(t, "interval")),
	}
	if l.Check(1) != nil {
		l.Interval = time.Second
	}
	return l
}

// Whatever the numbers: never more than Burst + Rate × time, whole bursts at once, and
// the wait is exact.
func TestNeverMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimit(t)
		table, sum, now := New(5), 0.0, time.Duration(0)
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			tokens := rapid.Float64Range(l.Burst/50, l.Burst).Draw(t, "tokens")
			got := take(t, table, l, tokens, now)
			for ; got.Allowed; got = take(t, table, l, tokens, now) {
				sum += tokens
			}
			if most := l.Burst + l.Rate*float64(now)/float64(l.Interval); sum > most*(1+1e-9) {
				t.Fatalf("%v allowed after %s, of %v", sum, now, most)
			}
			if got.Wait > 1 && take(t, table, l, tokens, now+got.Wait-1).Allowed {
				t.Fatalf("allowed before its time, %s", got.Wait)
			}
			now += got.Wait
			if got := take(t, table, l, tokens, now); !got.Allowed {
				t.Fatalf("refused at its time: %+v", got)
			}
			sum += tokens
			now += time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "pause"))
		}
	})
}

// A whole burst is had in single tokens, whatever a token costs.
func TestWholeBurst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimit(t)
		l.Burst = math.Floor(min(l.Burst, 2000))
		table := New(5)
		for i := range int(l.Burst) {
			if got := take(t, table, l, 1, time.Hour); !got.Allowed {
				t.Fatalf("token %d of %v: %+v", i, l.Burst, got)
			}
		}
		if take(t, table, l, 1, time.Hour).Allowed {
			t.Fatal("one more")
		}
	})
}

// Who takes at every moment that is named gets the rate, without drift.
func TestNoDrift(t *testing.T) {
	l := Limit{Rate: 3, Burst: 2, Interval: time.Second}
	table, now := New(1), time.Duration(0)
	for range 30_002 {
		got := take(t, table, l, 1, now)
		if !got.Allowed {
			now += got.Wait
			got = take(t, table, l, 1, now)
		}
		if !got.Allowed {
			t.Fatalf("refused at its time: %+v", got)
		}
	}
	if now < 10_000*time.Second || now > 10_000*time.Second+time.Nanosecond {
		t.Fatalf("30,002 tokens after %s", now)
	}
}

// A refusal moves nothing: asking in between changes no answer.
func TestRefusalMovesNothing(t *testing.T) {
	table := New(1)
	take(t, table, ten, 5, 0)
	before := table.State(ID{Name: "x"})
	for now := range 100 * time.Millisecond / 1000 {
		if got := take(t, table, ten, 1, now*999); got.Allowed || got.Moved {
			t.Fatalf("at %s: %+v", now*999, got)
		}
	}
	if table.State(ID{Name: "x"}) != before {
		t.Fatal("moved")
	}
}

// Another limit keeps the tokens that are there, and the wait it names is exact.
func TestAnotherLimit(t *testing.T) {
	fast := Limit{Rate: 100, Burst: 20, Interval: time.Second}
	slow := Limit{Rate: 1, Burst: 20, Interval: time.Hour}
	small := Limit{Rate: 100, Burst: 2, Interval: time.Second}
	for name, tc := range map[string]struct {
		before, after Limit
		taken, left   float64
		wait          time.Duration // for one more than is left
	}{
		"slower":        {fast, slow, 5, 15, time.Hour},
		"faster":        {slow, fast, 20, 0, 10 * time.Millisecond},
		"smaller":       {fast, small, 10, 0, 10 * time.Millisecond},
		"smaller, full": {fast, small, 1, 1, 10 * time.Millisecond},
		"larger":        {small, fast, 2, 18, 10 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			table := New(1)
			take(t, table, tc.before, tc.taken, 0)
			got := take(t, table, tc.after, min(tc.left+1, tc.after.Burst), 0)
			moved := tc.before.Rate != tc.after.Rate || tc.taken > tc.after.Burst
			if got.Allowed || got.Moved != moved || math.Abs(got.Left-tc.left) > 1e-9 || got.Wait.Round(time.Microsecond) != tc.wait {
				t.Fatalf("%+v", got)
			}
			again := take(t, table, tc.after, min(tc.left+1, tc.after.Burst), 0)
			if again.Moved || again.Wait != got.Wait {
				t.Fatalf("asked again: %+v", again)
			}
			if take(t, table, tc.after, min(tc.left+1, tc.after.Burst), got.Wait-1).Allowed ||
				!take(t, table, tc.after, min(tc.left+1, tc.after.Burst), got.Wait).Allowed {
				t.Fatal("not at its time")
			}
		})
	}
}

func TestClockGoesBack(t *testing.T) {
	table := New(1)
	take(t, table, ten, 5, time.Hour)
	// By a little: time stands still, and waits are longer by that.
	if got := take(t, table, ten, 1, time.Hour-10); got.Allowed || got.Wait != 100*time.Millisecond+10 {
		t.Fatalf("a little: %+v", got)
	}
	if got := take(t, table, ten, 1, time.Hour+100*time.Millisecond); !got.Allowed {
		t.Fatalf("and on again: %+v", got)
	}
	// By much: at most empty.
	if got := take(t, table, ten, 1, time.Minute); got.Allowed || got.Wait > 100*time.Millisecond {
		t.Fatalf("much: %+v", got)
	}
	if !take(t, table, ten, 5, time.Minute+500*time.Millisecond).Allowed {
		t.Fatal("did not fill again")
	}
	if got := take(t, New(1), ten, 5, -time.Hour); !got.Allowed {
		t.Fatalf("before all time: %+v", got)
	}
}

func TestBadLimits(t *testing.T) {
	with := func(change func(*Limit)) Limit { l := ten; change(&l); return l }
	for name, tc := range map[string]struct {
		l      Limit
		tokens float64
	}{
		"rate zero":         {with(func(l *Limit) { l.Rate = 0 }), 1},
		"rate negative":     {with(func(l *Limit) { l.Rate = -1 }), 1},
		"rate no number":    {with(func(l *Limit) { l.Rate = math.NaN() }), 1},
		"rate endless":      {with(func(l *Limit) { l.Rate = math.Inf(1) }), 1},
		"rate too high":     {with(func(l *Limit) { l.Rate = 1.1e9 }), 1},
		"rate too low":      {with(func(l *Limit) { l.Rate = 1e-9 }), 1},
		"rate tiny":         {with(func(l *Limit) { l.Rate = 5e-324 }), 1},
		"burst zero":        {with(func(l *Limit) { l.Burst = 0 }), 1},
		"burst below one":   {with(func(l *Limit) { l.Burst = 0.9 }), 0.5},
		"burst no number":   {with(func(l *Limit) { l.Burst = math.NaN() }), 1},
		"burst endless":     {with(func(l *Limit) { l.Burst = math.Inf(1) }), 1},
		"interval zero":     {with(func(l *Limit) { l.Interval = 0 }), 1},
		"interval negative": {with(func(l *Limit) { l.Interval = -1 }), 1},
		"more than a burst": {ten, 5.1},
		"no tokens":         {ten, 0},
		"negative tokens":   {ten, -1},
		"no number":         {ten, math.NaN()},
	} {
		t.Run(name, func(t *testing.T) {
			table := New(1)
			_, err := table.Take(ID{}, tc.l, tc.tokens, 0)
			var f *fault.Fault
			if !errors.As(err, &f) || f.Code != fault.Usage || len(f.Fix) < len("write x") {
				t.Fatalf("%v, fix %q", err, f.Fix)
			}
			if table.Len() != 0 {
				t.Fatal("a bucket was made")
			}
		})
	}
}

// A table with little room answers like one with much, but where all are in use.
func TestRoom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const room = 4
		small, large := New(room), New(1000)
		now := time.Duration(0)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			id := ID{Name: "x", Key: strconv.Itoa(rapid.IntRange(0, 9).Draw(t, "key"))}
			l := Limit{Rate: float64(rapid.IntRange(1, 30).Draw(t, "rate")), Burst: 5, Interval: time.Second}
			l.Rate = float64(len(id.Key)) + 10*float64(id.Key[0]-'0') + 1 // the same for a key
			live := 0
			large.Each(now, func(ID, State) { live++ })
			known := large.State(id).Full > int64(now)
			want, _ := large.Take(id, l, 1, now)
			got, err := small.Take(id, l, 1, now)
			switch full := fault.CodeOf(err) == fault.TableFull; {
			case full && (live < room || known):
				t.Fatalf("no room at %s beside %d", now, live)
			case full: // both go on alike
				large.Restore(id, State{}, now)
			case err != nil:
				t.Fatal(err)
			case got != want:
				t.Fatalf("%+v, with much room %+v", got, want)
			}
			if small.Len() > room {
				t.Fatalf("%d buckets", small.Len())
			}
			now += time.Duration(rapid.Int64Range(0, int64(50*time.Millisecond)).Draw(t, "pause"))
		}
	})
}

// A flood of new keys is refused, and what was there stays; what it leaves behind goes by
// itself.
func TestFlood(t *testing.T) {
	const room = 1000
	table := New(room)
	key := func(i int) ID { return ID{Name: "x", Key: strconv.Itoa(i)} }
	refused := 0
	for i := range 50 * room {
		if _, err := table.Take(key(i), ten, 1, time.Duration(i)); err != nil {
			refused++
		}
	}
	if refused != 49*room {
		t.Fatalf("%d refused", refused)
	}
	for i := range room {
		if got, err := table.Take(key(i), ten, 1, 300*room); err != nil || got.Left > 3.01 {
			t.Fatalf("key %d: %+v, %v", i, got, err)
		}
	}
	for i := range room {
		if _, err := table.Take(key(-1-i), ten, 1, time.Hour+time.Duration(i)*time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	if table.Len() > 5 {
		t.Fatalf("%d are kept", table.Len())
	}
}

// What is kept elsewhere brings a table back.
func TestStateComesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := drawLimit(t)
		table, now := New(100), time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "start"))
		kept := map[ID]State{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			id := ID{Key: strconv.Itoa(rapid.IntRange(0, 3).Draw(t, "key"))}
			got, err := table.Take(id, l, rapid.Float64Range(0.1, l.Burst).Draw(t, "tokens"), now)
			if err != nil {
				t.Fatal(err)
			}
			if got.Moved {
				kept[id] = table.State(id)
			} else if kept[id] != table.State(id) {
				t.Fatal("moved without saying so")
			}
			now += time.Duration(rapid.Int64Range(0, int64(l.perToken())).Draw(t, "pause"))
		}
		after := New(100)
		for id, s := range kept {
			after.Restore(id, s, now)
		}
		table.Each(now, func(id ID, s State) {
			if after.State(id) != s {
				t.Fatalf("%v: %+v, was %+v", id, after.State(id), s)
			}
		})
		for i := range 4 {
			id := ID{Key: strconv.Itoa(i)}
			a, _ := table.Take(id, l, 1, now)
			b, _ := after.Take(id, l, 1, now)
			if a != b {
				t.Fatalf("%+v, after that %+v", a, b)
			}
		}
	})
}

// States that make no sense do no harm.
func TestRestoreNonsense(t *testing.T) {
	for _, s := range []State{
		{Full: -5, PerToken: 1e8},
		{Full: math.MaxInt64, PerToken: 1e8},
		{Full: 1e9, PerToken: math.NaN()},
		{Full: 1e9, PerToken: -1},
		{Full: 1e9},
		{Full: 1e9, PerToken: math.Inf(1)},
	} {
		table := New(1)
		table.Restore(ID{Name: "x"}, s, 0)
		if got := take(t, table, ten, 5, 0); !got.Allowed {
			t.Errorf("%+v: %+v", s, got)
		}
		table.Restore(ID{Name: "x"}, s, 0) // over one that is there
		if got := take(t, table, ten, 5, 600*time.Millisecond); !got.Allowed {
			t.Errorf("%+v, over another: %+v", s, got)
		}
	}
}

func FuzzTake(f *testing.F) {
	f.Add(10.0, 5.0, int64(time.Second), 1.0, int64(0), int64(5))
	f.Add(1e9, 1e9, int64(time.Second), 1e9, int64(1)<<61, int64(1))
	f.Fuzz(func(t *testing.T, rate, burst float64, interval int64, tokens float64, a, b int64) {
		l := Limit{rate, burst, time.Duration(interval)}
		table := New(2)
		for _, now := range []int64{a, b, a} {
			now := time.Duration(now & math.MaxInt64 >> 2)
			got, err := table.Take(ID{}, l, tokens, now)
			if err != nil {
				return
			}
			if got.Allowed == (got.Wait != 0) || got.Left < 0 || got.Left > burst || math.IsNaN(got.Left) {
				t.Fatalf("%+v", got)
			}
			if !got.Allowed {
				if again, _ := table.Take(ID{}, l, tokens, now+got.Wait); !again.Allowed {
					t.Fatalf("%+v, then %+v", got, again)
				}
			}
		}
	})
}

func BenchmarkTake(b *testing.B) {
	table, now := New(1000), time.Duration(0)
	for b.Loop() {
		now += 1000
		_, _ = table.Take(ID{Name: "x"}, ten, 1, now)
	}
}

// BenchmarkFlood: new keys for a full table, a part of which is idle at any time.
func BenchmarkFlood(b *testing.B) {
	table, now := New(262_144), time.Duration(0)
	keys := make([]string, 1<<20)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	i := 0
	for b.Loop() {
		now += 300
		_, _ = table.Take(ID{"x", keys[i%len(keys)]}, ten, 1, now)
		i++
	}
}
