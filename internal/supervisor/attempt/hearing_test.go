package attempt

import (
	"strings"
	"testing"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// newHeard is a line to a Node.js worker, heard by a loop.
func newHeard(t *testing.T, change ...func(*Shared)) *line {
	t.Helper()
	l := newLine(t)
	for _, c := range change {
		c(l.shared)
	}
	loop, err := handoff.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	l.shared.Loop = loop
	l.hear()
	return l
}

// newHeardOn is a line to another worker, heard by the same loop and exchange.
func newHeardOn(t *testing.T, other *line) *line {
	t.Helper()
	l := newLine(t)
	l.shared.Loop, l.shared.Exchange = other.shared.Loop, other.shared.Exchange
	l.hear()
	return l
}

// hear makes the channel of a started Node.js worker.
func (l *line) hear() {
	t := l.T
	t.Helper()
	cfg := l.a.cfg
	cfg.Number, cfg.Before = 1, func() ([]string, bool) { return nil, false }
	cfg.Primary = newPrimary(t, l.shared)
	t.Cleanup(cfg.Primary.Close)
	cfg.Events.Node = func(e event.WorkerNode) { l.said <- "node " + e.State }
	cfg.Events.Said = func(m event.WorkerMessage) { l.said <- "said " + string(m.Message) }
	l.a = New(l.a.life, cfg)
	l.a.running, l.a.needs = true, need.Servers|need.Notify
	conn, theirs, err := l.shared.lines().Open(l.a.id, true)
	if err != nil {
		t.Fatal(err)
	}
	l.worker = channel.Open(copyOf(theirs), channel.Options{})
	theirs.Close()
	l.a.channel = conn
	l.do(func() { l.a.listen(nil) })
}

// do runs a step in the owner's goroutine.
func (l *line) do(step func()) {
	done := make(chan struct{})
	l.a.cfg.Post(func() { step(); close(done) })
	<-done
}

func (l *line) wants(events ...string) {
	l.Helper()
	for _, want := range events {
		if got := l.next(); got != want {
			l.Fatalf("heard %q, want %q", got, want)
		}
	}
}

// hangs up, as the end of an agent or of a worker does.
func (l *line) close() {
	l.do(l.a.silence)
	l.a.node.deafen()
	l.a.hangUp(false)
}

// Frames of Node's protocol, of muster's and of user code go over one channel, in
// order.
func TestClusterIsHeard(t *testing.T) {
	l := newHeard(t)
	defer l.close()
	l.send(online, `{"type":"mine"}`, query(8000))
	l.wants("node online", `said {"type":"mine"}`)
	if got := l.receive(); !strings.Contains(got, `"ack":8000`) || !strings.Contains(got, `"errno":0`) {
		t.Fatalf("answered %s", got)
	}
	l.send(listening(8000), `{"cmd":"MUSTER_PING","id":1}`)
	l.wants("node listening")
	if got := l.receive(); got != `{"cmd":"MUSTER_PONG","id":1}` {
		t.Errorf("answered %s", got)
	}
	// What programs send that PM2 is to wait for.
	l.send(`"ready"`)
	l.wants(`said "ready"`, "ready")
	l.do(func() {
		if f := l.a.Facts(); !f.Node.Online || len(f.Node.Servers) != 1 {
			t.Errorf("%+v", f.Node)
		}
	})
}

// A worker that sends what Node.js never would is judged, once; the end of its channel
// comes after all that it had said.
func TestClusterBadFrames(t *testing.T) {
	l := newHeard(t)
	defer l.close()
	l.send(online, `{"cmd":"NODE_CLUSTER","act":"queryServer","address":7}`, `{"cmd":"NODE_CLUSTER","act":"queryServer"}`, `{"type":"last"}`)
	l.wants("node online", "torn E-BAD-CHANNEL", `said {"type":"last"}`)
	l.worker.Close()
	l.wants("node disconnected")
	l.a.voice.HeardOut(t.Context())
}

// A line without an end closes the channel of a Node.js worker, too.
func TestClusterEndlessLine(t *testing.T) {
	l := newHeard(t)
	defer l.close()
	go func() {
		for { // what we send must be read, or the worker's Send waits for ever
			if _, err := l.worker.Receive(l.Context()); err != nil {
				return
			}
		}
	}()
	if err := l.worker.Send([]byte(strings.Repeat("x", channel.FrameMax+(1<<20)))); err != nil {
		t.Fatal(err)
	}
	got := []string{l.next(), l.next()}
	if text := strings.Join(got, ","); !strings.Contains(text, "warned E-BAD-CHANNEL") || !strings.Contains(text, "node disconnected") {
		t.Error(text)
	}
}

// A successor hears on, and answers what was asked and not answered.
func TestClusterIsAdopted(t *testing.T) {
	l := newHeard(t)
	l.send(online, query(8000))
	l.wants("node online")
	if got := l.receive(); !strings.Contains(got, `"ack":8000`) {
		t.Fatal(got)
	}
	var was record.Process
	var asked []record.Asked
	l.do(func() { was, asked = l.a.Facts(), l.a.cfg.Primary.Facts() })
	if len(asked) != 1 {
		t.Fatal(asked)
	}
	l.close() // the agent leaves; the Store has the channel
	l.send(listening(8000), query(8001))

	was.Started = was.Launched
	l.a = Adopt(l.a.life, l.a.cfg, was)
	l.a.needs = need.Servers
	conn, torn := l.shared.lines().Adopt(l.a.id, true)
	if torn != nil || conn == nil {
		t.Fatal(torn)
	}
	l.a.channel = conn
	l.do(func() { l.a.listen(l.a.node.last) })
	defer l.close()
	l.wants("node listening")
	for { // pings, and answers
		if got := l.receive(); strings.Contains(got, `"ack":8001`) {
			break
		}
	}
	l.do(func() {
		if f := l.a.Facts(); len(f.Node.Servers) != 2 || !f.Node.Online {
			t.Errorf("%+v", f.Node)
		}
	})
}

// stop.message reaches a worker before it is told to disconnect.
func TestStopMessage(t *testing.T) {
	l := newHeard(t)
	defer l.close()
	l.send(online)
	l.wants("node online")
	l.do(func() {
		rules := l.a.app.Stop
		rules.Message = "shutdown"
		l.a.stopping = true
		l.a.arm(rules.Timeout.D(), func() {})
		l.a.askToEnd(rules)
		l.a.disarm()
	})
	if got := l.receive(); got != `"shutdown"` {
		t.Error(got)
	}
	if got := l.receive(); !strings.Contains(got, `"disconnect"`) {
		t.Error(got)
	}
}
