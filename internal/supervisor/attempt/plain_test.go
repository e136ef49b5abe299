package attempt

import (
	"testing"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
)

// newPlain is a line to a program of any language that the loop hears.
func newPlain(t *testing.T) (*line, *table) {
	t.Helper()
	l, e := newLine(t), &table{}
	loop, err := handoff.NewLoop()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { loop.Close() })
	l.shared.Loop, l.shared.Exchange = loop, e
	if !l.a.starter().driven() {
		t.Fatal("the loop would not hear it")
	}
	conn, theirs, err := l.shared.lines().Open(l.a.id, true)
	if err != nil {
		t.Fatal(err)
	}
	l.worker = channel.Open(copyOf(theirs), channel.Options{})
	theirs.Close()
	l.a.channel = conn
	l.do(func() { l.a.listen(nil) })
	return l, e
}

// A program in any language is heard by the loop's thread when it takes part in
// operations; the end of its channel is the end of its part.
func TestPlainIsHeardByTheLoop(t *testing.T) {
	l, e := newPlain(t)
	l.send(`{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_STATUS","text":"up"}`, `{"cmd":"MUSTER_OP","op":"heartbeat"}`, `{"cmd":"MUSTER_READY"}`)
	l.wants("status up", "ready")
	e.wants(t, "enter web#0 false", "ready 0 false", `{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_OP","op":"heartbeat"}`)
	l.worker.Close()
	e.wants(t, "gone")
	l.do(l.a.Close)
}

// What an agent that leaves has not heard is heard by its successor, and nothing of what
// was dealt with before the last frame.
func TestPlainIsAdoptedFromTheLoop(t *testing.T) {
	l, e := newPlain(t)
	l.send(`{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_STATUS","text":"up"}`)
	l.wants("status up")
	e.wants(t, "enter web#0 false", "ready 0 false", `{"cmd":"MUSTER_OP","op":"hello","id":1}`)
	l.do(l.a.Leave)
	l.send(`{"cmd":"MUSTER_OP","op":"ping","id":2}`)
	conn, torn := l.shared.lines().Adopt(l.a.id, true)
	if torn != nil || conn == nil {
		t.Fatal(torn)
	}
	a := l.attempt(l.a.life)
	a.id, a.channel, a.adopted, l.a = l.a.id, conn, true, a
	l.do(func() { a.listen(nil) })
	e.wants(t, "enter web#0 true", `{"cmd":"MUSTER_OP","op":"ping","id":2}`)
	l.do(l.a.Close)
}
