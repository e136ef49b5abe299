package attempt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/voice"
	"github.com/muster-run/muster/spec"
)

// line is an attempt that has nothing but a channel, and the worker's end of it.
type line struct {
	*testing.T
	shared *Shared
	a      *Attempt
	steps  chan func()
	said   chan string // events, in order
	worker *channel.Conn
}

// newLine makes the attempt as start does it, with an owner that records at once.
func newLine(t *testing.T) *line {
	t.Helper()
	shared, err := NewShared(processtest.NewFake(), process.NewDirectStore(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l := &line{T: t, shared: shared, steps: make(chan func()), said: make(chan string, 16)}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		for {
			select {
			case step := <-l.steps:
				step()
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-over
		if l.worker != nil {
			l.worker.Close()
		}
		shared.Errands.End()
		shared.Store.(*process.DirectStore).Close()
	})
	l.a = l.attempt(ctx)
	return l
}

func (l *line) attempt(ctx context.Context) *Attempt {
	app := spec.DefaultApp("web")
	app.Ready.Mode = spec.ReadyNotify
	a := New(ctx, Config{
		Shared: l.shared,
		Post: func(step func()) bool {
			select {
			case l.steps <- step:
				return true
			case <-ctx.Done():
				return false
			}
		},
		Events: Events{
			Ready:  func() { l.said <- "ready" },
			Status: func(text string) { l.said <- "status " + text },
			Torn:   func(f *fault.Fault) { l.said <- "torn " + string(f.Code) },
			Warned: func(f *fault.Fault) { l.said <- "warned " + string(f.Code) },
		},
	})
	a.app, a.running, a.needs = app, true, need.Notify
	return a
}

// open makes the channel of a started process.
func (l *line) open() {
	l.Helper()
	conn, theirs, err := l.shared.lines().Open(l.a.id, false)
	if err != nil {
		l.Fatal(err)
	}
	l.worker = channel.Open(copyOf(theirs), channel.Options{})
	theirs.Close()
	l.a.channel = conn
	l.a.listen(nil)
}

// copyOf is a raw duplicate of a descriptor.
func copyOf(f *os.File) int {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return -1
	}
	return fd
}

func (l *line) next() string {
	l.Helper()
	select {
	case s := <-l.said:
		return s
	case <-time.After(20 * time.Second):
		l.Fatal("nothing was heard")
		return ""
	}
}

func (l *line) send(frames ...string) {
	l.Helper()
	for _, f := range frames {
		if err := l.worker.Send([]byte(f)); err != nil {
			l.Fatal(err)
		}
	}
}

// receive is the next frame to the worker, but for pings.
func (l *line) receive() string {
	l.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		f, err := l.worker.Receive(ctx)
		if err != nil {
			l.Fatal(err)
		}
		voice.CloseAll(f.FDs)
		if !strings.Contains(string(f.Data), `"muster:ping"`) {
			return string(f.Data)
		}
	}
}

// A worker in any language says by its channel what sd_notify says; what nobody
// listens to is counted, and does no harm.
func TestChannelCommands(t *testing.T) {
	l := newLine(t)
	l.open()
	l.send(`{"cmd":"MUSTER_STATUS","text":"warming\u001b[2J\nup"}`, `{"type":"mine"}`, `no json`, `{"cmd":"MUSTER_NEW"}`,
		`{"cmd":"MUSTER_PING","id":"a1"}`, `{"cmd":"MUSTER_STATUS","text":7}`, `{"cmd":"MUSTER_READY"}`, `{"cmd":"MUSTER_READY"}`)
	got := []string{l.next(), l.next(), l.next()}
	if want := []string{"status warming [2J up", "status ", "ready"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if got := l.receive(); got != `{"cmd":"MUSTER_PONG","id":"a1"}` {
		t.Errorf("answer %s", got)
	}
	l.send(`{"cmd":"MUSTER_PING","id":2}`) // the second READY was dealt with before
	if got := l.receive(); got != `{"cmd":"MUSTER_PONG","id":2}` {
		t.Errorf("answer %s", got)
	}
	if got := l.shared.Channels(); got != (voice.Channels{Commands: 6, Unheard: 1, Heard: 2}) {
		t.Errorf("%+v", got)
	}
	l.a.hangUp(false)
	l.shared.forget(l.a.id)
	l.gone()
}

// gone waits until the Store has nothing of the channel any more.
func (l *line) gone() {
	l.Helper()
	deadline := time.After(20 * time.Second)
	for {
		left := slices.ContainsFunc(l.shared.Store.List(), func(name string) bool { return strings.Contains(name, l.a.id) })
		if !left {
			return
		}
		select {
		case <-deadline:
			l.Fatalf("the Store keeps %q", l.shared.Store.List())
		default:
		}
	}
}

// The successor reads on where the agent before had stopped, on the same socket.
func TestChannelIsAdopted(t *testing.T) {
	l := newLine(t)
	l.open()
	l.send(`{"cmd":"MUSTER_STATUS","text":"one"}`)
	if got := l.next(); got != "status one" {
		t.Fatal(got)
	}
	l.a.hangUp(true) // the agent leaves
	l.send(`{"cmd":"MUSTER_STATUS","text":"two"}`)
	var torn *fault.Fault
	if l.a.channel, torn = l.shared.lines().Adopt(l.a.id, false); torn != nil || l.a.channel == nil {
		t.Fatalf("not adopted: %v", torn)
	}
	l.a.listen(nil)
	// What was dealt with last may come twice (PROTOCOL.md), nothing is missing.
	got := l.next()
	if got == "status one" {
		got = l.next()
	}
	if got != "status two" {
		t.Errorf("heard %q", got)
	}
	l.send(`{"cmd":"MUSTER_PING","id":1}`)
	if got := l.receive(); got != `{"cmd":"MUSTER_PONG","id":1}` {
		t.Errorf("answer %s", got)
	}
	if got := l.shared.Channels(); got.Adopted != 1 || got.Torn != 0 {
		t.Errorf("%+v", got)
	}
	l.a.hangUp(false)
}

// An agent that dies in the middle of a large frame leaves a mark: its successor
// does not speak into the other half.
func TestTornChannelIsNotUsed(t *testing.T) {
	l := newLine(t)
	l.open()
	big := fmt.Appendf(nil, `{"text":%q}`, strings.Repeat("x", 4<<20))
	if err := l.a.channel.Send(big); err != nil { // nobody reads: a part of it is on its way
		t.Fatal(err)
	}
	_ = l.a.channel.Close() // as a kill does
	conn, torn := l.shared.lines().Adopt(l.a.id, false)
	if conn != nil || torn == nil || torn.Code != fault.TornChannel {
		t.Fatalf("adopted: %v, %v", conn, torn)
	}
	// The worker is told by the end of it: it would wait for answers that never come.
	heir := *l.a
	heir.channel = nil
	heir.reattach(l.a.proc)
	var err error
	for err == nil {
		_, err = l.worker.Receive(t.Context())
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the worker reads %v", err)
	}
	l.shared.forget(l.a.id)
	l.gone()
}

// A line without an end closes the channel, for a successor too; the worker is told
// by the end of it.
func TestEndlessLineCutsOff(t *testing.T) {
	l := newLine(t)
	l.open()
	ended := make(chan error)
	go func() {
		_, err := l.worker.Receive(t.Context())
		ended <- err
	}()
	if err := l.worker.Send([]byte(strings.Repeat("x", channel.FrameMax+(1<<20)))); err != nil {
		t.Fatal(err)
	}
	if got := l.next(); got != "warned E-BAD-CHANNEL" {
		t.Error(got)
	}
	if err := <-ended; !errors.Is(err, io.EOF) {
		t.Errorf("the worker reads %v", err)
	}
	l.gone()
	if conn, torn := l.shared.lines().Adopt(l.a.id, false); conn != nil || torn != nil {
		t.Errorf("a successor finds %v, %v", conn, torn)
	}
	l.a.hangUp(false)
}

// Pings of a worker that never reads cost no memory; what it says is still heard.
func TestPingsWithoutReading(t *testing.T) {
	l := newLine(t)
	l.open()
	ping := `{"cmd":"MUSTER_PING","id":"` + strings.Repeat("x", 20<<10) + `"}`
	for range 400 {
		l.send(ping)
	}
	l.send(`{"cmd":"MUSTER_STATUS","text":"still there"}`)
	if got := l.next(); got != "status still there" {
		t.Error(got)
	}
	if frames, bytes := l.a.channel.Waiting(); frames > 256 || bytes > 2<<20 {
		t.Errorf("%d frames, %d bytes wait", frames, bytes)
	}
	l.a.hangUp(false)
}

// A worker gets its end behind its listeners, and no other descriptor of it.
func TestChannelOfAStartedProcess(t *testing.T) {
	store := process.NewDirectStore()
	defer store.Close()
	fake := processtest.NewFake()
	shared, err := NewShared(fake, store, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	app := spec.DefaultApp("web")
	app.Command, app.Dir = []string{"/bin/true"}, "/"
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	log, err := output.Open(output.Options{App: app.Name, Log: spec.Log{Target: spec.LogNone}})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cfg := Config{Shared: shared, Log: log, Listeners: []Listener{{File: process.NamedFD{Name: "http", File: null}}}}
	cfg.Worker.App, cfg.Worker.Dir = app, "/"
	out, err := starter{shared: shared, cfg: cfg, id: "web.0.x-1"}.start()
	if err != nil {
		t.Fatal(err)
	}
	cmd := (<-fake.Starts())
	if len(cmd.Files) != 2 || cmd.Listen != 1 || cmd.Files[1].Name != "channel" || !slices.Contains(cmd.Env, "MUSTER_CHANNEL_FD=4") {
		t.Errorf("files %v, %d listeners, %v", cmd.Files, cmd.Listen, cmd.Env)
	}
	fake.Exit("web.0.x-1", 0, 0)
	out.drop()
	shared.Errands.End()
}

// An agent killed between making a channel and the start leaves it in the Store:
// the next one drops what no process has, and nothing else.
func TestChannelWithoutAProcessIsDropped(t *testing.T) {
	l := newLine(t)
	l.open()
	conn, theirs, err := l.shared.lines().Open("web.0.x-9", false)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	theirs.Close()
	for _, name := range l.shared.Store.List() {
		l.shared.Drop(name, func(id string) bool { return id == l.a.id })
	}
	if got, want := l.shared.Store.List(), []string{"channel/" + l.a.id}; !slices.Equal(got, want) {
		t.Errorf("the Store keeps %q, want %q", got, want)
	}
	l.a.hangUp(false)
}
