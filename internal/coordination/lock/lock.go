package lock

import (
	"container/heap"
	"container/list"
	"crypto/subtle"
	"time"

	"github.com/muster-run/muster/fault"
)

const (
	// LeaseDefault is the lease for which nothing is said.
	LeaseDefault = 10 * time.Second
	// LeaseMin and LeaseMax bound a lease.
	LeaseMin, LeaseMax = 100 * time.Millisecond, 24 * time.Hour
	// WaitMax is how long one may wait in line.
	WaitMax = 24 * time.Hour
	// TokenMin and TokenMax bound the length of a token in bytes.
	TokenMin, TokenMax = 16, 64
)

// Ask is a wish for a lock.
type Ask struct {
	Name, Token string
	// Party is freed by Gone; Owner is its name, for others.
	Party, Owner string
	// Lease from the moment on at which the lock is had; 0: LeaseDefault.
	Lease time.Duration
	// Wait is how long to wait in line; 0: not at all.
	Wait time.Duration
	// Ticket is any number by which the asker knows its Outcome and cancels the wish.
	Ticket uint64
}

// Outcome is what became of an Ask.
type Outcome struct {
	Ask
	Held  bool
	Fence uint64 // if Held
	// Until is when the lease ends: the Ask's own, or that of who holds the lock.
	Until time.Duration
	// By is the name of who holds it instead.
	By string
}

// State of a lock that is held, as it is kept elsewhere.
type State struct {
	Name, Token, Party, Owner string
	Fence                     uint64
	Until                     time.Duration
}

// Table holds locks.
type Table struct {
	maxLocks, maxWaiting int
	locks                map[string]*lock
	tickets              map[uint64]*waiter
	tokens               map[place]*waiter
	parties              map[string]map[*lock]bool // what each one holds
	lines                map[string]map[*waiter]bool
	due                  schedule
	fence                uint64
	settled              []Outcome
}

type lock struct {
	State
	line list.List // of *waiter
	end  *deadline
}

type waiter struct {
	Ask
	lock *lock
	spot *list.Element
	end  *deadline
}

// place in line by the token. What a token in line is worth does not need comparing in
// constant time: it holds nothing.
type place struct{ name, token string }

// New makes a table of at most maxLocks locks that are held, and maxWaiting asks in
// line.
func New(maxLocks, maxWaiting int) *Table {
	return &Table{
		maxLocks: maxLocks, maxWaiting: maxWaiting, locks: map[string]*lock{}, tickets: map[uint64]*waiter{}, tokens: map[place]*waiter{},
		parties: map[string]map[*lock]bool{}, lines: map[string]map[*waiter]bool{},
	}
}

// Acquire takes a lock that is free, or puts the Ask in line (waiting): then it is
// settled later. Otherwise the Outcome says who has it.
func (t *Table) Acquire(a Ask, now time.Duration) (o Outcome, waiting bool, err error) {
	if a, err = a.check(); err != nil {
		return o, false, err
	}
	t.Tick(now)
	l := t.locks[a.Name]
	switch {
	case l == nil && len(t.locks) >= t.maxLocks:
		return o, false, fault.New(fault.TableFull, "%d locks are held", len(t.locks))
	case l == nil:
		l = &lock{}
		t.locks[a.Name] = l
		return t.grant(l, a, now), false, nil
	case same(l.Token, a.Token):
		t.own(l, a.Party, a.Owner)
		t.extend(l, max(l.Until, now+a.Lease))
		return Outcome{Ask: a, Held: true, Fence: l.Fence, Until: l.Until}, false, nil
	}
	if w := t.tokens[place{a.Name, a.Token}]; w != nil {
		return t.again(w, a, now)
	}
	return t.join(l, a, now)
}

// check completes an Ask.
func (a Ask) check() (Ask, error) {
	if a.Lease == 0 {
		a.Lease = LeaseDefault
	}
	if err := checkLease(a.Lease); err != nil {
		return a, err
	}
	switch {
	case a.Wait < 0 || a.Wait > WaitMax:
		return a, fault.New(fault.Usage, "waiting %s for the lock %s", a.Wait, a.Name).WithFix("write a time from 0 (not at all) to 24h")
	case len(a.Token) < TokenMin || len(a.Token) > TokenMax:
		return a, fault.New(fault.Usage, "the token for the lock %s has %d bytes", a.Name, len(a.Token)).WithFix("write 16 to 64 random characters")
	}
	return a, nil
}

func checkLease(lease time.Duration) error {
	if lease < LeaseMin || lease > LeaseMax {
		return fault.New(fault.Usage, "a lease of %s", lease).WithFix("write a lease from 100ms to 24h, or leave it out for 10s")
	}
	return nil
}

// same compares tokens in a time that does not tell where they differ.
func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// grant gives a lock to somebody new.
func (t *Table) grant(l *lock, a Ask, now time.Duration) Outcome {
	t.fence++
	l.Name, l.Token, l.Fence = a.Name, a.Token, t.fence
	t.own(l, a.Party, a.Owner)
	t.extend(l, now+a.Lease)
	return Outcome{Ask: a, Held: true, Fence: l.Fence, Until: l.Until}
}

// own says which party stands behind the token.
func (t *Table) own(l *lock, party, owner string) {
	t.disown(l)
	l.Party, l.Owner = party, owner
	if t.parties[party] == nil {
		t.parties[party] = map[*lock]bool{}
	}
	t.parties[party][l] = true
}

func (t *Table) disown(l *lock) {
	delete(t.parties[l.Party], l)
	if len(t.parties[l.Party]) == 0 {
		delete(t.parties, l.Party)
	}
}

// extend sets when the lease ends.
func (t *Table) extend(l *lock, until time.Duration) {
	l.Until = until
	if l.end == nil {
		l.end = &deadline{at: until, lock: l}
		heap.Push(&t.due, l.end)
		return
	}
	l.end.at = until
	heap.Fix(&t.due, l.end.index)
}

// owned finds a lock that a token holds.
func (t *Table) owned(name, token string) (*lock, error) {
	l := t.locks[name]
	if l == nil || !same(l.Token, token) {
		return nil, fault.New(fault.NotOwner, "the token does not hold the lock %s", name)
	}
	return l, nil
}

// Renew lets the lease end that much after now; 0: LeaseDefault. The party that asks
// stands behind the token from then on.
func (t *Table) Renew(a Ask, now time.Duration) (Outcome, error) {
	if a.Lease == 0 {
		a.Lease = LeaseDefault
	}
	if err := checkLease(a.Lease); err != nil {
		return Outcome{}, err
	}
	t.Tick(now)
	l, err := t.owned(a.Name, a.Token)
	if err != nil {
		return Outcome{}, err
	}
	t.own(l, a.Party, a.Owner)
	t.extend(l, now+a.Lease)
	return Outcome{Ask: a, Held: true, Fence: l.Fence, Until: l.Until}, nil
}

// Holds is the State of a lock if the token holds it, else E-NOT-OWNER.
func (t *Table) Holds(name, token string, now time.Duration) (State, error) {
	t.Tick(now)
	l, err := t.owned(name, token)
	if err != nil {
		return State{}, err
	}
	return l.State, nil
}

// Release gives a lock up; the next in line has it.
func (t *Table) Release(name, token string, now time.Duration) error {
	t.Tick(now)
	l, err := t.owned(name, token)
	if err != nil {
		return err
	}
	t.pass(l, now)
	return nil
}

// pass gives a lock to the next in line, or drops it.
func (t *Table) pass(l *lock, now time.Duration) {
	t.disown(l)
	if next := l.line.Front(); next != nil {
		w := next.Value.(*waiter)
		t.leave(w)
		t.settled = append(t.settled, t.grant(l, w.Ask, now))
		return
	}
	heap.Remove(&t.due, l.end.index)
	delete(t.locks, l.Name)
}
