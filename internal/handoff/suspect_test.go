package handoff

import (
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
)

// byHand is a program of one slot that is served by hand.
type byHand struct {
	t       *testing.T
	loop    *Loop
	file    *os.File
	clients []*net.TCPConn
}

// fill has one more connection wait at its socket, to which all new ones must go.
func (k *byHand) fill() {
	k.t.Helper()
	before := k.waiting()
	k.clients = append(k.clients, dial(k.t, k.file))
	eventually(k.t, "it waits", func() bool { return k.waiting() > before })
}

func (k *byHand) waiting() int {
	n, err := listener.Queue(k.file)
	if err != nil {
		k.t.Fatal(err)
	}
	return n
}

func (k *byHand) accept() {
	k.t.Helper()
	raw, err := k.file.SyscallConn()
	if err != nil {
		k.t.Fatal(err)
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		var conn int
		if conn, failed = accept4(int(fd)); failed == nil {
			_ = unix.Close(conn)
		}
	})
	if err != nil || failed != nil {
		k.t.Fatal(err, failed)
	}
}

// exchange replaces the connection that waits, unseen by the loop: whenever that looks
// one waits.
func (k *byHand) exchange() {
	k.t.Helper()
	k.loop.mu.Lock()
	defer k.loop.mu.Unlock()
	k.fill()
	k.accept()
}

// hovers exchanges connections for a while.
func (k *byHand) hovers(during time.Duration) {
	k.t.Helper()
	for end := time.Now().Add(during); time.Now().Before(end); pass(100 * time.Millisecond) {
		k.exchange()
	}
}

// A worker that cannot be asked, and that always has somebody wait because it is busy,
// is not blocked; when it is, that is seen.
func TestBusyIsNotBlocked(t *testing.T) {
	told := make(chan string, 10)
	l, d, files := slotDoor(t, 2, DoorOptions{Stuck: func(slot int, stuck bool, waiting int) {
		told <- fmt.Sprint(slot, stuck, waiting > 0)
	}})
	dead := &byHand{t: t, loop: l, file: files[1]}
	gone := d.Join(1, nil)
	l.call(func() {}) // it is steered
	dead.fill()       // and waits there all the time: nobody can take it
	busy := &byHand{t: t, loop: l, file: files[0]}
	d.Join(0, nil)
	gone.Gone()
	l.call(func() {})
	pass(2 * lookAfter)
	busy.fill()
	for range 3 {
		busy.hovers(shrinkWithin)
		if st := d.Stats(); st.Slots[0].Stuck {
			t.Fatalf("%+v", st)
		}
	}
	begun := time.Now()
	eventually(t, "it is blocked", func() bool { return d.Stats().Slots[0].Stuck })
	if took := time.Since(begun); took > 3*shrinkWithin {
		t.Errorf("found after %v", took)
	}
	if said := <-told; said != "0 true true" {
		t.Errorf("told %s", said)
	}
	busy.accept()
	if said := <-told; said != "0 false false" {
		t.Errorf("told %s", said)
	}
	if st := d.Stats(); st.Slots[1].Waiting != 1 || !st.Slots[0].Live {
		t.Errorf("%+v", st)
	}
}

// A worker that is blocked again and again is told of once in a while.
func TestToldSeldom(t *testing.T) {
	told := make(chan bool, 10)
	l, d, files := slotDoor(t, 1, DoorOptions{Stuck: func(_ int, stuck bool, _ int) { told <- stuck }})
	k := &byHand{t: t, loop: l, file: files[0]}
	d.Join(0, nil)
	for range 2 {
		k.fill()
		eventually(t, "it is blocked", func() bool { return d.Stats().Slots[0].Stuck })
		pass(blockedFor + 2*recoverEvery)
		k.accept()
		eventually(t, "it is well", func() bool { return !d.Stats().Slots[0].Stuck })
	}
	if first, second := <-told, <-told; !first || second {
		t.Errorf("told %v, then %v", first, second)
	}
	select {
	case again := <-told:
		t.Errorf("told %v again", again)
	default:
	}
}

// One that is dead by then is not told of.
func TestDeadIsNotBlocked(t *testing.T) {
	told := make(chan bool, 10)
	l, d, files := slotDoor(t, 1, DoorOptions{Stuck: func(_ int, stuck bool, _ int) { told <- stuck }})
	k := &byHand{t: t, loop: l, file: files[0]}
	s := d.Join(0, nil)
	k.fill()
	eventually(t, "it is blocked", func() bool { return d.Stats().Slots[0].Stuck })
	s.Gone()
	pass(blockedFor + 2*recoverEvery)
	d.Join(0, nil) // and is well
	select {
	case stuck := <-told:
		t.Errorf("told %v", stuck)
	default:
	}
}

func TestBlockedInWords(t *testing.T) {
	for want, f := range map[string]*fault.Fault{
		"it takes connections on tcp://:80 again":                                        Blocked("tcp://:80", false, 3),
		"it takes no connections on tcp://:80: 3 wait, and new ones go to other workers": Blocked("tcp://:80", true, 3),
		"it takes no connections on tcp://:80; they go to other workers":                 Blocked("tcp://:80", true, 0),
	} {
		if f.Text != want || f.Code != fault.Blocked {
			t.Errorf("%+v, want %q", f, want)
		}
	}
}
