package voice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// exchange is an op.Exchange, and a Seat, that keep what they are told.
type exchange struct {
	mu    sync.Mutex
	party op.Party
	told  []string
	heard atomic.Int64
	quiet bool // frames are counted only
}

func (e *exchange) Enter(p op.Party, adopted bool) op.Seat {
	e.note("enter %s %s adopted:%v", p.ID, p.Name, adopted)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.party = p
	return e
}

func (e *exchange) Hear(data []byte) {
	e.heard.Add(1)
	if !e.quiet {
		e.note("%s", data)
	}
}
func (e *exchange) Ready(pid int, ready bool) { e.note("ready %d %v", pid, ready) }
func (e *exchange) Changed(s op.Settings, allow []string) {
	e.note("changed %d %q", s.HeartbeatMS, allow)
}
func (e *exchange) Gone() { e.note("gone") }

func (e *exchange) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, fmt.Sprintf(format, args...))
}

func (e *exchange) list() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.told)
}

// wants waits for what was told since the last time.
func (e *exchange) wants(t *testing.T, told ...string) {
	t.Helper()
	eventually(t, fmt.Sprintf("%q", told), func() bool { return len(e.list()) >= len(told) }, e.list)
	if got := e.list(); !slices.Equal(got, told) {
		t.Fatalf("told %q, want %q", got, told)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = nil
}

func eventually(t *testing.T, what string, ok func() bool, is func() []string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not %s, but %q", what, is())
		}
	}
}

// line is a Voice with the process's end of its channel.
type line struct {
	*testing.T
	v      *Voice
	e      *exchange
	office mail.Office
	lines  Lines
	far    *channel.Conn
	said   chan string
	cancel context.CancelFunc
	heard  chan struct{} // closed when Listen has returned
}

func newLine(t *testing.T, change func(*Options)) *line {
	t.Helper()
	store := process.NewDirectStore()
	l := &line{
		T: t, e: &exchange{}, said: make(chan string, 1000), heard: make(chan struct{}),
		lines: Lines{Store: store, Pair: channel.Pair, Counters: &Counters{}},
	}
	conn, theirs, err := l.lines.Open("web.0.x-1", false)
	if err != nil {
		t.Fatal(err)
	}
	l.far = channel.Open(copyOf(theirs), channel.Options{})
	theirs.Close()
	l.speak(conn, change)
	t.Cleanup(func() {
		l.cancel()
		l.v.HangUp()
		<-l.heard
		l.far.Close()
		store.Close()
	})
	return l
}

// speak makes the Voice and has it listen.
func (l *line) speak(conn *channel.Conn, change func(*Options)) {
	var mu sync.Mutex // the owner
	step := func(do func()) { mu.Lock(); defer mu.Unlock(); do() }
	o := Options{
		ID: "web.0.x-1", Conn: conn, Lines: l.lines, Office: &l.office, Exchange: l.e,
		Box:   mail.Box{App: "web", Carrier: mail.Plain{Conn: conn}},
		Party: op.Party{App: "web", Name: "web#0"}, Post: step, Settled: func(do func()) bool { step(do); return true },
		Events: Events{
			Ready: func() { l.said <- "ready" }, Status: func(s string) { l.said <- "status " + s },
			Said:    func(m event.WorkerMessage) { l.said <- "said " + string(m.Message) },
			Warned:  func(f *fault.Fault) { l.said <- "warned " + string(f.Code) },
			Beat:    func() { l.said <- "beat" },
			Crashed: func(c event.WorkerCrash) { l.said <- "crash " + c.Error },
			Told:    func(e event.WorkerLifecycle) { l.said <- "told " + e.Text },
		},
	}
	if change != nil {
		change(&o)
	}
	l.v = New(o, 0)
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	v, heard := l.v, l.heard
	go func() { defer close(heard); v.Listen(ctx, nil) }()
}

func (l *line) send(frames ...string) {
	l.Helper()
	for _, f := range frames {
		if err := l.far.Send([]byte(f)); err != nil {
			l.Fatal(err)
		}
	}
}

func (l *line) wants(said ...string) {
	l.Helper()
	for _, want := range said {
		select {
		case got := <-l.said:
			if got != want {
				l.Fatalf("said %q, want %q", got, want)
			}
		case <-time.After(20 * time.Second):
			l.Fatalf("%q was not said", want)
		}
	}
}

func (l *line) receives(want string) {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	f, err := l.far.Receive(ctx)
	if err != nil || string(f.Data) != want {
		l.Fatalf("received %s, %v, want %s", f.Data, err, want)
	}
}

const entered = "enter web.0.x-1 web#0 adopted:false"

// A process takes part from the start of its channel to its end; frames are heard as
// they are, in whatever form they have, in order with all else.
func TestTakesPart(t *testing.T) {
	l := newLine(t, nil)
	l.e.wants(t, entered, "ready 0 false")
	l.send(`{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_STATUS","text":"up"}`)
	l.wants("status up")
	l.e.wants(t, `{"cmd":"MUSTER_OP","op":"hello","id":1}`)
	l.v.Open(7)
	l.v.Open(8)
	l.send(` {"id":2, "cmd":"MUSTER_REPLY"}`, `{"cmd":"MUSTER_CANCEL"`, `{"cmd":"MUSTER_OPERA"}`, `{"cmd":"NODE_MUSTER_OP"}`, `{"mine":1}`)
	l.wants(`said {"mine":1}`)
	l.e.wants(t, "ready 7 true", "ready 8 true", ` {"id":2, "cmd":"MUSTER_REPLY"}`, `{"cmd":"MUSTER_CANCEL"`)
	if got := l.lines.Counters.Channels(l.office.Counts()); got != (Channels{Commands: 1, Unheard: 2, Heard: 1}) {
		t.Errorf("%+v", got)
	}
	if err := l.e.party.Send([]byte(`{"cmd":"MUSTER_REPLY","id":1}`)); err != nil {
		t.Fatal(err)
	}
	l.receives(`{"cmd":"MUSTER_REPLY","id":1}`)
	l.v.Changed(op.Settings{HeartbeatMS: 5}, []string{"orders"})
	l.v.Close(8)
	l.send(`{"cmd":"MUSTER_OP","op":"last"}`)
	l.far.Close()
	l.e.wants(t, `changed 5 ["orders"]`, "ready 8 false", `{"cmd":"MUSTER_OP","op":"last"}`, "gone")
	l.v.HeardOut(t.Context())
	l.v.HangUp() // it is gone already
	l.e.wants(t)
}

// One that is given up is gone at once, once.
func TestGivenUp(t *testing.T) {
	l := newLine(t, nil)
	l.v.HangUp()
	<-l.heard
	l.e.wants(t, entered, "ready 0 false", "gone")
}

// What is left for a successor is not gone, and loses no frame: also not the one that
// comes while the agent leaves.
func TestHandedOver(t *testing.T) {
	l := newLine(t, nil)
	l.v.Open(7)
	l.send(`{"cmd":"MUSTER_OP","op":"one"}`)
	l.e.wants(t, entered, "ready 0 false", "ready 7 true", `{"cmd":"MUSTER_OP","op":"one"}`)
	l.v.Silence()
	l.v.Close(7)
	l.send(`{"cmd":"MUSTER_OP","op":"two"}`)
	<-l.heard
	if err := l.e.party.Send([]byte(`{"cmd":"MUSTER_OP","op":"bye"}`)); err != nil {
		t.Fatal(err)
	}
	l.v.HandOver()
	l.receives(`{"cmd":"MUSTER_OP","op":"bye"}`)
	l.e.wants(t)

	l.e, l.heard = &exchange{}, make(chan struct{})
	conn, torn := l.lines.Adopt("web.0.x-1", false)
	if conn == nil || torn != nil {
		t.Fatal(torn)
	}
	l.cancel()
	l.speak(conn, func(o *Options) { o.Adopted = true })
	l.e.wants(t, "enter web.0.x-1 web#0 adopted:true", `{"cmd":"MUSTER_OP","op":"two"}`)
}

// To Node.js a frame goes as one of its own kind: its code does not hear of it.
func TestFramesForNode(t *testing.T) {
	l := newLine(t, func(o *Options) {
		var n atomic.Int64
		o.Box.Carrier = mail.Node{Link: nodejs.NewLink(o.Conn.Send, func() int64 { return n.Add(1) }), Conn: o.Conn}
	})
	for sent, want := range map[string]string{
		`{"cmd":"MUSTER_OP","op":"x","body":{"cmd":"MUSTER_OP"}}`: `{"cmd":"NODE_MUSTER_OP","op":"x","body":{"cmd":"MUSTER_OP"}}`,
		`{"cmd":"MUSTER_REPLY","id":1}`:                           `{"cmd":"NODE_MUSTER_REPLY","id":1}`,
		`{"id":1}`:                                                `{"id":1}`,
	} {
		if err := l.e.party.Send([]byte(sent)); err != nil {
			t.Fatal(err)
		}
		l.receives(want)
	}
	l.far.Close()
	<-l.heard
	if err := l.e.party.Send([]byte(`{"cmd":"MUSTER_OP"}`)); !errors.Is(err, channel.ErrGone) {
		t.Error(err)
	}
}

// What a process says of itself is bounded: it cannot flood whoever follows the events.
func TestSaysOfItself(t *testing.T) {
	l := newLine(t, nil)
	p := l.e.party
	p.Beat()
	p.Lifecycle("warm\x1b[2J\nup")
	p.Crash(op.CrashBody{Error: "boom"})
	l.wants("beat", "told warm [2J up", "crash boom")
	begun := time.Now()
	for range 10_000 {
		p.Lifecycle("again")
		p.Crash(op.CrashBody{Error: "again"})
	}
	if most := int(time.Since(begun)/time.Second+2) * (toldMax + crashesMax); len(l.said) > most || len(l.said) < toldMax {
		t.Errorf("%d were told, not %d", len(l.said), most)
	}
}

// Without an exchange frames of operations are commands that nobody knows.
func TestNoExchange(t *testing.T) {
	l := newLine(t, func(o *Options) { o.Exchange = nil })
	l.v.Open(1)
	l.send(`{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_READY"}`)
	l.wants("ready")
	if got := l.lines.Counters.Channels(mail.Counts{}); got.Unheard != 1 || l.v.TakesPart() || l.v.First(channel.Frame{Data: []byte(`{"cmd":"MUSTER_OP"}`)}) {
		t.Errorf("%+v", got)
	}
	l.v.Changed(op.Settings{}, nil)
	l.v.Close(1)
}

// A process without a channel that can be used is struck out, once.
func TestStrike(t *testing.T) {
	e := &exchange{}
	Strike(nil, op.Party{})
	Strike(e, op.Party{ID: "x", Name: "web#1"})
	e.wants(t, "enter x web#1 adopted:true", "gone")
	if frames, bytes := e.party.Waiting(); frames+bytes != 0 || !errors.Is(e.party.Send(nil), channel.ErrGone) {
		t.Error("it can be spoken to")
	}
}

// A line without an end is the end, and nothing is heard behind it.
func TestEndless(t *testing.T) {
	l := newLine(t, nil)
	ended := make(chan error)
	go func() {
		_, err := l.far.Receive(context.Background())
		ended <- err
	}()
	l.send(`{"cmd":"MUSTER_OP","body":"` + strings.Repeat("x", channel.FrameMax+(1<<20)))
	l.wants("warned E-BAD-CHANNEL")
	l.e.wants(t, entered, "ready 0 false", "gone")
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	if left := l.lines.Store.List(); len(left) > 0 {
		t.Errorf("the Store keeps %q", left)
	}
}

// On a thread that must not wait a frame is heard, or (too many have come) left to
// whoever may wait.
func TestFirstKeepsThePace(t *testing.T) {
	l := newLine(t, nil)
	l.e.quiet = true
	l.v.ops = mail.Pace{Frames: 50, Window: time.Hour}
	f := channel.Frame{Data: []byte(`{"cmd":"MUSTER_OP","op":"x"}`)}
	for n := range 50 {
		if !l.v.First(f) {
			t.Fatalf("frame %d was not taken", n)
		}
	}
	if l.v.First(f) || l.e.heard.Load() != 50 {
		t.Errorf("%d were heard", l.e.heard.Load())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if !l.v.Rest(ctx, f, "") || ctx.Err() == nil || l.e.heard.Load() != 51 {
		t.Errorf("%d were heard, and nothing was waited for", l.e.heard.Load())
	}
	l.v.ops = mail.Pace{Frames: opFrames, Window: opWindow}
	if !l.v.First(f) || l.v.First(channel.Frame{Data: []byte(`{"cmd":"MUSTER_READY"}`)}) {
		t.Error("an operation was not taken, or what is none")
	}
}

// Descriptors that come with a frame nobody can use are closed.
func TestDescriptorsAreClosed(t *testing.T) {
	l := newLine(t, nil)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, frame := range []string{`{"cmd":"MUSTER_OP","op":"x"}`, `{"cmd":"MUSTER_READY"}`} {
		if err := l.far.Send([]byte(frame), int(w.Fd())); err != nil {
			t.Fatal(err)
		}
	}
	l.wants("ready")
	w.Close()
	if n, err := unix.Read(int(r.Fd()), make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// BenchmarkHear is operations of one process, from its socket to its seat.
func BenchmarkHear(b *testing.B) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		b.Fatal(err)
	}
	conn, far, e := channel.Open(ours, channel.Options{Peek: true}), channel.Open(theirs, channel.Options{}), &exchange{quiet: true}
	v := New(Options{Conn: conn, Exchange: e, Office: &mail.Office{}, Box: mail.Box{Carrier: mail.Plain{Conn: conn}}}, 1)
	v.ops.Frames = 1 << 30
	done := make(chan struct{})
	go func() { defer close(done); v.Listen(context.Background(), nil) }()
	data := []byte(`{"cmd":"MUSTER_OP","op":"limiter:take","id":1700000000000001,"body":{"name":"api","key":"10.0.0.1","rate":100}}`)
	b.ReportAllocs()
	for b.Loop() {
		for far.Send(data) != nil {
			_ = far.Flush(context.Background())
		}
	}
	_ = far.Flush(context.Background())
	far.Close()
	<-done
	if n := e.heard.Load(); n < int64(b.N) {
		b.Fatalf("%d of %d", n, b.N)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "frames/s")
	conn.Close()
}
