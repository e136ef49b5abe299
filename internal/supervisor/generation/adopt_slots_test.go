package generation

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// after is what a successor with a Loop of its own has.
func after(t *testing.T, s *Sockets) *Sockets {
	t.Helper()
	s.Leave()
	s.Close()
	next := dealing(t)
	next.Store, next.Bind = s.Store, nil
	return next
}

// A successor has the same sockets in the same order, with what waits in them, and
// deals from there on.
func TestRestoreSlots(t *testing.T) {
	s := dealing(t)
	b := mustBind(t, s, slotted(3))
	connect(t, b, 30)
	was, inodes, queues := b.Record(), b.Inodes(), waiting(t, b)
	if was.Slots != 3 || was.Balance != spec.BalanceSlots {
		t.Errorf("%+v", was)
	}
	next := after(t, s)
	list, faults := next.Restore("web", []record.Listener{was})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	again := list[0]
	if !slices.Equal(again.Inodes(), inodes) || !slices.Equal(waiting(t, again), queues) {
		t.Errorf("%v %v, were %v %v", again.Inodes(), waiting(t, again), inodes, queues)
	}
	if again.Balance() != spec.BalanceSlots || len(again.Door().Stats().Slots) != 3 || again.Record() != was {
		t.Errorf("%+v", again.Record())
	}
	for k := range inodes {
		f, _ := again.For(k)
		if err := f.SetDeadline(time.Now()); err == nil {
			t.Errorf("the poller watches slot %d", k)
		}
	}
	next.KeepRest(none)
	next.Release("web", list)
	if left := names(next); len(left) > 0 {
		t.Errorf("left %q", left)
	}
}

// An agent that died while the group grew or shrank leaves more or fewer sockets
// than its record says; those that listen are taken over, and those that lack made.
func TestRestoreSlotsHalfWay(t *testing.T) {
	for _, recorded := range []int{2, 3, 5} {
		s := dealing(t)
		b := mustBind(t, s, slotted(3))
		was := b.Record()
		was.Slots = recorded
		next := after(t, s)
		list, faults := next.Restore("web", []record.Listener{was})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		if got, want := len(list[0].Inodes()), max(3, recorded); got != want || len(names(next)) != want {
			t.Errorf("recorded %d: %d sockets, kept %q", recorded, got, names(next))
		}
		next.Release("web", list)
	}
}

// A record of an earlier version knows no balance: one socket, that all workers have.
func TestRestoreFromBefore(t *testing.T) {
	s := dealing(t)
	app := slotted(2)
	app.Listen[0].Balance = spec.BalanceShared
	was := mustBind(t, s, app).Record()
	was.Balance = ""
	next := after(t, s)
	list, faults := next.Restore("web", []record.Listener{was})
	if len(faults) > 0 || list[0].Balance() != spec.BalanceShared || list[0].Door() != nil {
		t.Errorf("%v %s", faults, list[0].Balance())
	}
	next.Release("web", list)
}

// What was bound and is in no record is one address again, however many sockets.
func TestKeepRestOfSlots(t *testing.T) {
	s := dealing(t)
	app := slotted(3)
	app.Listen[0].Address = freePort(t)
	was := mustBind(t, s, app)
	inodes := was.Inodes()
	next := after(t, s)
	next.KeepRest(func(string) bool { return true })
	b := mustBind(t, next, app)
	if !slices.Equal(b.Inodes(), inodes) || b.Balance() != spec.BalanceSlots || b.Door() == nil {
		t.Errorf("%v %s, were %v", b.Inodes(), b.Balance(), inodes)
	}
	next = after(t, next)
	before := open(t)
	next.KeepRest(none)
	if now := open(t); now != before-3 || len(names(next)) > 0 {
		t.Errorf("%d descriptors, before %d; kept %q", now, before, names(next))
	}
}

// A path may look like the name of a slot, and is none.
func TestNamesOfSlots(t *testing.T) {
	for name, first := range map[string]bool{
		storeName("web", spec.Listener{Network: "tcp", Address: ":1"}):                  true,
		slotName(storeName("web", spec.Listener{Network: "tcp", Address: ":1"}), 1):     false,
		slotName(storeName("web", spec.Listener{Network: "tcp4", Address: ":1"}), 12):   false,
		storeName("web", spec.Listener{Network: "unix", Address: "/tmp/a#1"}):           true,
		storeName("web", spec.Listener{Network: "unix", Address: "/tcp://:8000#1/a#2"}): true,
	} {
		if got := isFirst(name); got != first {
			t.Errorf("%s: %v", name, got)
		}
	}
}
