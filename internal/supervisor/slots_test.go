package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/spec"
)

// street is a Supervisor with real sockets over processes that are not: what they
// inherit can be looked at.
type street struct {
	*world
	loop *handoff.Loop
	seen int // commands that inherited has looked at
}

func newStreet(t *testing.T) *street {
	t.Helper()
	s := &street{world: &world{
		T: t, fake: processtest.NewFake(), store: process.NewDirectStore(), dir: t.TempDir(),
		accepts: listener.Yes, notify: map[string]*fakeNotify{},
	}}
	s.begin()
	t.Cleanup(func() {
		if err := s.sup.Shutdown(context.Background(), false); err != nil {
			t.Error(err)
		}
		s.loop.Close()
		s.noneLeft()
		s.store.Close()
	})
	return s
}

// begin makes a Supervisor, as each agent does.
func (s *street) begin() {
	s.Helper()
	loop, err := handoff.NewLoop()
	if err != nil {
		s.Fatal(err)
	}
	s.loop, s.hub, s.life = loop, &event.Hub{}, s.fake.Connect(s.store)
	s.sup, err = New(Options{
		Project: "test", Node: "here", Starter: s.life, Store: s.life.Store(), Loop: loop,
		Events: s.hub, LogDir: s.dir + "/log", RunDir: s.dir, sys: s.sys(), usage: s.usage,
	})
	if err != nil {
		s.Fatal(err)
	}
}

// renew kills the agent and lets another one go on.
func (s *street) renew() {
	s.Helper()
	s.life.Cut()
	s.sup.Leave()
	s.loop.Close()
	s.begin()
}

func (s *street) ok(out api.Outcome) {
	s.Helper()
	if f := out.Fault(); f != nil {
		s.Fatal(f)
	}
}

// inherited are the sockets that the workers started since it was asked last have
// got, by slot.
func (s *street) inherited() map[string]uint64 {
	s.Helper()
	found := map[string]uint64{}
	all := s.fake.Commands()
	for _, c := range all[s.seen:] {
		inode, err := listener.Inode(c.Files[0].File)
		if err != nil {
			s.Fatal(err)
		}
		for _, v := range c.Env {
			if slot, ok := strings.CutPrefix(v, "MUSTER_WORKER="); ok {
				found[slot] = inode
			}
		}
	}
	s.seen = len(all)
	return found
}

// kept waits until the Store has as many sockets.
func (s *street) kept(want int) {
	s.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for len(listening(s.world)) != want && time.Now().Before(deadline) {
		<-time.After(5 * time.Millisecond)
	}
	if got := listening(s.world); len(got) != want {
		s.Fatalf("%d sockets, want %d: %q", len(got), want, got)
	}
}

// A balance that cannot take effect yet is told of, once, and until it is taken back.
func TestChangedBalance(t *testing.T) {
	s := newStreet(t)
	address := free(t)
	apply := func(balance spec.Balance, own spec.Balance) []fault.Fault {
		web := app("web", 1, func(a *spec.App) {
			a.Balance, a.Listen[0].Address, a.Listen[0].Balance = balance, address, own
			a.Stop.Timeout = spec.Duration(2 * time.Second)
		})
		if r := s.sup.Apply(t.Context(), specOf(web)); r.Fault() != nil {
			t.Fatal(r.Fault())
		}
		return s.sup.Snapshot()[0].Warnings
	}
	if w := apply(spec.BalanceSlots, ""); len(w) > 0 {
		t.Fatal(w)
	}
	if w := apply(spec.BalanceSlots, spec.BalanceSlots); len(w) > 0 {
		t.Error(w)
	}
	w := apply(spec.BalanceSlots, spec.BalanceShared)
	if len(w) != 1 || w[0].Code != fault.BalanceKept || !strings.Contains(w[0].Text, "balance slots") ||
		!strings.Contains(w[0].Fix, "muster stop web && muster start web") {
		t.Fatal(w)
	}
	s.ok(s.sup.Reload(t.Context(), api.Order{Selector: "web"}))
	n := 0
	for _, e := range s.hub.Past() {
		if _, ok := e.Data.(event.Warning); ok {
			n++
		}
	}
	if n != 1 {
		t.Errorf("warned %d times", n)
	}
	s.ok(s.sup.Stop(t.Context(), api.Order{Selector: "web"}))
	if w := s.sup.Snapshot()[0].Warnings; len(w) > 0 {
		t.Errorf("stopped, and warns %v", w)
	}
	s.ok(s.sup.Start(t.Context(), api.Order{Selector: "web"}))
	s.ok(s.sup.Reload(t.Context(), api.Order{Selector: "web"}))
	if w := s.sup.Snapshot()[0].Warnings; len(w) > 0 {
		t.Errorf("%v", w)
	}
	if w := apply(spec.BalanceSlots, spec.BalanceSlots); len(w) != 1 || !strings.Contains(w[0].Text, "balance shared") {
		t.Error(w)
	}
	if w := apply(spec.BalanceSlots, spec.BalanceShared); len(w) > 0 {
		t.Error(w)
	}
}

// Each slot keeps its socket over restarts, reloads and agents; there are as many as
// workers, before these start and until they are gone.
func TestSlotsOfAPool(t *testing.T) {
	s := newStreet(t)
	web := app("web", 2, func(a *spec.App) {
		a.Balance, a.Listen[0].Address = spec.BalanceSlots, free(t)
		a.Stop.Timeout = spec.Duration(2 * time.Second)
	})
	if r := s.sup.Apply(t.Context(), specOf(web)); r.Fault() != nil {
		t.Fatal(r.Fault())
	}
	first := s.inherited()
	if len(first) != 2 || first["0"] == first["1"] {
		t.Fatalf("%v", first)
	}
	s.ok(s.sup.Scale(t.Context(), scaleTo("web", 4)))
	more := s.inherited()
	s.kept(4)
	if len(more) != 2 || more["2"] == more["3"] || more["2"] == first["0"] {
		t.Errorf("%v beside %v", more, first)
	}
	s.renew()
	s.ok(s.sup.Reload(t.Context(), api.Order{Selector: "web"}))
	for slot, inode := range s.inherited() {
		if inode != first[slot] && inode != more[slot] {
			t.Errorf("slot %s has socket %d, had %d %d", slot, inode, first[slot], more[slot])
		}
	}
	s.ok(s.sup.Scale(t.Context(), scaleTo("web", 1)))
	s.kept(1)
	if c, err := net.Dial("tcp", web.Listen[0].Address); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	s.renew()
	s.ok(s.sup.Scale(t.Context(), scaleTo("web", 3)))
	s.kept(3)
	if again := s.inherited(); again["1"] == first["1"] || again["1"] == again["2"] {
		t.Errorf("%v, were %v", again, first)
	}
}

// A worker that is scaled away takes the connections that wait for it before it is
// told to end; new ones go elsewhere meanwhile.
func TestScaledAwayTakesWhatWaits(t *testing.T) {
	s := newStreet(t)
	web := app("web", 2, func(a *spec.App) {
		a.Balance, a.Listen[0].Address = spec.BalanceSlots, free(t)
		a.Stop.Timeout = spec.Duration(8 * time.Second)
	})
	if r := s.sup.Apply(t.Context(), specOf(web)); r.Fault() != nil {
		t.Fatal(r.Fault())
	}
	file := s.socketOf(1)
	defer file.Close()
	for waits(t, file) < 6 {
		c, err := net.Dial("tcp", web.Listen[0].Address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	waited := make(chan int, 8)
	s.fake.OnSignal(func(string, syscall.Signal) bool { waited <- waits(t, file); return false })
	done := make(chan struct{})
	go func() { // a slow worker: longer than muster waits for one with nothing to do
		defer close(done)
		for range 6 {
			<-time.After(60 * time.Millisecond)
			acceptOne(t, file)
		}
	}()
	s.ok(s.sup.Scale(t.Context(), scaleTo("web", 1)))
	if n := <-waited; n != 0 {
		t.Errorf("told to end while %d connections wait for it", n)
	}
	<-done
	s.fake.OnSignal(nil)
	s.kept(1)
}

// socketOf is the socket that the worker of a slot has inherited.
func (s *street) socketOf(slot int) *os.File {
	s.Helper()
	for _, c := range s.fake.Commands() {
		if !slices.Contains(c.Env, fmt.Sprintf("MUSTER_WORKER=%d", slot)) {
			continue
		}
		file, err := listener.Unpolled(c.Files[0].File)
		if err != nil {
			s.Fatal(err)
		}
		return file
	}
	s.Fatalf("no worker of slot %d", slot)
	return nil
}

func waits(t *testing.T, f *os.File) int {
	n, err := listener.Queue(f)
	if err != nil {
		t.Error(err)
	}
	return n
}

// acceptOne takes a connection from a queue and ends it.
func acceptOne(t *testing.T, f *os.File) {
	raw, err := f.SyscallConn()
	if err != nil {
		t.Error(err)
		return
	}
	_ = raw.Control(func(fd uintptr) {
		conn, _, err := syscall.Accept4(int(fd), syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
		if err != nil {
			t.Error(err)
			return
		}
		syscall.Close(conn)
	})
}

// free is an address that nobody has.
func free(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
