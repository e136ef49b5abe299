package generation

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// sockets are Sockets over the operating system.
func sockets(t *testing.T) *Sockets {
	t.Helper()
	store := process.NewDirectStore()
	t.Cleanup(func() { store.Close() })
	s := &Sockets{Store: store, Bind: listener.Bind}
	t.Cleanup(s.Close) // what a test leaves bound is not counted in the next one
	return s
}

func unixAt(t *testing.T, name string) spec.Listener {
	t.Helper()
	return spec.Listener{Name: "http", Network: "unix", Address: filepath.Join(t.TempDir(), name), Mode: 0o600}
}

func appWith(name string, listen ...spec.Listener) spec.App {
	app := spec.DefaultApp(name)
	app.Listen = listen
	return app
}

// file is what the worker of slot 0 inherits.
func file(b *Listener) *os.File { f, _ := b.For(0); return f }

func inode(b *Listener) uint64 { _, n := b.For(0); return n }

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// open counts the descriptors of this process, once their number rests: the thread
// of a Loop has some for a moment only.
func open(t *testing.T) (n int) {
	t.Helper()
	for last, same := -1, 0; same < 5; {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		if n = len(list); n != last {
			last, same = n, 0
		}
		same++
		<-time.After(2 * time.Millisecond)
	}
	return n
}

func TestPrebindIsAllOrNothing(t *testing.T) {
	s := sockets(t)
	one, two := unixAt(t, "one"), unixAt(t, "two")
	bad := spec.Listener{Name: "bad", Network: "unix", Address: filepath.Join(t.TempDir(), "no", "such", "dir")}
	before := open(t)
	f := s.Prebind([]spec.App{appWith("a", one), appWith("b", two, bad)})
	if f == nil || f.Where != "b" {
		t.Fatalf("%v", f)
	}
	if left := s.Store.List(); len(left) != 0 {
		t.Errorf("kept %v", left)
	}
	if exists(one.Address) || exists(two.Address) {
		t.Error("a socket stayed bound")
	}
	if now := open(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}

// What was bound in advance is the socket that the generation gets; what none
// took is closed.
func TestPreboundIsTaken(t *testing.T) {
	s := sockets(t)
	taken, left := unixAt(t, "taken"), unixAt(t, "left")
	if f := s.Prebind([]spec.App{appWith("web", taken), appWith("other", left)}); f != nil {
		t.Fatal(f)
	}
	s.Bind = func(spec.Listener) (*os.File, error) { return nil, fault.New(fault.PortInUse, "bound twice") }
	gen := prepare(t, Prepare{Sockets: s, Number: 1, Release: release("/", taken)})
	s.DropPrebound(none)
	if got := s.Store.List(); !slices.Equal(got, []string{storeName("web", taken)}) {
		t.Errorf("kept %v", got)
	}
	if exists(left.Address) || !exists(taken.Address) {
		t.Error("the wrong one was dropped")
	}
	// What the Store has is not bound again.
	if f := s.Prebind([]spec.App{appWith("web", taken)}); f != nil {
		t.Error(f)
	}
	s.Release("web", gen.Listeners)
}

// A socket that moves to another app is the same descriptor, so that its
// backlog is kept, and lives as long as one of the two holds it.
func TestSocketMoves(t *testing.T) {
	s := sockets(t)
	l := unixAt(t, "s")
	was, err := s.bind(appWith("old"), l)
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.bind(appWith("new"), l)
	if err != nil {
		t.Fatal(err)
	}
	if file(now) != file(was) || inode(now) != inode(was) {
		t.Errorf("another socket: %+v %+v", was, now)
	}
	s.Release("old", []*Listener{was})
	if !exists(l.Address) {
		t.Error("unlinked while an app has it")
	}
	if _, err := file(now).SyscallConn(); err != nil {
		t.Errorf("closed while an app has it: %v", err)
	}
	s.Release("new", []*Listener{now})
	if exists(l.Address) || len(s.Store.List()) != 0 {
		t.Error("left behind")
	}
}

// A port chosen by the system is never the same.
func TestPortZeroIsNotShared(t *testing.T) {
	s := sockets(t)
	l := spec.Listener{Name: "http", Network: "tcp", Address: "127.0.0.1:0"}
	one, err := s.bind(appWith("one"), l)
	if err != nil {
		t.Fatal(err)
	}
	two, err := s.bind(appWith("two"), l)
	if err != nil {
		t.Fatal(err)
	}
	if one.Addr == two.Addr || inode(one) == inode(two) {
		t.Errorf("%s and %s", one.Addr, two.Addr)
	}
	s.Release("one", []*Listener{one})
	s.Release("two", []*Listener{two})
}

// Nothing stays open after bind and release, nor after a Store that refuses.
func TestReleaseLeavesNoDescriptor(t *testing.T) {
	s := sockets(t)
	l := unixAt(t, "s")
	b, err := s.bind(appWith("web"), l) // the runtime's poller is open from here on
	if err != nil {
		t.Fatal(err)
	}
	s.Release("web", []*Listener{b})
	before := open(t)
	if b, err = s.bind(appWith("web"), l); err != nil {
		t.Fatal(err)
	}
	s.Release("web", []*Listener{b})
	s.Store = refusing{s.Store}
	if _, err := s.bind(appWith("web"), l); fault.From(err).Code != fault.Bind {
		t.Errorf("%v", err)
	}
	if now := open(t); now != before || exists(l.Address) {
		t.Errorf("%d descriptors, before %d", now, before)
	}
}

// refusing is a Store that is full.
type refusing struct{ process.Store }

// Put implements process.Store.
func (refusing) Put(string, *os.File) error { return syscall.EMFILE }

// The bar, 12: a worker's own sockets belong to its user.
func TestUnixSocketsBelongToTheAppsUser(t *testing.T) {
	written := spec.Listener{Network: "unix", Address: "/b", Owner: "root"}
	app := appWith("web", spec.Listener{Network: "unix", Address: "/a"}, written, spec.Listener{Network: "tcp", Address: ":1"})
	app.User = "www-data"
	var owners []string
	for _, l := range owned(app) {
		owners = append(owners, l.Owner)
	}
	if want := []string{"www-data", "root", ""}; !slices.Equal(owners, want) {
		t.Errorf("%q, want %q", owners, want)
	}
	if app.Listen[0].Owner != "" {
		t.Error("the declaration was changed")
	}
}

// Who of the project has an address that is in use is said, with what to do.
func TestAddressOfTheProject(t *testing.T) {
	for name, want := range map[string]string{
		"asked/web/tcp://:8000": "muster stop web", "asked/api/tcp://:8000": "the app api has it",
		"listen/api/tcp://127.0.0.1:8000": "the app api has it", "asked/web/tcp://:8001": "stop that process",
	} {
		s := sockets(t)
		s.Bind = func(spec.Listener) (*os.File, error) { return nil, fault.New(fault.PortInUse, "taken") }
		if err := s.Store.Put(name, os.Stdin); err != nil {
			t.Fatal(err)
		}
		f := s.Prebind([]spec.App{appWith("web", spec.Listener{Name: "http", Network: "tcp", Address: "0.0.0.0:8000"})})
		if f == nil || f.Code != fault.PortInUse || !strings.Contains(f.Fix, want) {
			t.Errorf("%s: %v, fix %q", name, f, f.Fix)
		}
	}
}
