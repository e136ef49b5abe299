package operations

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/peer"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// home is a Home that keeps what it was ordered.
type home struct {
	mu     sync.Mutex
	orders []string
	says   api.Outcome // of orders
	load   error       // of ReloadConfig
}

func (h *home) note(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.orders = append(h.orders, fmt.Sprintf(format, args...))
}

// taken are the orders since the last time.
func (h *home) taken() (orders []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	orders, h.orders = h.orders, nil
	return orders
}

func (h *home) Restart(_ context.Context, o api.Order) api.Outcome {
	h.note("restart %s", o.Selector)
	return h.says
}

func (h *home) Reload(_ context.Context, o api.Order) api.Outcome {
	h.note("reload %s", o.Selector)
	return h.says
}

func (h *home) SetPort(_ context.Context, o api.SetPort) api.Outcome {
	h.note("port %s %s %d %v", o.Selector, o.Name, o.Port, o.Now)
	return h.says
}

func (h *home) SetProbe(_ context.Context, o api.SetProbe) api.Outcome {
	h.note("probe %s %s", o.Selector, o.Interval)
	return h.says
}

func (h *home) home() Home {
	return Home{
		Apps: h, Status: func() api.Status {
			return api.Status{Project: "shop", Apps: []api.App{{Name: "web", Workers: []api.Worker{{App: "web"}, {App: "web", Slot: 1}}}}}
		},
		StopAgent: func(reason string, code int, now bool) { h.note("stop agent %q %d %v", reason, code, now) },
		StopApp: func(_ context.Context, app, reason string, code int, now bool) api.Outcome {
			h.note("stop %s %q %d %v", app, reason, code, now)
			return h.says
		},
		ReloadConfig: func(context.Context) error {
			h.note("config reload")
			return h.load
		},
	}
}

// rig is Operations with a fake Home, and workers in this process.
type rig struct {
	t    *testing.T
	ops  *Operations
	hub  *event.Hub
	home *home
	next int // pid of the next worker
}

// open makes one; orders wait for begin.
func open(t *testing.T, store process.Store, epoch int) *rig {
	t.Helper()
	r := &rig{t: t, hub: &event.Hub{}, home: &home{}, next: 1000}
	var err error
	r.ops, err = New(Options{Project: "shop", Node: "n", Agent: 100 + epoch, Epoch: epoch, Files: store, Events: r.hub})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.ops.Close)
	return r
}

func begun(t *testing.T) *rig {
	store := process.NewDirectStore()
	t.Cleanup(func() { _ = store.Close() })
	r := open(t, store, 1)
	r.ops.Begin(r.home.home())
	return r
}

// wire is a worker's channel, in memory.
type wire struct {
	seat  op.Seat
	lines chan []byte
	once  sync.Once
	over  chan struct{}
}

func (w *wire) Send(line []byte) error { w.seat.Hear(line); return nil }

func (w *wire) Receive(ctx context.Context) ([]byte, error) {
	select {
	case line := <-w.lines:
		return line, nil
	case <-w.over:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.over); w.seat.Gone() })
	return nil
}

// worker enters one that is ready, and has joined.
func (r *rig) worker(app string, slot int, allow ...string) *peer.Peer {
	r.t.Helper()
	w := &wire{lines: make(chan []byte, 1024), over: make(chan struct{})}
	name := fmt.Sprintf("%s#%d", app, slot)
	w.seat = r.ops.Exchange().Enter(op.Party{
		ID: name + "/1", App: app, Slot: slot, Name: name, Allow: allow,
		Send: func(frame []byte) error { w.lines <- slices.Clone(frame); return nil }, Waiting: func() (int, int) { return 0, 0 },
	}, false)
	w.seat.Ready(r.next, true)
	r.next++
	p := peer.New(w, peer.Options{})
	r.t.Cleanup(func() { _ = p.Close() })
	if _, err := p.Hello(within(r.t)); err != nil {
		r.t.Fatal(err)
	}
	return p
}

// client joins over a socket, as one of the control API does. done gets what Join says.
func (r *rig) client(name string) (p *peer.Peer, done chan error) {
	r.t.Helper()
	ours, theirs := pair(r.t)
	done = make(chan error, 1)
	go func() { done <- r.ops.Join(context.Background(), name, theirs) }() // ends with ours
	p = peer.New(peer.Lines(ours), peer.Options{})
	r.t.Cleanup(func() { _ = p.Close() })
	if _, err := p.Hello(within(r.t)); err != nil {
		r.t.Fatal(err)
	}
	return p, done
}

func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) *net.UnixConn {
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		return c.(*net.UnixConn)
	}
	return conn(fds[0]), conn(fds[1])
}

// told are the Order events so far.
func (r *rig) told() (list []string) {
	for _, e := range r.hub.Past() {
		if d, ok := e.Data.(event.Order); ok {
			list = append(list, d.Verb+" "+d.Target+" by "+d.By)
		}
	}
	return list
}

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}
