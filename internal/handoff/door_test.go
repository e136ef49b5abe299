package handoff

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

// roundRobin is a door with one socket.
func roundRobin(t testing.TB, o DoorOptions) (*Loop, *Door, *os.File) {
	t.Helper()
	noLeak(t)
	files := sockets(t, 1, 4096)
	l := loop(t)
	if o.Policy == "" {
		o.Policy = spec.BalanceRoundRobin
	}
	o.Sockets = files
	return l, open(t, l, o), files[0]
}

// The worker that has been idle longest is next.
func TestRoundRobinTurns(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	for i := range 3 {
		employ(t, l, fmt.Sprint("w", i)).join(d, i)
	}
	for i := range 12 {
		if got := served(t, dial(t, f), 20*time.Second); got != fmt.Sprint("w", i%3) {
			t.Fatalf("connection %d was served by %q", i, got)
		}
		eventually(t, "an answer", func() bool { return d.Stats().Dealt == uint64(i+1) })
	}
	if st := d.Stats(); st.Accepted != 12 || st.Again+st.Refused+st.Unknown > 0 || st.InHand+st.UnderWay != 0 {
		t.Errorf("%+v", st)
	}
}

// While nobody is free connections wait in the kernel; each worker has a window.
func TestNobodyFree(t *testing.T) {
	for _, window := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			l, d, f := roundRobin(t, DoorOptions{Window: window})
			var clients []*net.TCPConn
			for range 10 {
				clients = append(clients, dial(t, f))
			}
			pass(20 * time.Millisecond)
			if st := d.Stats(); st.Accepted != 0 {
				t.Errorf("accepted for nobody: %+v", st)
			}
			w := employ(t, l, "late")
			w.gate.Lock()
			w.join(d, 0)
			eventually(t, "a full window", func() bool { return d.Stats().UnderWay == max(1, window) })
			pass(20 * time.Millisecond)
			if st := d.Stats(); st.Accepted != uint64(max(1, window)) {
				t.Errorf("more than the window was accepted: %+v", st)
			}
			w.gate.Unlock()
			for _, c := range clients {
				if got := served(t, c, 20*time.Second); got != "late" {
					t.Errorf("served by %q", got)
				}
			}
		})
	}
}

// Who has the fewest connections is next.
func TestLeastConnections(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{Policy: spec.BalanceLeast})
	var list []*worker
	for i := range 3 {
		list = append(list, employ(t, l, fmt.Sprint("w", i)).join(d, i))
	}
	for i, open := range []int{5, 2, 9} {
		list[i].seat.Load(open)
	}
	var names []string
	for i := range 4 { // 2, 3, 4 open, then both have 5
		names = append(names, served(t, dial(t, f), 20*time.Second))
		eventually(t, "an answer", func() bool { return d.Stats().Dealt == uint64(i+1) })
	}
	if fmt.Sprint(names) != "[w1 w1 w1 w0]" {
		t.Errorf("%v", names)
	}
	list[2].seat.Load(0)
	if got := served(t, dial(t, f), 20*time.Second); got != "w2" {
		t.Errorf("then %q", got)
	}
}

// What one refuses, does not receive or never answers goes to another one.
func TestNextWorker(t *testing.T) {
	for name, mood := range map[string]int32{"refused": refuses, "lost": nacks, "died": ignores} {
		t.Run(name, func(t *testing.T) {
			l, d, f := roundRobin(t, DoorOptions{})
			bad := employ(t, l, "bad").join(d, 0)
			bad.mood.Store(mood)
			c := dial(t, f)
			eventually(t, "an offer", func() bool { return d.Stats().Accepted == 1 })
			if mood == ignores {
				bad.die()
			}
			eventually(t, "back in hand", func() bool { return d.Stats().Refused+d.Stats().Again > 0 })
			employ(t, l, "good").join(d, 1)
			if got := served(t, c, 20*time.Second); got != "good" {
				t.Errorf("served by %q", got)
			}
			eventually(t, "the answer", func() bool { return d.Stats().Dealt == 1 })
		})
	}
}

// A connection that all refuse costs next to nothing, and is taken as soon as
// somebody has room.
func TestAllRefuse(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	var list []*worker
	for i := range 4 {
		w := employ(t, l, fmt.Sprint("w", i))
		w.mood.Store(refuses)
		list = append(list, w.join(d, i))
	}
	var clients []*net.TCPConn
	for range 8 {
		clients = append(clients, dial(t, f))
	}
	eventually(t, "refusals", func() bool { return d.Stats().Refused >= 16 })
	before, refused := l.processor(t), d.Stats().Refused
	pass(time.Second)
	used, asked := l.processor(t)-before, d.Stats().Refused-refused
	t.Logf("%v of a processor in 1 s, %d offers", used, asked)
	if used > 30*time.Millisecond || asked > 60 {
		t.Errorf("%v of a processor in 1 s, %d offers", used, asked)
	}
	for _, w := range list {
		w.mood.Store(takes)
	}
	list[2].seat.Load(0) // asked at once
	for _, c := range clients {
		if served(t, c, 20*time.Second) == "" {
			t.Error("not served")
		}
	}
}

// A worker that leaves still answers what is under way, and what it refuses then
// goes on.
func TestLeave(t *testing.T) {
	_, d, f := roundRobin(t, DoorOptions{})
	ids := make(chan int64, 10)
	hold := &plain{give: func(id int64, _ int) error { ids <- id; return nil }}
	s := join(d, 0, hold)
	c := dial(t, f)
	id := <-ids
	s.Leave()
	s.Leave()
	other := dial(t, f)
	join(d, 1, taker("next"))
	if got := served(t, other, 20*time.Second); got != "next" {
		t.Errorf("served by %q", got)
	}
	s.Answer(id, false)
	if got := served(t, c, 20*time.Second); got != "next" {
		t.Errorf("served by %q", got)
	}
	s.Answer(id, true)
	s.Answer(7, true)
	s.Gone()
	s.Gone()
	s.Load(3)
	s.Alive()
	eventually(t, "all answered", func() bool { return d.Stats().Dealt == 2 })
	if st := d.Stats(); st.Unknown != 2 || st.Refused != 1 || len(ids) > 0 {
		t.Errorf("%+v, %d more offers", st, len(ids))
	}
}

// A channel that takes nothing is no trap.
func TestGiveFails(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	join(d, 0, &plain{give: func(int64, int) error { return errors.New("full") }})
	c := dial(t, f)
	eventually(t, "tries", func() bool { return d.Stats().Again > 3 })
	employ(t, l, "good").join(d, 1)
	if got := served(t, c, 20*time.Second); got != "good" {
		t.Errorf("served by %q", got)
	}
}

// While the process has no descriptor left nothing is lost, somebody is told once,
// and the thread rests.
func TestNoDescriptors(t *testing.T) {
	var told atomic.Int32
	why := make(chan error, 100)
	l, d, f := roundRobin(t, DoorOptions{Warn: func(err error) { told.Add(1); why <- err }})
	employ(t, l, "w").join(d, 0)
	if got := served(t, dial(t, f), 20*time.Second); got != "w" {
		t.Fatalf("served by %q", got)
	}
	to := sockaddr(t, f)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	connected := unix.Connect(client, &to)
	first := <-why
	before := l.processor(t)
	pass(500 * time.Millisecond)
	used := l.processor(t) - before
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if connected != nil || !errors.Is(first, unix.EMFILE) || told.Load() != 1 {
		t.Errorf("%v; told %d times: %v", connected, told.Load(), first)
	}
	if used > 20*time.Millisecond {
		t.Errorf("%v of a processor in 0.5 s", used)
	}
	var p [10]byte
	if n, err := unix.Read(client, p[:]); err != nil || string(p[:n]) != "w" {
		t.Errorf("%q, %v", p[:max(n, 0)], err)
	}
}

// Thousands at once, while workers come and go: all are served.
func TestThousands(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	for i := range 4 {
		employ(t, l, fmt.Sprint("w", i)).join(d, i)
	}
	to := sockaddr(t, f)
	const clients, each = 64, 60
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range each {
				callRaw(t, to)
			}
		})
	}
	wg.Wait()
	eventually(t, "all answered", func() bool { return d.Stats().Dealt == clients*each })
	if st := d.Stats(); st.Accepted != clients*each || st.InHand+st.UnderWay != 0 {
		t.Errorf("%+v", st)
	}
}

// 200 connections that come together are spread.
func TestBurst(t *testing.T) {
	l, d, f := roundRobin(t, DoorOptions{})
	var clients []*net.TCPConn
	for range 200 {
		clients = append(clients, dial(t, f))
	}
	for i := range 4 {
		employ(t, l, fmt.Sprint("w", i)).join(d, i)
	}
	var names []string
	for _, c := range clients {
		names = append(names, served(t, c, 20*time.Second))
	}
	most, least := spread(tally(names), 4)
	t.Logf("%v", tally(names))
	if least == 0 || 2*most > 3*least {
		t.Errorf("%v", tally(names))
	}
}

// A thousand workers at one door.
func TestManySeats(t *testing.T) {
	for _, policy := range []spec.Balance{spec.BalanceRoundRobin, spec.BalanceLeast} {
		t.Run(string(policy), func(t *testing.T) {
			_, d, f := roundRobin(t, DoorOptions{Policy: policy})
			var seats []*Seat
			for i := range 1000 {
				seats = append(seats, join(d, i, taker(fmt.Sprint(i))))
			}
			who := map[string]bool{}
			for range 100 {
				who[served(t, dial(t, f), 20*time.Second)] = true
			}
			if len(who) != 100 {
				t.Errorf("%d workers served 100 connections", len(who))
			}
			for _, s := range seats {
				s.Gone()
			}
			if n := len(d.free); n != 0 {
				t.Errorf("%d are still in the line", n)
			}
		})
	}
}

// Doors and loops end at any time; nobody hangs and nothing leaks.
func TestCloseWhileBusy(t *testing.T) {
	for range 10 {
		l, d, f := roundRobin(t, DoorOptions{})
		for i := range 4 {
			employ(t, l, fmt.Sprint("w", i)).join(d, i)
		}
		to := sockaddr(t, f)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						quickCall(to)
					}
				}
			})
		}
		eventually(t, "traffic", func() bool { return d.Stats().Dealt > 20 })
		close(stop)
		d.Close()
		d.Close()
		if s := d.Join(0, taker("x")); s == nil {
			t.Error("no seat")
		} else {
			s.Load(1)
			s.Gone()
		}
		wg.Wait()
		if err := d.Resize(nil); err == nil {
			t.Error("a closed door was resized")
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := l.Open(DoorOptions{Policy: spec.BalanceRoundRobin, Sockets: []*os.File{f}}); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
}

// quickCall connects and goes away again.
func quickCall(to unix.SockaddrInet4) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Connect(fd, &to) == nil {
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000})
		_, _ = unix.Read(fd, make([]byte, 10))
	}
}

func TestOpenErrors(t *testing.T) {
	noLeak(t)
	l := loop(t)
	files := sockets(t, 2, 0)
	for _, o := range []DoorOptions{
		{Policy: spec.BalanceShared, Sockets: files[:1]},
		{Policy: spec.BalanceRoundRobin, Sockets: files},
		{Policy: spec.BalanceRoundRobin},
		{},
	} {
		if _, err := l.Open(o); !errors.Is(err, ErrPolicy) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	d := open(t, l, DoorOptions{Policy: spec.BalanceRoundRobin, Sockets: files[:1]})
	if err := d.Resize(files); !errors.Is(err, ErrPolicy) {
		t.Errorf("%v", err)
	}
	if listener.Addr(files[0]) == "" {
		t.Error("the socket is closed")
	}
	shut, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	shut.Close()
	if _, err := l.Open(DoorOptions{Policy: spec.BalanceSlots, Sockets: []*os.File{files[0], shut}}); err == nil {
		t.Error("a closed file is a socket")
	}
}
