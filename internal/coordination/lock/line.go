package lock

import (
	"container/heap"
	"time"

	"github.com/muster-run/muster/fault"
)

// join puts an Ask in line, if it wants to wait.
func (t *Table) join(l *lock, a Ask, now time.Duration) (Outcome, bool, error) {
	switch {
	case a.Wait == 0:
		return refused(l, a), false, nil
	case len(t.tickets) >= t.maxWaiting:
		return Outcome{}, false, fault.New(fault.TableFull, "%d wait for locks", len(t.tickets))
	}
	w := &waiter{Ask: a, lock: l}
	w.spot = l.line.PushBack(w)
	w.end = &deadline{at: now + a.Wait, waiter: w}
	heap.Push(&t.due, w.end)
	t.enlist(w)
	return Outcome{}, true, nil
}

// refused says who has a lock.
func refused(l *lock, a Ask) Outcome { return Outcome{Ask: a, Until: l.Until, By: l.Owner} }

func (t *Table) enlist(w *waiter) {
	t.tickets[w.Ticket] = w
	t.tokens[place{w.Name, w.Token}] = w
	if t.lines[w.Party] == nil {
		t.lines[w.Party] = map[*waiter]bool{}
	}
	t.lines[w.Party][w] = true
}

func (t *Table) delist(w *waiter) {
	delete(t.tickets, w.Ticket)
	delete(t.tokens, place{w.Name, w.Token})
	delete(t.lines[w.Party], w)
	if len(t.lines[w.Party]) == 0 {
		delete(t.lines, w.Party)
	}
}

// again is an Ask with a token that waits already: it takes its place in line, and the
// Ask before is refused.
func (t *Table) again(w *waiter, a Ask, now time.Duration) (Outcome, bool, error) {
	t.settled = append(t.settled, refused(w.lock, w.Ask))
	if a.Wait == 0 {
		t.leave(w)
		return refused(w.lock, a), false, nil
	}
	t.delist(w)
	w.Ask = a
	t.enlist(w)
	w.end.at = now + a.Wait
	heap.Fix(&t.due, w.end.index)
	return Outcome{}, true, nil
}

// leave takes a waiter out of the line.
func (t *Table) leave(w *waiter) {
	w.lock.line.Remove(w.spot)
	heap.Remove(&t.due, w.end.index)
	t.delist(w)
}

// Cancel takes an Ask out of the line. False: it does not wait, and may have been
// settled.
func (t *Table) Cancel(ticket uint64) bool {
	w := t.tickets[ticket]
	if w != nil {
		t.leave(w)
	}
	return w != nil
}

// Gone frees what a party holds and gives up its places in line; they are settled
// nowhere. It returns the locks that it held.
func (t *Table) Gone(party string, now time.Duration) (held []State) {
	t.Tick(now)
	for w := range t.lines[party] {
		t.leave(w)
	}
	for l := range t.parties[party] {
		held = append(held, l.State)
		t.pass(l, now)
	}
	return held
}

// Tick lets all end that ends by now, in the order of the ends.
func (t *Table) Tick(now time.Duration) {
	for len(t.due) > 0 && t.due[0].at <= now {
		if end := t.due[0]; end.waiter != nil {
			w := end.waiter
			t.leave(w)
			t.settled = append(t.settled, refused(w.lock, w.Ask))
		} else {
			// The next one's lease begins when it can know of it, not when this one ended.
			t.pass(end.lock, now)
		}
	}
}

// Next is when Tick has something to do; false: never, as things are.
func (t *Table) Next() (time.Duration, bool) {
	if len(t.due) == 0 {
		return 0, false
	}
	return t.due[0].at, true
}

// Settled takes the outcomes of Asks that were in line, in the order in which they came
// about.
func (t *Table) Settled() []Outcome {
	all := t.settled
	t.settled = nil
	return all
}

// Fence is the last one given out.
func (t *Table) Fence() uint64 { return t.fence }

// Len is how many locks are held, and how many Asks are in line.
func (t *Table) Len() (held, waiting int) { return len(t.locks), len(t.tickets) }

// RestoreFence makes all further fences larger than this one.
func (t *Table) RestoreFence(fence uint64) { t.fence = max(t.fence, fence) }

// Restore gives a lock to who held it, instead of who has it in the Table; nobody must be
// in line. Its fence counts even when its lease has ended by now.
func (t *Table) Restore(s State, now time.Duration) {
	t.RestoreFence(s.Fence)
	t.Forget(s.Name, 0)
	if s.Until <= now {
		return
	}
	l := &lock{State: s}
	t.locks[s.Name] = l
	t.own(l, s.Party, s.Owner)
	t.extend(l, s.Until)
}

// Forget drops a lock for which nobody is in line, if it is held under that fence; 0:
// under any.
func (t *Table) Forget(name string, fence uint64) {
	l := t.locks[name]
	if l == nil || fence != 0 && l.Fence != fence {
		return
	}
	t.disown(l)
	heap.Remove(&t.due, l.end.index)
	delete(t.locks, name)
}

// Each calls f with every lock whose lease has not ended, in no order. f may
// change the table, or let others do so: what is new may be missed.
func (t *Table) Each(now time.Duration, f func(State)) {
	for _, l := range t.locks {
		if l.Until > now {
			f(l.State)
		}
	}
}
