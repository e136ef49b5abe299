package talk

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// Chat: three languages in one room. What one says all others hear, once and in
// order; each can ask each; the limiter, the counter, the lock and the cache are one.
func Chat(t *testing.T) string {
	r := open(t, 2, "")
	all := r.everybody()
	for _, from := range all {
		for i := range 5 {
			if got := r.ask("POST", from, say(fmt.Sprintf("%s says %d", from, i))); got != fmt.Sprint(len(all)-1) {
				t.Errorf("%s: %s receivers, want %d", from, got, len(all)-1)
			}
		}
	}
	for _, who := range all {
		r.heardAll(who, all, 5)
		for _, to := range all {
			if got, want := r.ask("GET", who, "/ask?text=hi&to="+strings.ReplaceAll(to, "#", "%23")), to+": hi"; got != want {
				t.Errorf("%s asks %s: %q, want %q", who, to, got, want)
			}
		}
	}
	allowed := r.limited(all, 3*time.Second)
	r.counted(all)
	r.topics(all)
	r.exclusive(all)
	r.Down()
	return fmt.Sprintf("%d workers in 3 languages: %d messages heard by all others, once and in order; the limiter let %s through", len(all), 5*len(all), allowed)
}

// heardAll waits until a worker has heard what all others have said.
func (r *room) heardAll(who string, all []string, each int) {
	r.t.Helper()
	var heard []string
	if !rig.Within(10*time.Second, func() bool {
		heard = r.list(who, "/heard")
		return len(heard) >= each*(len(all)-1)
	}) {
		r.t.Errorf("%s heard only %d messages", who, len(heard))
	}
	next := map[string]int{}
	for _, text := range heard {
		from, n, _ := strings.Cut(text, " says ")
		if n != fmt.Sprint(next[from]) || from == who {
			r.t.Errorf("%s heard %q after %d of these", who, text, next[from])
		}
		next[from]++
	}
}

// limited has everybody take from the one limiter (20 a second, at most 20 at once)
// as fast as they can.
func (r *room) limited(all []string, during time.Duration) string {
	r.t.Helper()
	var allowed, refused atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for _, who := range all {
		wg.Go(func() {
			for time.Since(began) < during {
				text, err := r.try("POST", who, "/take?key=k")
				switch {
				case err != nil:
					r.t.Error(err)
					return
				case text == "yes":
					allowed.Add(1)
				default:
					refused.Add(1)
				}
			}
		})
	}
	wg.Wait()
	most := 20 + 20*time.Since(began).Seconds()
	if n := float64(allowed.Load()); n > most || n < 20+20*during.Seconds()-2 || refused.Load() == 0 {
		r.t.Errorf("the limiter let %v through in %s, at most %.1f are right", n, time.Since(began), most)
	}
	return fmt.Sprintf("%d of %d (%.1f are its rate)", allowed.Load(), allowed.Load()+refused.Load(), most)
}

// counted: every addition counts once.
func (r *room) counted(all []string) {
	r.t.Helper()
	var wg sync.WaitGroup
	for _, who := range all {
		wg.Go(func() {
			for range 50 {
				if _, err := r.try("POST", who, "/add?n=2"); err != nil {
					r.t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, who := range all {
		if got := r.ask("POST", who, "/add?n=0"); got != fmt.Sprint(100*len(all)) {
			r.t.Errorf("%s: the counter is %s, want %d", who, got, 100*len(all))
		}
	}
}

// topics: who changes what is in everybody's cache.
func (r *room) topics(all []string) {
	r.t.Helper()
	for i, who := range all {
		topic := fmt.Sprintf("topic-%d", i)
		r.ask("PUT", who, "/topic?text="+topic)
		for _, other := range all {
			if !rig.Within(5*time.Second, func() bool { return r.ask("GET", other, "/topic") == topic }) {
				r.t.Errorf("%s still has %q, want %q", other, r.ask("GET", other, "/topic"), topic)
			}
		}
	}
	before := r.fills(all)
	for range 20 {
		for _, who := range all {
			r.ask("GET", who, "/topic")
		}
	}
	if after := r.fills(all); !slices.Equal(after, before) {
		r.t.Errorf("the cache was filled again: %v, then %v", before, after)
	}
}

func (r *room) fills(all []string) (list []string) {
	for _, who := range all {
		list = append(list, r.ask("GET", who, "/fills"))
	}
	return list
}

// exclusive: with everybody in line, one at a time holds the lock, and each fence is
// above the one before.
func (r *room) exclusive(all []string) {
	r.t.Helper()
	var holders atomic.Int64
	var mu sync.Mutex
	var spans []span
	var wg sync.WaitGroup
	for _, who := range all {
		wg.Go(func() {
			for range 3 {
				s, err := r.hold(who, 20)
				if err != nil {
					r.t.Error(err)
					return
				}
				holders.Add(1)
				mu.Lock()
				spans = append(spans, s)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	r.oneAtATime(spans)
}

// span is one holding of a lock, by the clock of the holder: nanoseconds of
// CLOCK_MONOTONIC, which all processes of a host share.
type span struct {
	who      string
	fence    int64
	from, to int64
}

// hold has a worker take the lock for some milliseconds and say when it had it.
func (r *room) hold(who string, ms int) (span, error) {
	text, err := r.try("POST", who, fmt.Sprintf("/hold?ms=%d", ms))
	s := span{who: who}
	if err == nil {
		_, err = fmt.Sscan(text, &s.fence, &s.from, &s.to)
	}
	return s, err
}

func (r *room) oneAtATime(spans []span) {
	r.t.Helper()
	slices.SortFunc(spans, func(a, b span) int { return int(a.fence - b.fence) })
	for i := 1; i < len(spans); i++ {
		a, b := spans[i-1], spans[i]
		if a.fence == b.fence || b.from < a.to {
			r.t.Errorf("%s held the lock (fence %d) until %d, %s (fence %d) from %d", a.who, a.fence, a.to, b.who, b.fence, b.from)
		}
	}
}
