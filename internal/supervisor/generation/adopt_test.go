package generation

import (
	"net"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// successor has what an earlier agent's Sockets left in the Store.
func successor(t *testing.T, s *Sockets) *Sockets {
	t.Helper()
	s.Leave()
	s.Close()
	next := &Sockets{Store: s.Store, Bind: func(spec.Listener) (*os.File, error) {
		return nil, fault.New(fault.PortInUse, "bound twice")
	}}
	t.Cleanup(next.Close)
	return next
}

func flags(t *testing.T, f *os.File) int {
	t.Helper()
	n, err := unix.FcntlInt(rawFD(t, f), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A generation that is restored has the same sockets, and their backlog; the mode
// that workers have given them stays, and the poller does not watch them.
func TestRestoreListeners(t *testing.T) {
	s := sockets(t)
	l := unixAt(t, "s")
	gen := prepare(t, Prepare{Sockets: s, Number: 3, Release: release("/", l)})
	gen.Settled()
	if err := unix.SetNonblock(int(rawFD(t, file(gen.Listeners[0]))), true); err != nil {
		t.Fatal(err)
	}
	var a Archive
	a.Begin()
	rec := record.Pool{Generations: a.Generations(map[int]*Generation{3: gen})}
	records := process.Records{Store: s.Store}
	if err := a.Save(records, "web"); err != nil {
		t.Fatal(err)
	}
	rec.Keys = a.Last()
	next := successor(t, s)
	waits, err := net.Dial("unix", l.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer waits.Close()
	var b Archive
	past, err := b.Load(records, next, "web", rec)
	if err != nil || len(past.Faults) > 0 {
		t.Fatal(err, past.Faults)
	}
	again := past.Generations[3]
	if again.Number != 3 || again.Release.Name != "r1" || again.Release.Dir != gen.Release.Dir || len(again.Fresh()) != 0 {
		t.Errorf("%+v", again)
	}
	if !slices.Equal(again.Release.Environ, gen.Release.Environ) || len(spec.DiffApp(again.Release.App, gen.Release.App)) > 0 {
		t.Errorf("another release: %+v", again.Release)
	}
	kept := again.Listeners[0]
	if inode(kept) != inode(gen.Listeners[0]) || kept.Addr != gen.Listeners[0].Addr {
		t.Errorf("%+v, was %+v", kept, gen.Listeners[0])
	}
	if flags(t, file(kept))&unix.O_NONBLOCK == 0 {
		t.Error("the mode was changed")
	}
	if err := file(kept).SetDeadline(time.Now()); err == nil {
		t.Error("the poller watches it")
	}
	fd, _, err := unix.Accept(int(rawFD(t, file(kept))))
	if err != nil {
		t.Fatalf("the backlog is lost: %v", err)
	}
	unix.Close(fd)
	next.Release("web", again.Listeners)
	if exists(l.Address) || slices.ContainsFunc(next.Store.List(), func(n string) bool { return n[0] == 'l' }) {
		t.Errorf("left behind: %q", next.Store.List())
	}
}

// What two apps share stays one file; what is lost, or another socket, is told.
func TestRestoreSharedAndLost(t *testing.T) {
	s := sockets(t)
	l := unixAt(t, "s")
	one, err := s.bind(appWith("one"), l)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.bind(appWith("two"), l); err != nil {
		t.Fatal(err)
	}
	was := one.Record()
	next := successor(t, s)
	a, faults := next.Restore("one", []record.Listener{was})
	b, more := next.Restore("two", []record.Listener{was})
	if len(faults)+len(more) > 0 || file(a[0]) != file(b[0]) {
		t.Fatalf("%v %v, %p %p", faults, more, file(a[0]), file(b[0]))
	}
	next.Release("one", a)
	if !exists(l.Address) {
		t.Error("unlinked while an app has it")
	}
	other := was
	other.Inode++
	if _, faults := next.Restore("two", []record.Listener{other}); len(faults) != 1 || faults[0].Where != "two" {
		t.Errorf("%v", faults)
	}
	next.Release("two", b)
	if exists(l.Address) {
		t.Error("left behind")
	}
	if lost, faults := next.Restore("two", []record.Listener{was}); len(faults) != 1 || file(lost[0]) != nil {
		t.Errorf("%v %v", lost, faults)
	}
}

// What was bound and is in no record is used by what is still to start, else closed.
func TestKeepRest(t *testing.T) {
	s := sockets(t)
	used, unused := unixAt(t, "used"), unixAt(t, "unused")
	was, err := s.bind(appWith("web"), used)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.bind(appWith("old"), unused); err != nil {
		t.Fatal(err)
	}
	before := open(t)
	next := successor(t, s)
	next.KeepRest(func(app string) bool { return app == "web" })
	if exists(unused.Address) || !exists(used.Address) {
		t.Error("the wrong one was closed")
	}
	gen := prepare(t, Prepare{Sockets: next, Number: 1, Release: release("/", used)})
	if b := gen.Listeners[0]; inode(b) != inode(was) || b.Spec.Mode != used.Mode || len(gen.Fresh()) != 1 {
		t.Errorf("%+v", b)
	}
	next.DropPrebound(none)
	if !exists(used.Address) {
		t.Error("closed what a generation uses")
	}
	next.Release("web", gen.Listeners)
	if now := open(t); now != before-4 {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}

// rawFD is the descriptor of a file, whose mode is left alone.
func rawFD(t *testing.T, f *os.File) (n uintptr) {
	t.Helper()
	raw, err := f.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { n = fd })
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}
