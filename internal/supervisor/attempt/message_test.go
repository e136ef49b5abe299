package attempt

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/spec"
)

// talker is a line whose worker's messages are heard.
func talker(t *testing.T) (*line, chan event.WorkerMessage) {
	t.Helper()
	l, said := newLine(t), make(chan event.WorkerMessage, 256)
	l.a.cfg.Events.Said = func(m event.WorkerMessage) { said <- m }
	l.open()
	l.a.openBox()
	return l, said
}

func all(*mail.Box) bool { return true }

func hear(t *testing.T, said <-chan event.WorkerMessage) event.WorkerMessage {
	t.Helper()
	select {
	case m := <-said:
		return m
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was said")
		return event.WorkerMessage{}
	}
}

// TestMessageIsTold as an event, byte for byte; descriptors nobody asked for are closed.
func TestMessageIsTold(t *testing.T) {
	l, said := talker(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.worker.Send([]byte(`{"a": 1}`), int(w.Fd()), int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if m := hear(t, said); string(m.Message) != `{"a": 1}` || m.Size != 8 || m.Descriptors != 2 {
		t.Errorf("%+v", m)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Error("a descriptor was not closed")
	}
	l.send(`no json`)
	if m := hear(t, said); string(m.Message) != `"no json"` {
		t.Errorf("%s", m.Message)
	}
	l.a.hangUp(false)
}

// TestMessageFlood: what is too much in a second is counted, the channel goes on.
func TestMessageFlood(t *testing.T) {
	l, said := talker(t)
	for i := range 150 {
		l.send(fmt.Sprint(i))
	}
	l.send(`{"cmd":"MUSTER_PING","id":1}`)
	if got := l.receive(); got != `{"cmd":"MUSTER_PONG","id":1}` {
		t.Error(got)
	}
	told := len(said)
	for i := range told {
		if m := <-said; m.Missed == 0 && string(m.Message) != fmt.Sprint(i) {
			t.Fatalf("message %d is %s", i, m.Message)
		}
	}
	if got := l.shared.Mail.Counts().Heard; got != 150 || told < 100 || told > 149 {
		t.Errorf("%d heard, %d told", got, told)
	}
	l.a.hangUp(false)
}

// TestMessageToWorker while it runs: not before, and not once it is told to end.
func TestMessageToWorker(t *testing.T) {
	l := newLine(t)
	letter := mail.Letter{Data: []byte(`"hi"`), FD: mail.None}
	l.open()
	if got := l.shared.Mail.Send(all, letter); got != nil {
		t.Errorf("before it is started: %+v", got)
	}
	l.a.openBox()
	if got := l.shared.Mail.Send(all, letter); len(got) != 1 || got[0].Fault != nil || got[0].Worker != "web#0" {
		t.Errorf("%+v", got)
	}
	if got := l.receive(); got != `"hi"` {
		t.Error(got)
	}
	l.a.running = false // there is no process to signal
	l.a.Stop(spec.Stop{})
	if got := l.shared.Mail.Send(all, letter); got != nil {
		t.Errorf("while it ends: %+v", got)
	}
	l.a.openBox()
	if got := l.shared.Mail.Send(all, letter); got != nil {
		t.Errorf("opened again: %+v", got)
	}
	l.a.hangUp(false)
}

// TestMessageBetweenWorkers carries the descriptor, and is no event.
func TestMessageBetweenWorkers(t *testing.T) {
	l, said := talker(t)
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, other := channel.Open(ours, channel.Options{}), channel.Open(theirs, channel.Options{})
	defer conn.Close()
	defer other.Close()
	l.shared.Mail.Open(&mail.Box{App: "api", Carrier: mail.Plain{Conn: conn}}, 9)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := l.worker.Send([]byte(`{"cmd":"MUSTER_SEND","to":"api","msg":{"log":"here"}}`), int(w.Fd())); err != nil {
		t.Fatal(err)
	}
	w.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	f, err := other.Receive(ctx)
	if err != nil || string(f.Data) != `{"log":"here"}` || len(f.FDs) != 1 {
		t.Fatalf("%s, %d descriptors, %v", f.Data, len(f.FDs), err)
	}
	if n, err := unix.Write(f.FDs[0], []byte("x")); n != 1 || err != nil {
		t.Error(n, err)
	}
	unix.Close(f.FDs[0])
	buf := make([]byte, 2)
	if n, err := r.Read(buf); n != 1 || err != nil {
		t.Error(n, err)
	}
	if n, err := r.Read(buf); n != 0 || err == nil {
		t.Error("a copy was not closed")
	}
	l.send(`{"cmd":"MUSTER_SEND","to":"nobody","msg":1,"id":"q"}`)
	var answer struct{ Cmd, ID, Code string }
	if err := json.Unmarshal([]byte(l.receive()), &answer); err != nil || answer.Cmd != channel.CmdFailed || answer.ID != "q" || !strings.HasPrefix(answer.Code, "E-") {
		t.Errorf("%+v, %v", answer, err)
	}
	if len(said) > 0 {
		t.Errorf("it was told: %+v", <-said)
	}
	l.a.hangUp(false)
}

// TestMessageBeforeStarted: a worker may speak before its start is reported, and is
// then no receiver yet.
func TestMessageBeforeStarted(t *testing.T) {
	shared, err := NewShared(processtest.NewFake(), process.NewDirectStore(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	a := bare(t.Context(), Config{Shared: shared})
	a.openBox()
	a.closeBox() // neither has a box
	if got := shared.Mail.Send(all, mail.Letter{}); got != nil {
		t.Errorf("%+v", got)
	}
	shared.Store.(*process.DirectStore).Close()
}
