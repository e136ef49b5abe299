package keeper

import (
	"encoding/json"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

// atMost bounds every wait of the tests: only a defect takes as long.
const atMost = 30 * time.Second

// lab is a keeper without a root process, in this process.
type lab struct {
	t      *testing.T
	direct *process.Direct
	store  *process.DirectStore
	server *server
	orders *notedOrders
}

// notedOrders is a root process that only notes what it is asked.
type notedOrders struct {
	mu   sync.Mutex
	list []string
	exe  *os.File
	what json.RawMessage
	code int
}

func (n *notedOrders) note(word string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, word)
}

func (n *notedOrders) words() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string{}, n.list...)
}

func (n *notedOrders) up()          { n.note("up") }
func (n *notedOrders) end(code int) { n.code = code; n.note("end") }
func (n *notedOrders) upgrade(exe *os.File, what json.RawMessage) {
	n.exe, n.what = exe, what
	n.note("upgrade")
}

func newLab(t *testing.T, o process.Options) *lab {
	t.Helper()
	o.Project = t.Name()
	d, err := process.NewDirect(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &lab{t: t, direct: d, store: process.NewDirectStore(), orders: &notedOrders{}}
	r.server = newServer(d, r.store)
	t.Cleanup(func() {
		for _, p := range d.List() {
			_, _ = p.Kill()
		}
		r.server.close()
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		r.store.Close()
	})
	return r
}

// attach begins a session; the other end is the agent's.
func (r *lab) attach(h Hello) (x *session, agent int) {
	r.t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		r.t.Fatal(err)
	}
	return r.server.serve(ours, h, r.orders), theirs
}

// dial makes a Client in a session of its own.
func (r *lab) dial() (*Client, *session) {
	r.t.Helper()
	x, fd := r.attach(Hello{Version: "test"})
	c, _, err := Dial(fd)
	if err != nil {
		r.t.Fatal(err)
	}
	return c, x
}

// until waits for a condition that another goroutine or process brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(atMost); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not in time: %s", what)
}

func TestClientConforms(t *testing.T) {
	for name, o := range map[string]process.Options{"cgroup": {}, "no-cgroup": {NoCgroup: true}} {
		t.Run(name, func(t *testing.T) {
			processtest.Run(t, func(t *testing.T) (process.Starter, process.Store) {
				c, x := newLab(t, o).dial()
				t.Cleanup(func() {
					if err := c.Close(); err != nil {
						t.Error(err)
					}
					x.close()
				})
				return c, c.Store()
			})
		})
	}
}
