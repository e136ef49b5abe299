package lock

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

func token(n int) string { return fmt.Sprintf("token-%010d", n) }

func ask(n int, name string) Ask {
	return Ask{Name: name, Token: token(n), Party: fmt.Sprint("party", n), Owner: fmt.Sprint("web#", n), Ticket: uint64(n), Lease: time.Second}
}

func acquire(t rapid.TB, table *Table, a Ask, now time.Duration) (Outcome, bool) {
	t.Helper()
	o, waiting, err := table.Acquire(a, now)
	if err != nil {
		t.Fatal(err)
	}
	return o, waiting
}

// wanted is the model: a lock with its line, by the plainest means.
type wanted struct {
	held  bool
	owner Ask
	fence uint64
	until time.Duration
	line  []Ask
	gives []time.Duration // when each in line gives up
}

type model struct {
	locks map[string]*wanted
	fence uint64
	said  []Outcome
}

func (m *model) grant(w *wanted, a Ask, now time.Duration) Outcome {
	m.fence++
	w.held, w.owner, w.fence, w.until = true, a, m.fence, now+a.Lease
	return Outcome{Ask: a, Held: true, Fence: w.fence, Until: w.until}
}

func (m *model) free(w *wanted, now time.Duration) {
	if w.held = false; len(w.line) > 0 {
		a := w.line[0]
		w.line, w.gives = w.line[1:], w.gives[1:]
		m.said = append(m.said, m.grant(w, a, now))
	}
}

func (m *model) drop(w *wanted, i int) {
	w.line, w.gives = slices.Delete(w.line, i, i+1), slices.Delete(w.gives, i, i+1)
}

// pass lets time pass up to now, one end after the other.
func (m *model) pass(now time.Duration) {
	for {
		var first *wanted
		at, who := now+1, -1
		for _, w := range m.locks {
			if w.held && (w.until < at || w.until == at && who >= 0) {
				first, at, who = w, w.until, -1
			}
			for i, end := range w.gives {
				if end < at {
					first, at, who = w, end, i
				}
			}
		}
		switch {
		case first == nil:
			return
		case who < 0:
			m.free(first, now)
		default:
			a := first.line[who]
			m.drop(first, who)
			m.said = append(m.said, Outcome{Ask: a, Until: first.until, By: first.owner.Owner})
		}
	}
}

func (m *model) of(name string) *wanted {
	if m.locks[name] == nil {
		m.locks[name] = &wanted{}
	}
	return m.locks[name]
}

func (m *model) acquire(a Ask, now time.Duration) (Outcome, bool) {
	w := m.of(a.Name)
	refused := Outcome{Ask: a, Until: w.until, By: w.owner.Owner}
	i := slices.IndexFunc(w.line, func(o Ask) bool { return o.Token == a.Token })
	switch {
	case !w.held:
		return m.grant(w, a, now), false
	case w.owner.Token == a.Token:
		w.owner, w.until = a, max(w.until, now+a.Lease)
		return Outcome{Ask: a, Held: true, Fence: w.fence, Until: w.until}, false
	case i >= 0:
		m.said = append(m.said, Outcome{Ask: w.line[i], Until: w.until, By: w.owner.Owner})
		if a.Wait == 0 {
			m.drop(w, i)
			return refused, false
		}
		w.line[i], w.gives[i] = a, now+a.Wait
		return Outcome{}, true
	case a.Wait == 0:
		return refused, false
	}
	w.line, w.gives = append(w.line, a), append(w.gives, now+a.Wait)
	return Outcome{}, true
}

func (m *model) gone(party string, now time.Duration) {
	for _, w := range m.locks {
		for i := len(w.line) - 1; i >= 0; i-- {
			if w.line[i].Party == party {
				m.drop(w, i)
			}
		}
	}
	for _, w := range m.locks {
		if w.held && w.owner.Party == party {
			m.free(w, now)
		}
	}
}

// run drives a table and the model by the same steps.
type run struct {
	*rapid.T
	table   *Table
	model   model
	now     time.Duration
	tickets uint64
}

func (r *run) drawAsk() Ask {
	n := rapid.IntRange(0, 5).Draw(r.T, "who")
	r.tickets++
	return Ask{
		Name: rapid.SampledFrom([]string{"a", "b"}).Draw(r.T, "name"), Token: token(n),
		// A party has two tokens.
		Party: fmt.Sprint("party", n/2), Owner: fmt.Sprint("web#", n/2), Ticket: r.tickets,
		Lease: time.Duration(rapid.IntRange(1, 10).Draw(r.T, "lease")) * 100 * time.Millisecond,
		Wait:  time.Duration(rapid.IntRange(0, 9).Draw(r.T, "wait"))*100*time.Millisecond + time.Duration(r.tickets),
	}
}

func (r *run) acquire() {
	a := r.drawAsk()
	if rapid.Bool().Draw(r.T, "at once") {
		a.Wait = 0
	}
	o, waiting := acquire(r, r.table, a, r.now)
	if want, wait := r.model.acquire(a, r.now); !reflect.DeepEqual(o, want) || waiting != wait {
		r.Fatalf("acquire %+v:\n%+v, %v; the model:\n%+v, %v", a, o, waiting, want, wait)
	}
}

// owned is what renew and release have in common: is it the owner's token?
func (r *run) owned(a Ask, err error) bool {
	w := r.model.of(a.Name)
	if own := w.held && w.owner.Token == a.Token; own != (err == nil) || err != nil && fault.CodeOf(err) != fault.NotOwner {
		r.Fatalf("%s of %s, whose owner is %+v: %v", a.Token, a.Name, w, err)
	}
	return err == nil
}

func (r *run) renew() {
	a := r.drawAsk()
	o, err := r.table.Renew(a, r.now)
	if w := r.model.of(a.Name); r.owned(a, err) {
		w.owner, w.until = a, r.now+a.Lease
		if o.Fence != w.fence || o.Until != w.until || !o.Held {
			r.Fatalf("renewed: %+v", o)
		}
	}
}

func (r *run) release() {
	a := r.drawAsk()
	s, err := r.table.Holds(a.Name, a.Token, r.now)
	if r.owned(a, err) && s.Fence != r.model.of(a.Name).fence {
		r.Fatalf("holds %+v", s)
	}
	if r.owned(a, r.table.Release(a.Name, a.Token, r.now)) {
		r.model.free(r.model.of(a.Name), r.now)
	}
}

func (r *run) cancel() {
	ticket := rapid.Uint64Range(1, r.tickets+1).Draw(r.T, "ticket")
	found := false
	for _, w := range r.model.locks {
		if i := slices.IndexFunc(w.line, func(a Ask) bool { return a.Ticket == ticket }); i >= 0 {
			r.model.drop(w, i)
			found = true
		}
	}
	if r.table.Cancel(ticket) != found {
		r.Fatalf("cancelled %d: %v", ticket, !found)
	}
}

func byTicket(all []Outcome) []Outcome {
	for i := range all {
		all[i].Fence = 0 // which of two locks passes first at one moment is not said
	}
	slices.SortFunc(all, func(a, b Outcome) int { return int(a.Ticket) - int(b.Ticket) })
	return all
}

func (r *run) settled() {
	got, want := byTicket(r.table.Settled()), byTicket(r.model.said)
	if r.model.said = nil; len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		r.Fatalf("settled:\n%+v\nthe model:\n%+v", got, want)
	}
	held, line := 0, 0
	for name, w := range r.model.locks {
		line += len(w.line)
		if w.held {
			held++
			s, err := r.table.Holds(name, w.owner.Token, r.now)
			if err != nil || s.Party != w.owner.Party || s.Owner != w.owner.Owner || s.Until != w.until {
				r.Fatalf("%s is held by %+v, %v; the model: %+v", name, s, err, w)
			}
			w.fence = s.Fence // see byTicket
		}
	}
	r.model.fence = max(r.model.fence, r.table.Fence())
	if h, l := r.table.Len(); h != held || l != line {
		r.Fatalf("%d held, %d wait; the model: %d, %d", h, l, held, line)
	}
}

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &run{T: t, table: New(10, 100), model: model{locks: map[string]*wanted{}}}
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			r.now += time.Duration(rapid.IntRange(0, 500).Draw(t, "pause")) * time.Millisecond
			r.model.pass(r.now)
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3, 4:
				r.acquire()
			case 5:
				r.renew()
			case 6, 7:
				r.release()
			case 8:
				r.table.Tick(r.now)
				r.cancel()
			case 9:
				party := fmt.Sprint("party", rapid.IntRange(0, 2).Draw(t, "party"))
				r.table.Gone(party, r.now)
				r.model.gone(party, r.now)
			}
			r.settled()
		}
	})
}

// First come, first served; the fence grows, also after the lock was free.
func TestInLine(t *testing.T) {
	table := New(10, 10)
	first, _ := acquire(t, table, ask(1, "x"), 0)
	for n := 2; n <= 4; n++ {
		a := ask(n, "x")
		a.Wait = time.Minute
		if _, waiting := acquire(t, table, a, 0); !waiting {
			t.Fatal("does not wait")
		}
	}
	table.Cancel(3)
	if err := table.Release("x", token(1), time.Millisecond); err != nil {
		t.Fatal(err)
	}
	second := table.Settled()
	if len(second) != 1 || second[0].Ticket != 2 || second[0].Fence <= first.Fence || second[0].Until != time.Second+time.Millisecond {
		t.Fatalf("%+v", second)
	}
	if next, _ := table.Next(); next != time.Second+time.Millisecond {
		t.Fatalf("next at %s", next)
	}
	table.Tick(time.Second + time.Millisecond - 1)
	if all := table.Settled(); len(all) > 0 {
		t.Fatalf("early: %+v", all)
	}
	table.Tick(time.Second + time.Millisecond) // the lease of the second is over
	if third := table.Settled(); len(third) != 1 || third[0].Ticket != 4 || third[0].Fence <= second[0].Fence {
		t.Fatalf("%+v", third)
	}
	if _, err := table.Renew(ask(2, "x"), time.Second+time.Millisecond); fault.CodeOf(err) != fault.NotOwner {
		t.Fatalf("the second renews: %v", err)
	}
	table.Gone("party4", 2*time.Second)
	if _, some := table.Next(); some {
		t.Fatal("something is left")
	}
	if o, _ := acquire(t, table, ask(5, "x"), 2*time.Second); o.Fence != 4 {
		t.Fatalf("%+v", o)
	}
}

// A lease that is over is over, even when nobody wants the lock.
func TestLeaseOver(t *testing.T) {
	table := New(10, 10)
	acquire(t, table, ask(1, "x"), 0)
	if _, err := table.Renew(ask(1, "x"), time.Second-1); err != nil {
		t.Fatal(err)
	}
	over := 2*time.Second - 1
	if _, err := table.Renew(ask(1, "x"), over); fault.CodeOf(err) != fault.NotOwner {
		t.Fatal(err)
	}
	if err := table.Release("x", token(1), over); fault.CodeOf(err) != fault.NotOwner {
		t.Fatal(err)
	}
	if o, _ := acquire(t, table, ask(1, "x"), over); o.Fence != 2 {
		t.Fatalf("the same token is a new owner: %+v", o)
	}
}

func TestBadAsks(t *testing.T) {
	for name, change := range map[string]func(*Ask){
		"lease negative": func(a *Ask) { a.Lease = -1 },
		"lease short":    func(a *Ask) { a.Lease = LeaseMin - 1 },
		"lease long":     func(a *Ask) { a.Lease = LeaseMax + 1 },
		"wait negative":  func(a *Ask) { a.Wait = -1 },
		"wait long":      func(a *Ask) { a.Wait = WaitMax + 1 },
		"token short":    func(a *Ask) { a.Token = strings.Repeat("x", 15) },
		"token long":     func(a *Ask) { a.Token = strings.Repeat("x", 65) },
	} {
		t.Run(name, func(t *testing.T) {
			table, a := New(1, 1), ask(1, "x")
			change(&a)
			_, _, err := table.Acquire(a, 0)
			var f *fault.Fault
			if !errors.As(err, &f) || f.Code != fault.Usage || !strings.HasPrefix(f.Fix, "write ") {
				t.Fatalf("%v", err)
			}
			if held, _ := table.Len(); held != 0 {
				t.Fatal("held")
			}
		})
	}
	table := New(1, 1)
	a := ask(1, "x")
	a.Lease = 0
	if o, _ := acquire(t, table, a, 0); o.Until != LeaseDefault {
		t.Fatalf("%+v", o)
	}
	if o, err := table.Renew(a, 1); err != nil || o.Until != 1+LeaseDefault {
		t.Fatalf("%+v, %v", o, err)
	}
	a.Lease = time.Millisecond
	if _, err := table.Renew(a, 0); fault.CodeOf(err) != fault.Usage {
		t.Fatal(err)
	}
}

func TestRoom(t *testing.T) {
	table := New(1, 1)
	acquire(t, table, ask(1, "x"), 0)
	if _, _, err := table.Acquire(ask(2, "y"), 0); fault.CodeOf(err) != fault.TableFull {
		t.Fatal(err)
	}
	wait := func(n int) error {
		a := ask(n, "x")
		a.Wait = time.Hour
		_, _, err := table.Acquire(a, 0)
		return err
	}
	if err := wait(2); err != nil {
		t.Fatal(err)
	}
	if err := wait(3); fault.CodeOf(err) != fault.TableFull {
		t.Fatal(err)
	}
	if err := wait(2); err != nil { // the same token: its own place
		t.Fatal(err)
	}
	table.Gone("party2", 0)
	// The lease of x is over: there is room for y.
	if o, _ := acquire(t, table, ask(2, "y"), time.Second); !o.Held {
		t.Fatalf("%+v", o)
	}
}

// Who uses a token stands behind it: a process may hand its lock on.
func TestHandedOn(t *testing.T) {
	table := New(2, 2)
	acquire(t, table, ask(1, "x"), 0)
	a := ask(1, "x")
	a.Party, a.Owner = "party9", "web#9"
	if o, err := table.Renew(a, 0); err != nil || o.Fence != 1 {
		t.Fatalf("%+v, %v", o, err)
	}
	if held := table.Gone("party1", 0); len(held) > 0 {
		t.Fatalf("the first party still held %+v", held)
	}
	if held := table.Gone("party9", 0); len(held) != 1 || held[0].Owner != "web#9" {
		t.Fatalf("%+v", held)
	}
}

func TestRestore(t *testing.T) {
	table := New(4, 4)
	s := State{Name: "x", Token: token(1), Party: "party1", Owner: "web#1", Fence: 7, Until: time.Minute}
	table.Restore(s, time.Second)
	later := s
	later.Token, later.Fence = token(2), 9
	table.Restore(later, time.Second)
	table.Forget("x", 7) // an earlier owner's
	var all []State
	table.Each(time.Second, func(s State) { all = append(all, s) })
	if len(all) != 1 || all[0] != later {
		t.Fatalf("%+v", all)
	}
	if next, _ := table.Next(); next != time.Minute {
		t.Fatalf("ends at %s", next)
	}
	later.Fence, later.Until = 11, time.Second
	table.Restore(later, time.Second) // over: it is free, and its fence counts
	if o, _ := acquire(t, table, ask(3, "x"), time.Second); !o.Held || o.Fence != 12 {
		t.Fatalf("%+v", o)
	}
	table.Forget("x", 0)
	table.Forget("y", 0)
	table.RestoreFence(20)
	table.RestoreFence(3)
	if o, _ := acquire(t, table, ask(3, "x"), time.Second); o.Fence != 21 || table.Fence() != 21 {
		t.Fatalf("%+v", o)
	}
}

func BenchmarkAcquireRelease(b *testing.B) {
	table, now := New(10, 10), time.Duration(0)
	a := ask(1, "x")
	for b.Loop() {
		now += 1000
		_, _, _ = table.Acquire(a, now)
		_ = table.Release("x", a.Token, now)
	}
}
