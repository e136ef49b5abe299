package handoff

import (
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

// accepting is a worker that accepts from its slot's socket itself, and takes what
// is dealt to it.
type accepting struct {
	*worker
	mu   sync.Mutex // held: it accepts nothing
	stop chan struct{}
	done chan struct{}
}

func acceptFrom(t testing.TB, l *Loop, name string, f *os.File) *accepting {
	t.Helper()
	a := &accepting{worker: employ(t, l, name), stop: make(chan struct{}), done: make(chan struct{})}
	file, err := listener.Unpolled(f)
	if err != nil {
		t.Fatal(err)
	}
	go a.accept(file)
	t.Cleanup(a.end)
	return a
}

func (a *accepting) accept(f *os.File) {
	defer close(a.done)
	defer f.Close()
	fd := int(f.Fd())
	for {
		select {
		case <-a.stop:
			return
		default:
		}
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(p, 20); n > 0 {
			a.mu.Lock()
			a.serve(fd)
			a.mu.Unlock()
		}
	}
}

func (a *accepting) serve(fd int) {
	select {
	case <-a.stop:
		return
	default:
	}
	_ = unix.SetNonblock(fd, true) // as Node.js does
	if conn, err := accept4(fd); err == nil {
		_, _ = unix.Write(conn, []byte(a.name))
		_ = unix.Close(conn)
	}
}

func (a *accepting) end() {
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	<-a.done
}

// block stops it as a busy program would: it neither accepts nor reads its channel.
func (a *accepting) block()   { a.mu.Lock(); a.gate.Lock() }
func (a *accepting) unblock() { a.gate.Unlock(); a.mu.Unlock() }

func slotDoor(t testing.TB, n int, o DoorOptions) (*Loop, *Door, []*os.File) {
	t.Helper()
	noLeak(t)
	files := sockets(t, n, 512)
	l := loop(t)
	o.Policy, o.Sockets = spec.BalanceSlots, files
	return l, open(t, l, o), files
}

func dialMany(t testing.TB, f *os.File, n int) (list []*net.TCPConn) {
	t.Helper()
	for range n {
		list = append(list, dial(t, f))
	}
	return list
}

func namesOf(t testing.TB, clients []*net.TCPConn) (names []string) {
	t.Helper()
	for _, c := range clients {
		names = append(names, served(t, c, 20*time.Second))
	}
	return names
}

// Healthy workers accept by themselves; the loop takes nothing.
func TestSlotsHealthy(t *testing.T) {
	l, d, files := slotDoor(t, 4, DoorOptions{})
	for i := range 4 {
		acceptFrom(t, l, fmt.Sprint("w", i), files[i]).join(d, i)
	}
	eventually(t, "steering", func() bool { return allLive(d) })
	names := namesOf(t, dialMany(t, files[0], 200))
	if most, least := spread(tally(names), 4); least == 0 || names[0] == "" {
		t.Errorf("%v (%d, %d)", tally(names), most, least)
	}
	if st := d.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}

func allLive(d *Door) bool {
	return !slices.ContainsFunc(d.Stats().Slots, func(s SlotStats) bool { return !s.Live })
}

// What waits behind a dead worker is served by the others, and nothing new goes
// there until it has a successor.
func TestSlotsDead(t *testing.T) {
	l, d, files := slotDoor(t, 2, DoorOptions{})
	acceptFrom(t, l, "w0", files[0]).join(d, 0)
	silent := employ(t, l, "w1").join(d, 1) // accepts nothing
	eventually(t, "two live slots", func() bool { return allLive(d) })
	var clients []*net.TCPConn
	eventually(t, "a queue", func() bool {
		clients = append(clients, dial(t, files[0]))
		return d.Stats().Slots[1].Waiting > 0
	})
	silent.die()
	eventually(t, "the rescue", func() bool { return d.Stats().Rescued > 0 && d.Stats().Slots[1].Waiting == 0 })
	clients = append(clients, dialMany(t, files[0], 50)...)
	for i, n := range namesOf(t, clients) {
		if n != "w0" {
			t.Fatalf("connection %d was served by %q", i, n)
		}
	}
	if st := d.Stats(); st.Slots[1].Live || st.Slots[1].Stuck {
		t.Errorf("%+v", st)
	}
	acceptFrom(t, l, "new", files[1]).join(d, 1)
	eventually(t, "two live slots", func() bool { return allLive(d) })
	if names := namesOf(t, dialMany(t, files[0], 100)); tally(names)["new"] < 10 || tally(names)["w0"] < 10 {
		t.Errorf("%v", tally(names))
	}
}

// A successor that comes while its predecessor owes an answer is not judged for that:
// in a reload the old worker may be asked, and be gone when the time is over.
func TestSlotsSuccessor(t *testing.T) {
	l, d, files := slotDoor(t, 2, DoorOptions{})
	acceptFrom(t, l, "w0", files[0]).join(d, 0)
	old := employ(t, l, "old").join(d, 1) // accepts nothing
	old.gate.Lock()                       // and answers nothing
	defer old.gate.Unlock()
	eventually(t, "two live slots", func() bool { return allLive(d) })
	var clients []*net.TCPConn
	eventually(t, "a ping", func() bool {
		clients = append(clients, dial(t, files[0]))
		return old.pings.Load() > 0
	})
	fresh := employ(t, l, "fresh").join(d, 1) // accepts nothing either, yet
	old.seat.Leave()
	eventually(t, "a ping of the successor", func() bool { // at once, but on a machine so slow that old was judged
		if fresh.pings.Load() > 0 {
			return true
		}
		clients = append(clients, dial(t, files[0]))
		return false
	})
	pass(2 * aliveWithin)
	acceptFrom(t, l, "accepts", files[1])
	eventually(t, "two live slots again", func() bool { return allLive(d) })
	namesOf(t, clients)
}

// A worker that is blocked is found by a ping; its queue is served elsewhere; it
// comes back.
func TestSlotsBlocked(t *testing.T) {
	var mu sync.Mutex
	var told []string
	l, d, files := slotDoor(t, 3, DoorOptions{Stuck: func(slot int, stuck bool, waiting int) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(slot, stuck, waiting > 0))
	}})
	var list []*accepting
	for i := range 3 {
		a := acceptFrom(t, l, fmt.Sprint("w", i), files[i])
		a.join(d, i)
		list = append(list, a)
	}
	eventually(t, "steering", func() bool { return allLive(d) })
	list[1].block()
	begun := time.Now()
	clients := dialMany(t, files[0], 60)
	names := namesOf(t, clients)
	t.Logf("served within %v: %v", time.Since(begun), tally(names))
	if m := tally(names); m["w1"] > 0 || m[""] > 0 {
		t.Errorf("%v", m)
	}
	if st := d.Stats(); !st.Slots[1].Stuck || st.Slots[1].Live || st.Rescued == 0 || list[1].pings.Load() != 1 {
		t.Errorf("%+v after %d pings", st, list[1].pings.Load())
	}
	said := func(want string) func() bool {
		return func() bool {
			mu.Lock()
			defer mu.Unlock()
			return fmt.Sprint(told) == want
		}
	}
	eventually(t, "it is told", said("[1 true false]")) // what waited is served elsewhere
	list[1].unblock()
	eventually(t, "it is well", func() bool { return allLive(d) })
	names = namesOf(t, dialMany(t, files[0], 100))
	if m := tally(names); m["w1"] < 5 {
		t.Errorf("%v", m)
	}
	eventually(t, "both are told", said("[1 true false 1 false false]"))
}

// A program that only inherits sockets cannot be asked: it is steered around when
// its queue does not shrink, and is back when it does.
func TestSlotsSilent(t *testing.T) {
	l, d, files := slotDoor(t, 2, DoorOptions{})
	var list []*accepting
	for i := range 2 {
		list = append(list, acceptFrom(t, l, fmt.Sprint("w", i), files[i]))
		d.Join(i, nil)
	}
	eventually(t, "steering", func() bool { return allLive(d) })
	list[0].block()
	var clients []*net.TCPConn
	eventually(t, "a queue", func() bool {
		clients = append(clients, dial(t, files[0]))
		return d.Stats().Slots[0].Waiting > 0
	})
	eventually(t, "the slot is steered around", func() bool { return d.Stats().Slots[0].Stuck })
	for i, n := range namesOf(t, dialMany(t, files[0], 30)) {
		if n != "w1" {
			t.Fatalf("connection %d was served by %q", i, n)
		}
	}
	list[0].unblock()
	for _, n := range namesOf(t, clients) {
		if n == "" {
			t.Error("a connection was lost")
		}
	}
	eventually(t, "it is well", func() bool { return allLive(d) })
	if st := d.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}

// Without any worker nothing is accepted and nothing lost.
func TestSlotsNobody(t *testing.T) {
	l, d, files := slotDoor(t, 3, DoorOptions{})
	clients := dialMany(t, files[0], 20)
	if st := d.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
	acceptFrom(t, l, "first", files[2]).join(d, 2)
	for _, n := range namesOf(t, clients) {
		if n != "first" {
			t.Errorf("served by %q", n)
		}
	}
}

// More slots and fewer, under load: every connection is served.
func TestSlotsResize(t *testing.T) {
	l, d, files := slotDoor(t, 2, DoorOptions{})
	for i := range 2 {
		acceptFrom(t, l, fmt.Sprint("w", i), files[i]).join(d, i)
	}
	stop, lost := hammer(t, files[0])
	for range 3 {
		more, err := listener.GrowGroup(spec.Listener{Name: "x", Network: "tcp", Address: listener.Addr(files[0]), Backlog: 512}, files, 4)
		if err != nil {
			t.Fatal(err)
		}
		all := append(slices.Clone(files), more...)
		if err := d.Resize(all); err != nil {
			t.Fatal(err)
		}
		var added []*accepting
		for i := 2; i < 4; i++ {
			a := acceptFrom(t, l, fmt.Sprint("w", i), all[i])
			a.join(d, i)
			added = append(added, a)
		}
		eventually(t, "four live slots", func() bool { return allLive(d) && len(d.Stats().Slots) == 4 })
		took := d.Stats().Rescued
		for _, a := range added {
			a.end() // no longer accepts
			a.seat.Leave()
			a.die()
		}
		if err := d.Resize(files); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d rescued", d.Stats().Rescued-took)
		for i := len(more) - 1; i >= 0; i-- {
			more[i].Close()
		}
	}
	close(stop)
	if n := <-lost; n > 0 {
		t.Errorf("%d connections were lost", n)
	}
}

// hammer opens connections until stop is closed, and then says how many were not
// served.
func hammer(t testing.TB, f *os.File) (stop chan struct{}, lost chan int) {
	t.Helper()
	to := sockaddr(t, f)
	stop, lost = make(chan struct{}), make(chan int, 1)
	var wg sync.WaitGroup
	var mu sync.Mutex
	bad := 0
	for range 8 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := ask(to); err != nil {
					mu.Lock()
					bad++
					mu.Unlock()
					t.Log(err)
				}
			}
		})
	}
	go func() { wg.Wait(); lost <- bad }()
	return stop, lost
}

// ask is one connection that must be served within 10 s.
func ask(to unix.SockaddrInet4) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &to); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	n, err := unix.Read(fd, make([]byte, 10))
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// A guard costs nothing while no connection comes.
func TestGuardIdle(t *testing.T) {
	l, d, files := slotDoor(t, 8, DoorOptions{})
	for i := range 8 {
		acceptFrom(t, l, fmt.Sprint("w", i), files[i]).join(d, i)
	}
	eventually(t, "steering", func() bool { return allLive(d) })
	namesOf(t, dialMany(t, files[0], 50))
	pass(100 * time.Millisecond)
	before := l.processor(t)
	pass(500 * time.Millisecond)
	if used := l.processor(t) - before; used > 2*time.Millisecond {
		t.Errorf("%v of a processor in 0.5 s without connections", used)
	}
}
