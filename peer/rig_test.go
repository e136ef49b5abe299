package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// agent is the other end of a Peer's wire, played by the test.
type agent struct {
	t    testing.TB
	conn *channel.Conn
}

// within bounds a wait of a test, generously: the machine may be busy.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(stop)
	return ctx
}

// join makes a Peer that has been welcomed as web#0, over a socketpair.
func join(t testing.TB, o Options) (*Peer, *agent) {
	t.Helper()
	p, a := joinSilently(t, o)
	hello := a.next(op.Hello)
	a.reply(hello, Welcome{Name: "web#0", App: "web", Slot: 0})
	if w, err := p.Hello(within(t)); err != nil || w.Name != "web#0" {
		t.Fatalf("welcomed as %+v, %v", w, err)
	}
	return p, a
}

// joinSilently leaves the answer to hello to the test.
func joinSilently(t testing.TB, o Options) (*Peer, *agent) {
	t.Helper()
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(ours), "peer")
	conn, err := net.FileConn(file)
	file.Close()
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{t, channel.Open(theirs, channel.Options{})}
	t.Cleanup(func() { a.conn.Close() })
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := New(Lines(conn), o)
	t.Cleanup(func() { p.Close() })
	return p, a
}

// frame is the next one, whatever it is.
func (a *agent) frame() op.Frame {
	a.t.Helper()
	got, err := a.conn.Receive(within(a.t))
	if err != nil {
		a.t.Fatalf("nothing came: %v", err)
	}
	f, err := op.Parse(got.Data)
	if err != nil {
		a.t.Fatalf("%s: %v", got.Data, err)
	}
	return f
}

// next is the next frame, which must be this op.
func (a *agent) next(opName string) op.Frame {
	a.t.Helper()
	f := a.frame()
	if f.Cmd != op.CmdOp || f.Op != opName {
		a.t.Fatalf("got %s, want %s", f.Append(nil), opName)
	}
	return f
}

// replied is the next frame, which must be a reply to this ID.
func (a *agent) replied(id int64) op.Frame {
	a.t.Helper()
	f := a.frame()
	if f.Cmd != op.CmdReply || f.ID != id {
		a.t.Fatalf("got %s, want the reply to %d", f.Append(nil), id)
	}
	return f
}

func (a *agent) send(f op.Frame) {
	a.t.Helper()
	if err := a.conn.Send(f.Append(nil)); err != nil {
		a.t.Fatal(err)
	}
}

// op sends an operation.
func (a *agent) op(opName string, body any, change ...func(*op.Frame)) {
	a.t.Helper()
	f := op.Frame{Cmd: op.CmdOp, Op: opName, Body: raw(a.t, body)}
	for _, c := range change {
		c(&f)
	}
	a.send(f)
}

func (a *agent) reply(to op.Frame, body any) {
	a.t.Helper()
	a.send(op.Frame{Cmd: op.CmdReply, ID: to.ID, Body: raw(a.t, body)})
}

func (a *agent) refuse(to op.Frame, code fault.Code) {
	a.t.Helper()
	a.send(op.Frame{Cmd: op.CmdReply, ID: to.ID, Error: &op.Error{Code: code, Text: "refused"}})
}

func id(n int64) func(*op.Frame)       { return func(f *op.Frame) { f.ID = n } }
func from(name string) func(*op.Frame) { return func(f *op.Frame) { f.From, f.PID = name, 7 } }
func on(channel string) func(*op.Frame) {
	return func(f *op.Frame) { f.Channel = channel }
}

func raw(t testing.TB, v any) json.RawMessage {
	t.Helper()
	if v == nil {
		return nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decodeBody[B any](t testing.TB, f op.Frame) B {
	t.Helper()
	var b B
	if err := json.Unmarshal(f.Body, &b); err != nil {
		t.Fatalf("%s: %v", f.Append(nil), err)
	}
	return b
}

// wantCode fails when err has another code.
func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("got %v, want %q", err, code)
	}
}

// receive waits for a value.
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

// started runs f beside the test, and gives its result.
func started[V any](f func() V) <-chan V {
	c := make(chan V, 1)
	go func() { c <- f() }()
	return c
}

// eventually polls until ok.
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

// logged is a log that can be read.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *logged) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.buf.Bytes(), []byte(text))
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

var errOwn = errors.New("no milk")
