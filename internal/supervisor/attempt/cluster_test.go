package attempt

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// crowd is a rig whose attempt is a Node.js worker; the test speaks for it.
type crowd struct {
	*rig
	sent   []string // frames to the worker
	before []string // what its predecessor listens on
	others bool     // somebody of the app listens
	busy   bool     // its event loop does not turn
	pings  []func() // that it has not come to
}

// inCrowd runs a test of such an attempt.
func inCrowd(t *testing.T, change func(*spec.App), test func(*crowd)) {
	t.Helper()
	inRig(t, change, func(r *rig) {
		c := &crowd{rig: r}
		cfg := r.config(r.log)
		cfg.Number, cfg.Before = 7, func() ([]string, bool) { return c.before, c.others || len(c.before) > 0 }
		cfg.Primary = newPrimary(r.T, r.shared)
		cfg.Events.Node = func(e event.WorkerNode) { r.hear("node " + e.State) }
		cfg.Events.Torn = func(f *fault.Fault) { r.hear("torn " + string(f.Code)) }
		r.a = New(r.Context(), cfg)
		test(c)
		r.do(func() { cfg.Primary.Release() })
	})
}

// newPrimary binds nothing: its sockets are of no use.
func newPrimary(t *testing.T, shared *Shared) *primary.Primary {
	t.Helper()
	return primary.New(primary.Options{
		App: "web", Store: shared.Store, Loop: shared.Loop,
		Balance: func(spec.Listener) spec.Balance { return spec.BalanceShared },
		Bind: func(listener.Asked, int) ([]*os.File, error) {
			fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			return []*os.File{os.NewFile(uintptr(fd), "socket")}, err
		},
	})
}

// start launches the process and joins it to the cluster.
func (c *crowd) start() {
	c.Helper()
	c.launch()
	c.want("started")
	c.do(func() {
		id := int64(0)
		var link *nodejs.Link
		send := func(data []byte, _ ...int) error {
			if strings.Contains(string(data), "muster:ping") {
				c.pinged(link, id)
				return nil
			}
			c.sent = append(c.sent, string(data))
			return nil
		}
		link = nodejs.NewLink(send, func() int64 { id++; return id })
		c.a.becomeMember(link, nil)
	})
}

// pinged answers a ping as soon as its event loop turns.
func (c *crowd) pinged(link *nodejs.Link, id int64) {
	answer := func() {
		link.First([]byte(`{"cmd":"NODE_HANDLE_ACK"}`))
		link.First(fmt.Appendf(nil, `{"cmd":"NODE_CLUSTER","ack":%d,"accepted":false,"seq":1}`, id))
	}
	if c.busy {
		c.pings = append(c.pings, answer)
		return
	}
	c.steps <- answer // the Link is in use
}

// turns has its event loop turn once.
func (c *crowd) turns() {
	c.do(func() {
		for _, answer := range c.pings {
			answer()
		}
		c.pings = nil
	})
	synctest.Wait()
}

// says has the worker say something.
func (c *crowd) says(frames ...string) {
	c.Helper()
	for _, f := range frames {
		m, err := nodejs.Parse([]byte(f))
		if err != nil {
			c.Fatal(err)
		}
		c.do(func() { c.a.node.member.Heard(m, nil); c.a.serversChanged() })
	}
	synctest.Wait()
}

const online = `{"cmd":"NODE_CLUSTER","act":"online","seq":0}`

func query(port int) string {
	return fmt.Sprintf(`{"cmd":"NODE_CLUSTER","act":"queryServer","index":0,"data":null,"address":null,"port":%d,"addressType":4,"seq":%d}`, port, port)
}

func listening(port int) string {
	return fmt.Sprintf(`{"cmd":"NODE_CLUSTER","act":"listening","address":null,"port":%d,"addressType":4,"seq":%d}`, port, port+1)
}

// key is how the cluster knows the server on a port.
func (c *crowd) key(port int) string {
	c.Helper()
	var keys []string
	c.do(func() {
		for k := range c.a.node.facts().Servers {
			if strings.Contains(k, fmt.Sprint(port)) {
				keys = append(keys, k)
			}
		}
	})
	if len(keys) != 1 {
		c.Fatalf("keys of port %d: %q", port, keys)
	}
	return keys[0]
}

// look asks the attempt something in its owner's goroutine.
func look[T any](c *crowd, ask func() T) (v T) {
	c.do(func() { v = ask() })
	return v
}

func (c *crowd) signals() int { return len(c.fake.Signals(c.id())) }

// A worker that loads for long is not taken for one without servers; neither is one
// that waits for something in between.
func TestClusterThatLoadsForLong(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.busy = true
		c.start()
		c.says(online)
		c.pass(5 * time.Second)
		c.turns()
		c.pass(900 * time.Millisecond)
		c.want("node online")
		c.pass(5 * time.Second) // it is at work again
		c.want()
		c.says(query(8000))
		c.turns()
		c.pass(5 * time.Second)
		c.want()
		c.says(listening(8000))
		c.want("node listening", "ready")
	})
	inCrowd(t, nil, func(c *crowd) {
		c.busy = true
		c.start()
		c.says(online)
		c.pass(5 * time.Second)
		c.turns()
		c.pass(1100 * time.Millisecond)
		c.want("node online")
		c.turns()
		c.want("ready")
	})
	inCrowd(t, nil, func(c *crowd) {
		c.busy = true
		c.start()
		c.says(online)
		c.pass(61 * time.Second)
		c.want("node online", "failed E-READY-TIMEOUT")
		if !strings.Contains(c.failed.Text, "main script") {
			t.Errorf("%s", c.failed.Text)
		}
	})
}

// S3.3: it is ready once every server that it has asked for listens.
func TestClusterReady(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		if v := look(c, c.a.Node); v.State != "none" {
			t.Error(v)
		}
		c.says(online, query(8000), query(8001), listening(8001))
		c.pass(time.Minute / 2)
		c.want("node online", "node listening")
		c.says(listening(8000))
		c.want("node listening", "ready")
		v := look(c, c.a.Node)
		if v.State != "listening" || len(v.Listening) != 2 || len(look(c, c.a.Servers)) != 2 {
			t.Error(v)
		}
	})
}

// One that asks for nothing is ready when it has lived for a while, unless others of
// its app listen.
func TestClusterWithoutServers(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		c.pass(5 * time.Second)
		c.want() // it has not said a word yet
		c.says(online)
		c.pass(900 * time.Millisecond)
		c.want("node online")
		c.pass(200 * time.Millisecond)
		c.want("ready")
	})
	inCrowd(t, nil, func(c *crowd) {
		c.others = true
		c.start()
		c.says(online)
		c.pass(59 * time.Second)
		c.want("node online")
		c.pass(2 * time.Second)
		c.want("failed E-READY-TIMEOUT")
		if !strings.Contains(c.failed.Text, "no server") {
			t.Error(c.failed.Text)
		}
	})
}

// In a reload it must listen where its predecessor does, but not for ever.
func TestClusterReadyAsThePredecessor(t *testing.T) {
	for _, all := range []bool{true, false} {
		inCrowd(t, nil, func(c *crowd) {
			c.start()
			c.says(online, query(8000), query(8001))
			c.before = []string{c.key(8000), "gone:1:4"}
			if all {
				c.before[1] = c.key(8001)
			}
			c.says(listening(8000), listening(8001))
			if all {
				c.want("node online", "node listening", "node listening", "ready")
				return
			}
			c.pass(4 * time.Second)
			c.want("node online", "node listening", "node listening")
			c.pass(2 * time.Second)
			c.want("warned E-LISTEN-PID", "ready")
		})
	}
}

// S3.10: it is told to disconnect; the signal comes when it lives on without its
// channel, or when most of the time is over.
func TestClusterStop(t *testing.T) {
	up := func(c *crowd) {
		c.fake.OnSignal(func(string, syscall.Signal) bool { return true }) // it does not care
		c.start()
		c.says(online, query(8000), listening(8000))
		c.want("node online", "node listening", "ready")
		c.sent = nil
		c.stop()
		if len(c.sent) != 1 || !strings.Contains(c.sent[0], `"act":"disconnect"`) || c.signals() != 0 || !look(c, c.a.AfterDisconnect) {
			c.Errorf("sent %q, %d signals", c.sent, c.signals())
		}
	}
	inCrowd(t, nil, func(c *crowd) {
		up(c)
		c.pass(5 * time.Second)
		c.a.hungUp(io.EOF)
		c.pass(100 * time.Millisecond)
		if c.want("node disconnected"); c.signals() != 0 {
			t.Error("a signal too early")
		}
		c.pass(150 * time.Millisecond)
		if c.signals() != 1 {
			t.Error("no signal")
		}
	})
	inCrowd(t, nil, func(c *crowd) {
		up(c)
		c.pass(23 * time.Second)
		if c.signals() != 0 {
			t.Error("a signal too early")
		}
		c.pass(2 * time.Second)
		if c.want(); c.signals() != 1 {
			t.Error("no signal")
		}
		c.pass(6 * time.Second)
		c.want("late")
		c.do(c.a.Kill)
		c.want("exited -1")
	})
}

// What is not online yet could not hear it.
func TestClusterStopBeforeOnline(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		c.stop()
		if c.want("exited -1"); c.signals() != 1 {
			t.Error("no signal")
		}
	})
}

// One that leaves its channel and lives on is replaced; one that ends in time is not.
func TestClusterAlone(t *testing.T) {
	for _, ends := range []bool{true, false} {
		inCrowd(t, nil, func(c *crowd) {
			c.start()
			c.says(online, query(8000), listening(8000))
			c.a.hungUp(io.EOF)
			c.pass(4 * time.Second)
			c.want("node online", "node listening", "ready", "node disconnected")
			if v := look(c, c.a.Node); v.State != "disconnected" || v.Listening != nil {
				t.Error(v)
			}
			if ends {
				c.exit(0)
				c.want("exited 0")
			}
			c.pass(2 * time.Second)
			if ends {
				c.want()
			} else {
				c.want("torn E-NO-CHANNEL")
			}
		})
	}
}

// S3.5: a worker may leave by its own wish, which is known before its end.
func TestClusterLeavesByItself(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		c.says(online, query(8000), listening(8000))
		c.pass(2 * time.Second)
		if look(c, c.a.AfterDisconnect) || look(c, c.a.LeftByItself) {
			t.Error("it has asked for nothing yet")
		}
		c.sent = nil
		c.says(`{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect","seq":9}`)
		if len(c.sent) != 1 || !strings.Contains(c.sent[0], `"ack":9`) {
			t.Errorf("sent %q", c.sent)
		}
		c.a.hungUp(io.EOF)
		c.exit(0)
		if !look(c, c.a.AfterDisconnect) || !look(c, c.a.LeftByItself) {
			t.Error("it has left by itself")
		}
	})
}

// What it says that nobody can understand is held against it once.
func TestClusterIsJudgedOnce(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		c.do(func() {
			c.a.judgeChannel(errors.New("no"))
			c.a.judgeChannel(errors.New("no"))
		})
		c.want("torn E-BAD-CHANNEL")
	})
}

// Facts are the same value while nothing has changed, so that nothing is written; a
// successor goes on with them.
func TestClusterFacts(t *testing.T) {
	inCrowd(t, nil, func(c *crowd) {
		c.start()
		c.says(online, query(8000))
		var first, again, last record.Process
		c.do(func() { first, again = c.a.Facts(), c.a.Facts() })
		c.says(listening(8000))
		c.do(func() { last = c.a.Facts() })
		if first != again || first.Node == last.Node || first.Node.Servers[c.key(8000)] || !last.Node.Servers[c.key(8000)] {
			t.Errorf("%+v, %+v, %+v", first.Node, again.Node, last.Node)
		}
		if last.Number != 7 {
			t.Error(last.Number)
		}
		heir := Adopt(c.Context(), c.a.cfg, last)
		if heir.Number() != 7 || !slices.Equal(heir.Servers(), look(c, c.a.Servers)) {
			t.Error(heir.Number(), heir.Servers())
		}
		last.Node = nil
		if heir = Adopt(c.Context(), c.a.cfg, last); heir.node != nil {
			t.Error("a program that was none has become a worker")
		}
	})
}
