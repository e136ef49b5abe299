package handoff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually polls until ok, for at most 30 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

// pass lets time go by in which nothing must happen.
func pass(d time.Duration) { <-time.After(d) }

// noLeak fails when the test ends with more descriptors than it began with.
func noLeak(t testing.TB) {
	t.Helper()
	r, w, err := os.Pipe() // Go's poller opens descriptors of its own at its first use
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	before := openFDs(t)
	t.Cleanup(func() {
		eventually(t, fmt.Sprintf("%d descriptors as before", before), func() bool { return openFDs(t) <= before })
	})
}

func openFDs(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func loop(t testing.TB) *Loop {
	t.Helper()
	l, err := NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// sockets are n that listen on one address of this machine.
func sockets(t testing.TB, n, backlog int) []*os.File {
	t.Helper()
	l := spec.Listener{Name: "x", Network: "tcp", Address: "127.0.0.1:0", Backlog: backlog}
	files, err := listener.BindGroup(l, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return files
}

func open(t testing.TB, l *Loop, o DoorOptions) *Door {
	t.Helper()
	d, err := l.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// dial connects; what it reads is who serves.
func dial(t testing.TB, f *os.File) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", listener.Addr(f), 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	conn, _ := c.(*net.TCPConn)
	return conn
}

// served is the name of who served c; "": nobody did within d.
func served(t testing.TB, c net.Conn, d time.Duration) string {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	text, err := io.ReadAll(c)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%q, %v", text, err)
	}
	return string(text)
}

// plain is a Receiver that decides by itself.
type plain struct {
	seat atomic.Pointer[Seat]
	give func(id int64, conn int) error
	ping func() error
}

func (p *plain) Give(id int64, conn int) error { return p.give(id, conn) }

func (p *plain) Ping() error {
	if p.ping == nil {
		return nil
	}
	return p.ping()
}

// taker serves each connection at once with a name. Its answers come from another
// goroutine.
func taker(name string) *plain {
	p := &plain{}
	p.give = func(id int64, conn int) error {
		_, _ = unix.Write(conn, []byte(name))
		go func() {
			eventuallySeat(p).Answer(id, true)
		}()
		return nil
	}
	return p
}

// eventuallySeat waits for Join to have returned.
func eventuallySeat(p *plain) *Seat {
	for p.seat.Load() == nil {
		<-time.After(time.Millisecond)
	}
	return p.seat.Load()
}

func join(d *Door, slot int, p *plain) *Seat {
	s := d.Join(slot, p)
	p.seat.Store(s)
	return s
}

// worker is a process in this one: it speaks over a channel as Node.js does, and
// serves with its name.
type worker struct {
	name  string
	conn  *channel.Conn // ours
	far   *channel.Conn // its
	seat  *Seat
	ear   *Ear
	took  atomic.Int64
	mood  atomic.Int32 // what it does with connections
	ended chan struct{}
	pings atomic.Int64
	gate  sync.RWMutex // held: it is blocked
}

const (
	takes int32 = iota
	refuses
	nacks   // says that the descriptor did not arrive
	ignores // never answers
)

type frame struct {
	Cmd string
	Ack *int64
	Acc bool `json:"accepted"`
	Msg struct {
		Seq int64
	}
}

// employ starts a worker; it takes no part yet.
func employ(t testing.TB, l *Loop, name string) *worker {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{
		name: name, conn: channel.Open(ours, channel.Options{Peek: true, Driven: true}),
		far: channel.Open(theirs, channel.Options{}), ended: make(chan struct{}),
	}
	go w.live()
	t.Cleanup(w.die)
	return w
}

// join has it take part and be heard.
func (w *worker) join(d *Door, slot int) *worker {
	w.seat = d.Join(slot, w)
	w.ear = d.loop.Hear(w.conn, Hearing{First: w.first, Rest: func(channel.Frame) {}, End: func(error) { w.seat.Gone() }})
	return w
}

func (w *worker) Give(id int64, conn int) error {
	buf := append(make([]byte, 0, 128), `{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"k","seq":`...)
	buf = fmt.Append(buf, id)
	return w.conn.Send(append(buf, "}}"...), conn)
}

func (w *worker) Ping() error {
	w.pings.Add(1)
	return w.conn.Send([]byte(`{"cmd":"PING"}`))
}

func (w *worker) first(f channel.Frame) bool {
	switch {
	case bytes.HasPrefix(f.Data, []byte(`{"cmd":"NODE_HANDLE_ACK"`)):
		return true
	case bytes.Contains(f.Data, []byte("PONG")):
		w.seat.Alive()
		return true
	}
	const before, taken = `{"cmd":"NODE_CLUSTER","ack":`, `,"accepted":true`
	if !bytes.HasPrefix(f.Data, []byte(before)) {
		return false
	}
	id := int64(0)
	for _, c := range f.Data[len(before):] {
		if c < '0' || c > '9' {
			break
		}
		id = 10*id + int64(c-'0')
	}
	w.seat.Answer(id, bytes.Contains(f.Data, []byte(taken)))
	return true
}

// live is the worker's own loop.
func (w *worker) live() {
	defer close(w.ended)
	for {
		f, err := w.far.Receive(context.Background())
		if err != nil {
			return
		}
		w.gate.RLock()
		w.work(f)
		w.gate.RUnlock()
	}
}

func (w *worker) work(f channel.Frame) {
	defer closeAll(f.FDs)
	if len(f.FDs) == 0 {
		_ = w.far.Send([]byte(`{"cmd":"PONG"}`))
		return
	}
	var m frame
	_ = json.Unmarshal(f.Data, &m)
	mood := w.mood.Load()
	if mood == ignores {
		return
	}
	_ = w.far.Send([]byte(`{"cmd":"NODE_HANDLE_ACK"}`))
	_ = w.far.Send(fmt.Appendf(nil, `{"cmd":"NODE_CLUSTER","ack":%d,"accepted":%t,"seq":1}`, m.Msg.Seq, mood == takes))
	if mood == takes {
		w.took.Add(1)
		_, _ = unix.Write(f.FDs[0], []byte(w.name))
	}
}

// die ends the worker as kill -9 would.
func (w *worker) die() {
	w.far.Close()
	<-w.ended
	w.conn.Close()
}

// tally counts names.
func tally(names []string) map[string]int {
	m := map[string]int{}
	for _, n := range names {
		m[n]++
	}
	return m
}

// spread is how many the busiest and the least busy of n got.
func spread(m map[string]int, n int) (most, least int) {
	var counts []int
	for _, c := range m {
		counts = append(counts, c)
	}
	for len(counts) < n {
		counts = append(counts, 0)
	}
	return slices.Max(counts), slices.Min(counts)
}

// processor is the CPU time of the loop's thread.
func (l *Loop) processor(t testing.TB) time.Duration {
	t.Helper()
	var u unix.Rusage
	l.call(func() { _ = unix.Getrusage(unix.RUSAGE_THREAD, &u) })
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
