package generation

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// dealing are Sockets with a Loop, which balance as is written.
func dealing(t *testing.T) *Sockets {
	t.Helper()
	loop, err := handoff.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	s := sockets(t)
	s.Loop = loop
	s.Balance = func(_ spec.App, l spec.Listener) spec.Balance { return l.Balance }
	return s
}

// slotted is an app of n workers with a socket for each.
func slotted(n int) spec.App {
	app := appWith("web", spec.Listener{Name: "http", Network: "tcp", Address: "127.0.0.1:0", Balance: spec.BalanceSlots})
	app.Workers = n
	return app
}

func mustBind(t *testing.T, s *Sockets, app spec.App) *Listener {
	t.Helper()
	b, err := s.bind(app, app.Listen[0])
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// names are those of listeners in the Store.
func names(s *Sockets) []string {
	list := slices.DeleteFunc(s.Store.List(), func(n string) bool { return !strings.HasPrefix(n, listenPrefix) })
	slices.Sort(list)
	return list
}

// slotNames are the names of a listener with n slots.
func slotNames(app string, l spec.Listener, n int) (list []string) {
	for k := range n {
		list = append(list, slotName(storeName(app, l), k))
	}
	slices.Sort(list)
	return list
}

// connect opens connections, which are closed with the test, and waits until they are
// in the queues.
func connect(t *testing.T, b *Listener, n int) {
	t.Helper()
	want := sum(waiting(t, b)) + n
	for range n {
		c, err := net.Dial("tcp", b.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
	for deadline := time.Now().Add(10 * time.Second); sum(waiting(t, b)) < want; <-time.After(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d connections wait", sum(waiting(t, b)), want)
		}
	}
}

// waiting is how many connections wait in the queues of all slots.
func waiting(t *testing.T, b *Listener) (list []int) {
	t.Helper()
	for k := range b.Inodes() {
		f, _ := b.For(k)
		n, err := listener.Queue(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

func sum(list []int) (all int) {
	for _, n := range list {
		all += n
	}
	return all
}

// Each slot has a socket of its own, kept under its own name; what is released
// leaves nothing.
func TestSlots(t *testing.T) {
	s := dealing(t)
	before := open(t)
	app := slotted(3)
	b := mustBind(t, s, app)
	if got := b.Balance(); got != spec.BalanceSlots || b.Door() == nil {
		t.Errorf("balance %s, door %v", got, b.Door())
	}
	seen := map[uint64]bool{}
	for slot := range 3 {
		f, n := b.For(slot)
		if own, err := listener.Inode(f); err != nil || own != n || b.Slot(slot) != slot {
			t.Errorf("slot %d: inode %d, %v, is %d, seat %d", slot, n, err, own, b.Slot(slot))
		}
		seen[n] = true
	}
	if len(seen) != 3 || len(b.Inodes()) != 3 {
		t.Errorf("%d sockets, %v", len(seen), b.Inodes())
	}
	if got, want := names(s), slotNames("web", app.Listen[0], 3); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	s.Release("web", []*Listener{b})
	if left := names(s); len(left) > 0 || b.Door() != nil {
		t.Errorf("left %q, door %v", left, b.Door())
	}
	if now := open(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	if c, err := net.Dial("tcp", b.Addr); err == nil {
		c.Close()
		t.Error("still listens")
	}
}

// What is not for slots, or not known, or has nobody to deal, is one socket.
func TestBalanceInForce(t *testing.T) {
	dir := t.TempDir()
	for _, tt := range []struct {
		balance spec.Balance
		network string
		loop    bool
		want    spec.Balance
		door    bool
	}{
		{spec.BalanceSlots, "tcp", true, spec.BalanceSlots, true},
		{spec.BalanceSlots, "tcp", false, spec.BalanceShared, false},
		{spec.BalanceSlots, "unix", true, spec.BalanceShared, false},
		{spec.BalanceSlots, "udp", true, spec.BalanceShared, false},
		{spec.BalanceRoundRobin, "tcp", true, spec.BalanceRoundRobin, true},
		{spec.BalanceRoundRobin, "unix", true, spec.BalanceRoundRobin, true},
		{spec.BalanceLeast, "tcp", true, spec.BalanceLeast, true},
		{spec.BalanceLeast, "tcp", false, spec.BalanceShared, false},
		{spec.BalanceShared, "tcp", true, spec.BalanceShared, false},
		{spec.BalanceAuto, "tcp", true, spec.BalanceShared, false},
	} {
		t.Run(fmt.Sprint(tt.balance, tt.network, tt.loop), func(t *testing.T) {
			s := dealing(t)
			if !tt.loop {
				s.Loop = nil
			}
			app := slotted(2)
			l := &app.Listen[0]
			l.Balance, l.Network = tt.balance, tt.network
			if tt.network == "unix" {
				l.Address = dir + "/s"
			}
			b := mustBind(t, s, app)
			defer s.Release("web", []*Listener{b})
			if b.Balance() != tt.want || (b.Door() != nil) != tt.door {
				t.Errorf("%s, door %v", b.Balance(), b.Door())
			}
			if slots := len(b.Inodes()); (slots == 2) != (tt.want == spec.BalanceSlots) {
				t.Errorf("%d sockets", slots)
			}
			if f, _ := b.For(1); f == nil || tt.want != spec.BalanceSlots && b.Slot(1) != 0 {
				t.Error("slot 1 has none")
			}
		})
	}
}

// The pool grows before its workers start, and shrinks when the last of a slot is
// gone: what waits in that queue is not lost when somebody can take it.
func TestGrowAndFit(t *testing.T) {
	s := dealing(t)
	app := slotted(2)
	b := mustBind(t, s, app)
	list := []*Listener{b}
	defer s.Release("web", list)
	first := b.Inodes()
	before := open(t)
	if s.Want(list, 2) {
		t.Error("nothing is in excess")
	}
	if err := s.Grow("web", list, 4); err != nil {
		t.Fatal(err)
	}
	if got := b.Inodes(); len(got) != 4 || !slices.Equal(got[:2], first) {
		t.Errorf("%v, were %v", got, first)
	}
	if got, want := names(s), slotNames("web", app.Listen[0], 4); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	if st := b.Door().Stats(); len(st.Slots) != 4 {
		t.Errorf("the Door has %d slots", len(st.Slots))
	}
	if err := s.Grow("web", list, 3); err != nil || len(b.Inodes()) != 4 {
		t.Errorf("%v, %d sockets", err, len(b.Inodes()))
	}
	connect(t, b, 40)
	if !s.Want(list, 2) || s.Want(list, 2) {
		t.Error("an excess is told once")
	}
	s.Fit(list)
	if got := b.Inodes(); !slices.Equal(got, first) {
		t.Errorf("%v, were %v", got, first)
	}
	if got, want := names(s), slotNames("web", app.Listen[0], 2); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	if st := b.Door().Stats(); len(st.Slots) != 2 {
		t.Errorf("the Door has %d slots", len(st.Slots))
	}
	if now := open(t); now > before+40 {
		t.Errorf("%d descriptors, before %d and 40 clients", now, before)
	}
	at := sum(waiting(t, b))
	connect(t, b, 20)
	if got := sum(waiting(t, b)); got != at+20 {
		t.Errorf("%d of 20 connections came", got-at)
	}
}

// taker accepts for a worker whatever a Door gives it.
type taker struct {
	mu    sync.Mutex
	seat  *handoff.Seat
	taken int
}

// Give implements handoff.Receiver.
func (r *taker) Give(id int64, _ int) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken++
	seat := r.seat
	go seat.Answer(id, true)
	return nil
}

// Ping implements handoff.Receiver.
func (r *taker) Ping() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seat.Alive()
	return nil
}

func (r *taker) count() int { r.mu.Lock(); defer r.mu.Unlock(); return r.taken }

// What waits in a queue that goes is given to a worker of another slot.
func TestFitGivesWhatWaits(t *testing.T) {
	s := dealing(t)
	b := mustBind(t, s, slotted(2))
	list := []*Listener{b}
	defer s.Release("web", list)
	connect(t, b, 40)
	atHome := waiting(t, b)[0]
	r := &taker{}
	r.mu.Lock()
	r.seat = b.Door().Join(0, r)
	r.mu.Unlock()
	s.Want(list, 1)
	s.Fit(list)
	deadline := time.Now().Add(5 * time.Second)
	for r.count() < 40-atHome && time.Now().Before(deadline) {
		<-time.After(time.Millisecond)
	}
	if got := r.count(); got != 40-atHome {
		t.Errorf("%d of %d were given to the other worker", got, 40-atHome)
	}
}

// Scaling up and down at once ends as large as was wanted last, with every socket
// that a worker may have.
func TestGrowAndFitAtOnce(t *testing.T) {
	s := dealing(t)
	b := mustBind(t, s, slotted(1))
	list := []*Listener{b}
	defer s.Release("web", list)
	var fits sync.WaitGroup
	for range 3 {
		for _, n := range []int{4, 1, 3, 2} {
			if err := s.Grow("web", list, n); err != nil {
				t.Fatal(err)
			}
			if got := len(b.Inodes()); got < n {
				t.Fatalf("%d sockets for %d workers", got, n)
			}
			if s.Want(list, n) {
				fits.Go(func() { s.Fit(list) })
			}
		}
	}
	fits.Wait()
	s.Fit(list)
	if got := len(b.Inodes()); got != 2 || len(names(s)) != 2 {
		t.Errorf("%d sockets, kept %q", got, names(s))
	}
}

// A Store that is full refuses the new sockets, and the group is as it was.
func TestGrowIsAllOrNothing(t *testing.T) {
	s := dealing(t)
	b := mustBind(t, s, slotted(2))
	list := []*Listener{b}
	before, kept := open(t), names(s)
	full := &fullAfter{Store: s.Store, left: 1}
	s.Store = full
	err := s.Grow("web", list, 5)
	if f := code(t, err, fault.Bind); f.Where != "web" {
		t.Errorf("%v", f)
	}
	if now := open(t); now != before || len(b.Inodes()) != 2 || !slices.Equal(names(s), kept) {
		t.Errorf("%d descriptors (%d), %d sockets, kept %q", now, before, len(b.Inodes()), names(s))
	}
	if f, _ := b.For(4); f == nil || b.Slot(4) != 0 || b.Slot(3) != 1 {
		t.Error("a worker without a socket of its own shares one")
	}
	full.left = 9
	if err := s.Grow("web", list, 5); err != nil || len(b.Inodes()) != 5 {
		t.Errorf("%v, %d sockets", err, len(b.Inodes()))
	}
	s.Release("web", list)
}

// fullAfter is a Store with room for a few more.
type fullAfter struct {
	process.Store
	left int
}

// Put implements process.Store.
func (s *fullAfter) Put(name string, f *os.File) error {
	if s.left--; s.left < 0 {
		return unix.EMFILE
	}
	return s.Store.Put(name, f)
}

// A group that cannot be bound is a fault of its app, and leaves nothing.
func TestSlotsOfAPortInUse(t *testing.T) {
	s := dealing(t)
	held := mustBind(t, s, slotted(1))
	defer s.Release("web", []*Listener{held})
	app := slotted(2)
	app.Name, app.Listen[0].Address = "other", held.Addr
	before := open(t)
	f := s.Prebind([]spec.App{app})
	if f == nil || f.Code != fault.PortInUse || f.Where != "other" && !strings.Contains(f.Error(), "by pid") {
		t.Errorf("%v", f)
	}
	if now := open(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}

// An address that moves to another app brings its sockets, its queues and its way
// to balance, and grows under both names.
func TestSlotsMove(t *testing.T) {
	s := dealing(t)
	app := slotted(2)
	l := &app.Listen[0]
	l.Address = freePort(t)
	was := mustBind(t, s, app)
	connect(t, was, 5)
	next := slotted(3)
	next.Name, next.Listen[0] = "next", *l
	next.Listen[0].Balance = spec.BalanceShared
	now := mustBind(t, s, next)
	if now.Balance() != spec.BalanceSlots || now.Door() != was.Door() || len(now.Inodes()) != 3 {
		t.Errorf("%s, %d sockets", now.Balance(), len(now.Inodes()))
	}
	if got := len(names(s)); got != 6 {
		t.Errorf("%d names: %q", got, names(s))
	}
	s.Want([]*Listener{now}, 1)
	s.Fit([]*Listener{now}) // the other app still has workers
	if got := len(now.Inodes()); got != 3 {
		t.Errorf("%d sockets", got)
	}
	s.Release("web", []*Listener{was})
	if got, want := names(s), slotNames("next", *l, 3); !slices.Equal(got, want) {
		t.Errorf("kept %q, want %q", got, want)
	}
	if got := sum(waiting(t, now)); got != 5 {
		t.Errorf("%d of 5 connections wait", got)
	}
	s.Release("next", []*Listener{now})
}

// freePort is an address that nobody has.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// The generations of an app have the one Door; what a reload changes in the
// declaration is not in force before the app was stopped.
func TestBalanceIsFixed(t *testing.T) {
	s := dealing(t)
	app := slotted(2)
	rel := Release{Name: "r1", App: app, Dir: "/"}
	first := prepare(t, Prepare{Sockets: s, Number: 1, Release: rel})
	rel.App.Listen = slices.Clone(app.Listen)
	rel.App.Listen[0].Balance, rel.App.Workers = spec.BalanceShared, 4
	second := prepare(t, Prepare{Sockets: s, Number: 2, Release: rel, Have: first.Listeners})
	a, b := first.Listeners[0], second.Listeners[0]
	if b.Balance() != spec.BalanceSlots || a.Door() != b.Door() || len(a.Inodes()) != 4 || len(b.Inodes()) != 4 {
		t.Errorf("%s, %d and %d sockets", b.Balance(), len(a.Inodes()), len(b.Inodes()))
	}
	s.Release("web", second.Listeners)
}

// A worker that does not take its connections is told of, with its slot.
func TestBlockedIsTold(t *testing.T) {
	s := dealing(t)
	told := make(chan *fault.Fault, 8)
	s.Warn = func(app string, slot int, f *fault.Fault, over bool) {
		if app != "web" || slot != 1 || over {
			t.Errorf("told of %s#%d: %v, %v", app, slot, f, over)
		}
		told <- f
	}
	b := mustBind(t, s, slotted(2))
	defer s.Release("web", []*Listener{b})
	b.Door().Join(1, nil) // and never accepts
	for range 100 {       // until slot 1 gets one: it alone is live, once that is steered
		connect(t, b, 1)
		if waiting(t, b)[1] > 0 {
			break
		}
	}
	select {
	case f := <-told:
		if f.Code != fault.Blocked || !strings.Contains(f.Text, "tcp://127.0.0.1:0") {
			t.Errorf("%v", f)
		}
	case <-time.After(10 * time.Second):
		t.Error("nobody was told")
	}
}
