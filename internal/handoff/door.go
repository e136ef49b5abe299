package handoff

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

// ErrPolicy says that a Door knows no such policy, or has not one socket for it.
var ErrPolicy = errors.New("no policy of a door")

// DoorOptions say what a Door deals, and how.
type DoorOptions struct {
	// Policy is spec.BalanceRoundRobin, BalanceLeast or BalanceSlots.
	Policy spec.Balance
	// Sockets listen; the Door has duplicates. With slots that of slot k is at
	// index k, which is also its place in the SO_REUSEPORT group; otherwise there is
	// one.
	Sockets []*os.File
	// Window is how many connections may be under way to one Seat; 0: 1. More than
	// 2 help little and wait behind a blocked worker.
	Window int
	// Stuck is told in order, in a goroutine, when the worker of a slot has been found
	// blocked for a second, and when it is well again, and how many connections wait in
	// its queue: of one slot at most once in ten seconds. May be nil.
	Stuck func(slot int, stuck bool, waiting int)
	// Warn is told, in a goroutine, what keeps connections from being accepted: at
	// most one error in ten seconds. May be nil.
	Warn func(error)
}

// Door is one listening address, whose connections go to the Seats of workers.
// Safe for concurrent use.
type Door struct {
	loop   *Loop
	policy spec.Balance
	window int
	work   func() // turn, as a value
	tell   teller
	stuck  func(slot int, stuck bool, waiting int)
	warn   func(error)

	// Guarded by Loop.mu. Descriptors are closed by the thread only, but for those
	// of connections that a worker has taken.
	sockets []*socket
	group   int // how many sockets the kernel may still know
	seats   map[*Seat]struct{}
	free    []*Seat // who can take a connection, longest idle first
	hand    []int   // accepted connections that are under way to nobody
	stats   Stats
	isDirty bool // in Loop.dirty
	closed  bool
	changed bool // seats or their state: the slots are to be reviewed
	steered []int
	short   *timer // accepting rests until then
	warned  time.Time
	floor   int       // no worker that counts has had fewer turns
	held    *timer    // the line is looked at again then
	holding time.Time // since then connections are held, as far as it is not in spent
	period  time.Time // begin of the second in which spent counts
	spent   time.Duration
}

// Stats counts since the Door was opened.
type Stats struct {
	// Accepted counts the connections that the Door has accepted, Rescued those of
	// them that waited behind a dead or blocked worker.
	Accepted, Rescued uint64
	// Dealt counts the connections that a worker has taken.
	Dealt uint64
	// Again counts what was taken back from a worker that was gone or could not be
	// reached, Refused what one did not want; each goes to another one.
	Again, Refused uint64
	// Unknown counts answers that nobody waited for.
	Unknown uint64
	// InHand is how many accepted connections no worker can take now, UnderWay how
	// many are offered and not answered.
	InHand, UnderWay int
	// Slots has one element for each socket of a Door that balances by slots.
	Slots []SlotStats
}

// SlotStats is a slot's socket now.
type SlotStats struct {
	// Waiting is how many connections are in the kernel's queue; -1: unknown.
	Waiting int
	// Live says that new connections are steered to it, Stuck that its worker is
	// blocked.
	Live, Stuck bool
}

// Open makes a Door. It deals as soon as somebody joins. Close ends it. Errors:
// ErrPolicy, or one of the system.
func (l *Loop) Open(o DoorOptions) (*Door, error) {
	if o.Policy != spec.BalanceSlots && (o.Policy != spec.BalanceRoundRobin && o.Policy != spec.BalanceLeast || len(o.Sockets) != 1) {
		return nil, fmt.Errorf("%w: %q with %d sockets", ErrPolicy, o.Policy, len(o.Sockets))
	}
	d := &Door{
		loop: l, policy: o.Policy, window: max(1, o.Window), group: len(o.Sockets),
		stuck: o.Stuck, warn: o.Warn, seats: map[*Seat]struct{}{}, changed: true,
	}
	d.work = d.turn
	sockets, err := d.duplicate(o.Sockets, 0)
	if err != nil {
		return nil, err
	}
	d.sockets = sockets
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		closeSockets(sockets)
		return nil, os.ErrClosed
	}
	l.doors[d] = struct{}{}
	l.touch(d)
	return d, nil
}

// slots says that the kernel balances.
func (d *Door) slots() bool { return d.policy == spec.BalanceSlots }

// Join has a worker take part: of a Door that balances by slots, the worker of that
// slot, which accepts from the slot's socket itself. r is its channel; nil: nothing
// can be dealt to it.
func (d *Door) Join(slot int, r Receiver) *Seat {
	s := &Seat{door: d, slot: slot, to: r, alive: time.Now()}
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	if d.closed {
		s.left = true
		return s
	}
	s.turns = d.most()
	d.seats[s] = struct{}{}
	if k := d.socket(slot); k != nil {
		k.seats = append(k.seats, s)
		k.well()
	}
	d.change()
	s.offer()
	return s
}

// change has the thread look at the slots and deal. l.mu is held.
func (d *Door) change() {
	d.changed = true
	d.loop.touch(d)
}

// socket is that of a slot, nil when there is none or slots do not matter. l.mu is
// held.
func (d *Door) socket(slot int) *socket {
	if !d.slots() || slot < 0 || slot >= len(d.sockets) {
		return nil
	}
	return d.sockets[slot]
}

// Stats is a snapshot.
func (d *Door) Stats() Stats {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	st := d.stats
	st.InHand = len(d.hand)
	for s := range d.seats {
		st.UnderWay += len(s.under)
	}
	if d.slots() {
		for _, k := range d.sockets {
			st.Slots = append(st.Slots, SlotStats{Waiting: k.waiting(), Live: k.live(), Stuck: k.stuck})
		}
	}
	return st
}

// Close ends it: no connection is accepted any more, those in hand are closed, and
// answers are ignored. The sockets stay open elsewhere. Safe to call again; not to
// be called under way in Receiver or First.
func (d *Door) Close() {
	if !d.loop.call(d.shut) {
		<-d.loop.done
		d.shut() // there is no thread any more
	}
}

// shut runs on the thread.
func (d *Door) shut() {
	l := d.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.closed {
		return
	}
	d.closed = true
	delete(l.doors, d)
	l.stop(d.short)
	l.stop(d.held)
	d.drop(d.sockets)
	d.sockets = nil
	closeAll(d.hand)
	d.hand, d.free = nil, nil
	for s := range d.seats {
		for _, f := range s.under {
			_ = unix.Close(f.conn)
		}
		s.under, s.left = nil, true
		l.stop(s.retry)
	}
	clear(d.seats)
}

// Resize has a Door that balances by slots deal with more sockets, or fewer. Those
// it has already must be at the same places. Before it returns, what waits in the
// queues of those that go is given to other workers, for at most three seconds; the
// caller then closes them, the last one first.
func (d *Door) Resize(sockets []*os.File) error {
	l := d.loop
	l.mu.Lock()
	have, closed := len(d.sockets), d.closed
	l.mu.Unlock()
	switch {
	case closed:
		return os.ErrClosed
	case !d.slots():
		return fmt.Errorf("%w: %s has one socket", ErrPolicy, d.policy)
	case len(sockets) < have:
		d.shrink(len(sockets))
		return nil
	}
	more, err := d.duplicate(sockets[have:], have)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.closed {
		closeSockets(more)
		return os.ErrClosed
	}
	d.sockets = append(d.sockets, more...)
	for s := range d.seats {
		if k := d.socket(s.slot); k != nil && s.slot >= have && !s.left {
			k.seats = append(k.seats, s)
		}
	}
	d.group = max(d.group, len(d.sockets))
	d.steered = nil
	d.change()
	return nil
}

// A socket that goes is looked at this often; for as long as connections may come
// that were begun before it was steered around, and no longer than the caller can
// wait.
const (
	shrinkPace  = 10 * time.Millisecond
	shrinkLeast = 250 * time.Millisecond
	shrinkMost  = 3 * time.Second
)

// shrink empties the sockets from n on.
func (d *Door) shrink(n int) {
	begun := time.Now()
	tick := time.NewTicker(shrinkPace)
	defer tick.Stop()
	for first := true; ; first = false {
		over := false
		if !d.loop.call(func() { over = d.shrinkStep(n, first, time.Since(begun)) }) || over {
			return
		}
		<-tick.C
	}
}

// shrinkStep runs on the thread; it returns true when the sockets are dropped.
func (d *Door) shrinkStep(n int, first bool, since time.Duration) bool {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	if n >= len(d.sockets) {
		return true // closed, or somebody else was faster
	}
	going := d.sockets[n:]
	if first {
		for _, k := range going {
			k.going = true
		}
		d.change()
		return false
	}
	full := slices.ContainsFunc(going, func(k *socket) bool { return k.waiting() > 0 })
	if since < shrinkMost && d.takers() && (full || since < shrinkLeast) {
		return false
	}
	d.drop(going)
	d.sockets = slices.Clone(d.sockets[:n])
	d.steered = nil
	d.change()
	return true
}

// duplicate makes sockets of files; index is the slot of the first.
func (d *Door) duplicate(files []*os.File, index int) ([]*socket, error) {
	var list []*socket
	for i, f := range files {
		k, err := newSocket(d, f, index+i)
		if err != nil {
			closeSockets(list)
			return nil, err
		}
		list = append(list, k)
	}
	return list, nil
}

// waiting is the length of the kernel's queue, or -1.
func (k *socket) waiting() int {
	n, err := listener.Queue(k.file)
	if err != nil {
		return -1
	}
	return n
}
