package talk

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/test/rig"
)

// OwnerKilled: kill -9 of a lock's owner. The next one, of another language, has it
// within the lease, and what the dead one knew is refused.
func OwnerKilled(t *testing.T, language string) string {
	const lease = 3 * time.Second
	r := open(t, 1, "")
	owner := language + "#0"
	next := map[string]string{"go": "node#0", "node": "python#0", "python": "go#0"}[language]
	go func() { _, _ = r.try("POST", owner, fmt.Sprintf("/hold?ms=600000&lease=%d", lease.Milliseconds())) }() // ends with its worker
	var token string
	rig.Until(t, 10*time.Second, "it has the lock", func() bool {
		token, _ = r.try("GET", owner, "/held")
		return token != ""
	})
	rig.For(lease + lease/2) // it is kept alive
	if got, _ := r.try("GET", owner, "/held"); got != token {
		t.Errorf("it has %q, and had %q", got, token)
	}
	waiting := make(chan span, 1)
	go func() {
		s, err := r.hold(next, 0)
		if err != nil {
			t.Error(err)
		}
		waiting <- s
	}()
	rig.For(200 * time.Millisecond)
	if len(waiting) > 0 {
		t.Error("two have the lock")
	}
	began := time.Now()
	_ = syscall.Kill(r.PIDs(language)[0], syscall.SIGKILL)
	var got span
	select {
	case got = <-waiting:
	case <-time.After(30 * time.Second):
		t.Fatal("the next one never got the lock")
	}
	took := time.Since(began)
	if took > lease {
		t.Errorf("the next one had it after %s", took)
	}
	body := url.QueryEscape(fmt.Sprintf(`{"name":"hold","token":%q}`, token))
	for _, name := range []string{"lock:renew", "lock:release"} {
		if _, err := r.try("POST", next, "/op?op="+name+"&body="+body); err == nil || !strings.Contains(err.Error(), "E-NOT-OWNER") {
			t.Errorf("%s with a dead one's token: %v", name, err)
		}
	}
	r.Down()
	return fmt.Sprintf("%s → %s after %s, fence %d; its token is refused", owner, next, took.Round(time.Millisecond), got.fence)
}

// tally is what the clients of a room saw.
type tally struct {
	said, unsure   atomic.Int64 // messages with and without an answer
	added, unknown atomic.Int64 // additions
	asked, failed  atomic.Int64 // requests from worker to worker
	slowest        atomic.Int64 // ns
	mu             sync.Mutex
	spans          []span
	codes          map[string]int
}

// note counts an error by its code, and how long it took to come.
func (y *tally) note(err error, began time.Time) {
	took := int64(time.Since(began))
	for old := y.slowest.Load(); took > old && !y.slowest.CompareAndSwap(old, took); old = y.slowest.Load() {
	}
	if err == nil {
		return
	}
	code := "?"
	if i := strings.Index(err.Error(), "E-"); i >= 0 {
		code, _, _ = strings.Cut(err.Error()[i:], ":")
	}
	y.mu.Lock()
	defer y.mu.Unlock()
	if y.codes == nil {
		y.codes = map[string]int{}
	}
	y.codes[code]++
	if code == "?" {
		y.codes[err.Error()]++
	}
}

// AgentKilled: the agent is killed again and again while three languages talk.
// Nothing hangs; what is lost or doubled is counted, and within the contract: for
// each death and each channel at most one frame to the agent twice, and none to a
// worker lost that had been sent.
func AgentKilled(t *testing.T, kills int) string {
	r := open(t, 2, "")
	all := r.everybody()
	before := r.pids()
	var y tally
	done := make(chan struct{})
	var wg sync.WaitGroup
	for i, who := range all {
		wg.Go(func() { r.talks(who, &y, done) })
		wg.Go(func() { r.adds(who, &y, done) })
		wg.Go(func() { r.holds(who, &y, done) })
		wg.Go(func() { r.asks(who, all[(i+1)%len(all)], &y, done) })
	}
	for range kills {
		rig.For(700 * time.Millisecond)
		agent := r.Status().AgentPID
		_ = syscall.Kill(agent, syscall.SIGKILL)
		rig.Until(t, 20*time.Second, "another agent answers", func() bool {
			st, ok := r.TryStatus()
			return ok && st.AgentPID != agent
		})
	}
	rig.For(time.Second)
	close(done)
	wg.Wait()
	for app, pids := range r.pids() {
		if fmt.Sprint(pids) != fmt.Sprint(before[app]) {
			t.Errorf("workers of %s were replaced: %v, then %v", app, before[app], pids)
		}
	}
	lost, doubled := r.compare(all, kills)
	value := r.ask("POST", all[0], "/add?n=0")
	var sum int64
	_, _ = fmt.Sscan(value, &sum)
	if sum < y.added.Load() || sum > y.added.Load()+y.unknown.Load() {
		t.Errorf("the counter is %d; %d additions were answered, of %d nobody knows", sum, y.added.Load(), y.unknown.Load())
	}
	r.oneAtATime(y.spans)
	if slowest := time.Duration(y.slowest.Load()); slowest > 35*time.Second {
		t.Errorf("something took %s", slowest)
	}
	if y.codes["?"] > 0 {
		t.Errorf("errors without a code: %v", y.codes)
	}
	r.Down()
	return fmt.Sprintf("%d kills; %d messages to %d others: %d not heard, %d twice; %d additions, counter exact (%d unsure); %d requests, %d failed; %d holders of the lock, one at a time; slowest %s; %v",
		kills, y.said.Load(), len(all)-1, lost, doubled, y.added.Load(), y.unknown.Load(), y.asked.Load(), y.failed.Load(), len(y.spans), time.Duration(y.slowest.Load()).Round(time.Millisecond), y.codes)
}

func (r *room) pids() map[string]map[int]int {
	pids := map[string]map[int]int{}
	for _, app := range Languages() {
		pids[app] = r.PIDs(app)
	}
	return pids
}

func until(done chan struct{}, do func(i int)) {
	for i := 0; ; i++ {
		select {
		case <-done:
			return
		default:
			do(i)
		}
	}
}

func (r *room) talks(who string, y *tally, done chan struct{}) {
	until(done, func(i int) {
		began := time.Now()
		_, err := r.try("POST", who, say(fmt.Sprintf("%s says %d", who, i)))
		y.note(err, began)
		if err != nil {
			y.unsure.Add(1)
		}
		y.said.Add(1)
		rig.For(5 * time.Millisecond)
	})
}

func (r *room) adds(who string, y *tally, done chan struct{}) {
	until(done, func(int) {
		began := time.Now()
		_, err := r.try("POST", who, "/add?n=1")
		y.note(err, began)
		if err != nil {
			y.unknown.Add(1)
		} else {
			y.added.Add(1)
		}
		rig.For(5 * time.Millisecond)
	})
}

func (r *room) holds(who string, y *tally, done chan struct{}) {
	until(done, func(int) {
		began := time.Now()
		s, err := r.hold(who, 5)
		y.note(err, began)
		if err == nil {
			y.mu.Lock()
			y.spans = append(y.spans, s)
			y.mu.Unlock()
		}
	})
}

func (r *room) asks(who, to string, y *tally, done chan struct{}) {
	until(done, func(i int) {
		began := time.Now()
		text := fmt.Sprintf("n%d", i)
		got, err := r.try("GET", who, "/ask?text="+text+"&to="+strings.ReplaceAll(to, "#", "%23"))
		y.note(err, began)
		y.asked.Add(1)
		switch {
		case err != nil:
			y.failed.Add(1)
		case got != to+": "+text:
			r.t.Errorf("%s asks %s: %q", who, to, got)
		}
		rig.For(5 * time.Millisecond)
	})
}

// compare counts what was not heard and what was heard twice, by each of all others.
func (r *room) compare(all []string, kills int) (lost, doubled int) {
	r.t.Helper()
	said := map[string]int{}
	heard := map[string]map[string]int{}
	for _, who := range all {
		var list []string
		if err := json.Unmarshal([]byte(r.ask("GET", who, "/heard")), &list); err != nil {
			r.t.Fatal(err)
		}
		heard[who] = map[string]int{}
		for _, text := range list {
			heard[who][text]++
			from, n, _ := strings.Cut(text, " says ")
			i := 0
			_, _ = fmt.Sscan(n, &i)
			said[from] = max(said[from], i+1)
		}
	}
	for who, texts := range heard {
		for from, n := range said {
			for i := range n {
				switch times := texts[fmt.Sprintf("%s says %d", from, i)]; {
				case from == who:
				case times == 0:
					lost++
				case times > 1:
					doubled += times - 1
				}
			}
		}
	}
	// A frame in hand at a death may be dealt with in part (some have heard it), or be
	// dealt with twice: for each channel and each death one.
	if most := kills * len(all) * (len(all) - 1); lost > most || doubled > most {
		r.t.Errorf("%d lost and %d doubled, at most %d are within the contract", lost, doubled, most)
	}
	return lost, doubled
}
