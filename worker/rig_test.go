package worker

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/exchange/primitives"
	"github.com/muster-run/muster/internal/op"
)

// roleEnv makes the test binary play a worker instead of running tests.
const roleEnv = "WORKER_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	goleak.VerifyTestMain(m)
}

// muster is the agent's side of operations, the real one, and what it is told besides.
type muster struct {
	t        testing.TB
	exchange *exchange.Exchange
}

// calls adapts the exchange for the primitives.
type calls struct{ *exchange.Exchange }

func (c calls) Serve(name string, h func(primitives.Call)) {
	c.Exchange.Serve(name, func(call *exchange.Call) {
		h(primitives.Call{
			Party: call.PartyID(), Name: call.From(), PID: call.PID(), ID: call.ID(), Again: call.Again(),
			Body: call.Body(), Asker: call,
		})
	})
}

func newMuster(t testing.TB) *muster {
	t.Helper()
	e, err := exchange.New(exchange.Options{Project: "test", Node: "here", Agent: os.Getpid(), Epoch: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	p, err := primitives.New(calls{e}, primitives.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return &muster{t, e}
}

// member is a worker as muster sees it: a channel, and what it says of itself.
type member struct {
	t      testing.TB
	conn   *channel.Conn
	mu     sync.Mutex
	seat   op.Seat
	theirs int // the worker's end

	crashes chan op.CrashBody
	texts   chan string
	beats   chan time.Time
	other   chan string // frames that are no operations
	ended   chan struct{}
	once    sync.Once
}

// enter makes a party of a worker that is to be started: web#slot.
func (m *muster) enter(slot int, s op.Settings) *member {
	m.t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		m.t.Fatal(err)
	}
	w := &member{
		t: m.t, conn: channel.Open(ours, channel.Options{}), theirs: theirs, ended: make(chan struct{}),
		crashes: make(chan op.CrashBody, 4), texts: make(chan string, 16), beats: make(chan time.Time, 1024), other: make(chan string, 64),
	}
	w.seat = m.exchange.Enter(op.Party{
		ID: fmt.Sprint("worker/", slot), App: "web", Role: "web", Slot: slot, Name: fmt.Sprint("web#", slot), Settings: s,
		Beat: func() { w.beats <- time.Now() }, Crash: func(b op.CrashBody) { w.crashes <- b }, Lifecycle: func(text string) { w.texts <- text },
		Send: func(frame []byte) error { return w.conn.Send(frame) }, Waiting: w.conn.Waiting,
	}, false)
	w.seat.Ready(os.Getpid(), true)
	go w.hear()
	m.t.Cleanup(w.end)
	return w
}

func (w *member) hear() {
	defer close(w.ended)
	for {
		f, err := w.conn.Receive(context.Background())
		if err != nil {
			return
		}
		if op.Is(f.Data) {
			w.mu.Lock()
			seat := w.seat
			w.mu.Unlock()
			seat.Hear(f.Data)
		} else {
			w.other <- string(f.Data)
		}
	}
}

// end is the end of the worker's process, as muster sees it.
func (w *member) end() {
	w.once.Do(func() {
		w.conn.Close()
		<-w.ended
		w.seat.Gone()
	})
}

// environ is what muster tells such a worker.
func environ(fd int, more ...string) environment {
	vars := append([]string{"MUSTER_APP=web", "MUSTER_WORKER=0", fmt.Sprint("MUSTER_CHANNEL_FD=", fd)}, more...)
	return environment{
		get: func(name string) string {
			for i := len(vars) - 1; i >= 0; i-- {
				if value, ok := strings.CutPrefix(vars[i], name+"="); ok {
					return value
				}
			}
			return ""
		},
		list: func() []string { return vars }, pid: os.Getpid(), first: firstInherited,
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// worker opens one in this process, on its end of a member's channel.
func (w *member) worker(o Options, more ...string) *Worker {
	w.t.Helper()
	if o.Log == nil {
		o.Log = quiet()
	}
	own, err := open(environ(w.theirs, more...), o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { own.Close() })
	return own
}

// workers are n of one app, all welcomed.
func (m *muster) workers(n int) (list []*Worker, members []*member) {
	m.t.Helper()
	for slot := range n {
		member := m.enter(slot, op.Settings{})
		w := member.worker(Options{}, fmt.Sprint("MUSTER_WORKER=", slot))
		if _, err := w.Hello(within(m.t)); err != nil {
			m.t.Fatal(err)
		}
		list, members = append(list, w), append(members, member)
	}
	return list, members
}

// alone opens a worker that muster does not run.
func alone(t testing.TB, o Options, more ...string) *Worker {
	t.Helper()
	if o.Log == nil {
		o.Log = quiet()
	}
	w, err := open(environ(-1, more...), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(stop)
	return ctx
}

func receive[V any](t testing.TB, c <-chan V) V {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-within(t).Done():
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func started[V any](f func() V) <-chan V {
	c := make(chan V, 1)
	go func() { c <- f() }()
	return c
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("got %v, want %q", err, code)
	}
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx := within(t)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// inherit puts descriptors at numbers from 700 on, as muster does from 3 on.
func inherit(t testing.TB, files []*os.File, names string) (e environment) {
	t.Helper()
	const first = 700
	for i, f := range files {
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		_ = raw.Control(func(fd uintptr) { err = unix.Dup3(int(fd), first+i, 0) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(first + i) })
	}
	e = environ(-1, fmt.Sprint("LISTEN_PID=", os.Getpid()), fmt.Sprint("LISTEN_FDS=", len(files)), "LISTEN_FDNAMES="+names)
	e.first = first
	return e
}

func closing[C io.Closer](t testing.TB, c C, err error) C {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// serveOrder notes an order and answers it.
func serveOrder(got chan<- string) func(*exchange.Call) {
	return func(c *exchange.Call) {
		got <- c.Op() + " " + string(c.Body())
		if c.Op() == op.Status {
			c.Reply(api.Status{Project: "p"}, nil)
			return
		}
		c.Reply(nil, nil)
	}
}
