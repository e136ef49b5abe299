package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func TestLines(t *testing.T) {
	ours, theirs := net.Pipe()
	wire := Lines(ours)
	defer wire.Close()
	long := strings.Repeat("x", op.BodyMax)
	go func() {
		_, _ = io.WriteString(theirs, "one\n\n\n"+long+"\ntwo\nrest without an end")
		theirs.Close()
	}()
	for _, want := range []string{"one", long, "two"} {
		if got, err := wire.Receive(within(t)); err != nil || string(got) != want {
			t.Fatalf("got %.20q, %v; want %.20q", got, err, want)
		}
	}
	if got, err := wire.Receive(within(t)); !errors.Is(err, io.EOF) {
		t.Errorf("got %q, %v", got, err)
	}
}

// Lines leave in order; what the other side does not read is bounded.
func TestLinesSend(t *testing.T) {
	ours, theirs := net.Pipe()
	wire := Lines(ours)
	line := bytes.Repeat([]byte("y"), 1<<20)
	sent := 0
	for ; ; sent++ {
		if err := wire.Send(line); err != nil {
			wantCode(t, err, fault.ChannelFull)
			break
		}
	}
	if sent < 7 || sent > 9 {
		t.Errorf("%d MiB have been taken", sent)
	}
	other := Lines(theirs)
	defer other.Close()
	for range sent {
		if got, err := other.Receive(within(t)); err != nil || !bytes.Equal(got, line) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	wire.Close()
	wantCode(t, wire.Send(line), fault.AgentUnreachable)
}

func TestLinesTooLong(t *testing.T) {
	ours, theirs := net.Pipe()
	wire := Lines(ours)
	defer wire.Close()
	go func() { _, _ = theirs.Write(bytes.Repeat([]byte("x"), 2*lineMax)) }()
	_, err := wire.Receive(within(t))
	wantCode(t, err, fault.BadChannel)
	theirs.Close()
}

// A Receive that is given up closes the stream: half a line may have been read.
func TestLinesGivenUp(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	wire := Lines(ours)
	ctx, stop := context.WithCancel(context.Background())
	done := started(func() error { _, err := wire.Receive(ctx); return err })
	stop()
	if err := receive(t, done); err == nil {
		t.Error("something was received")
	}
	wantCode(t, wire.Send([]byte("x")), fault.AgentUnreachable)
}

// Nothing that muster's side could send does harm.
func FuzzHear(f *testing.F) {
	for _, seed := range []string{
		`{"cmd":"MUSTER_OP","op":"x","id":1}`, `{"cmd":"MUSTER_REPLY","id":1,"body":7}`, `{"cmd":"MUSTER_CANCEL","id":1}`,
		`{"cmd":"NODE_MUSTER_OP","op":"message","channel":"room","body":{}}`, `{"cmd":"MUSTER_OP","op":"cache:del","body":1}`,
		`{"cmd":"MUSTER_OP","op":"agent:new"}`, `{"cmd":"MUSTER_OP","op":"gap","body":{"missed":-5}}`,
		`{"cmd":"MUSTER_OP","op":"commands:run","id":-1,"body":{"name":"x","args":[]}}`,
	} {
		f.Add([]byte(seed))
	}
	p, _ := join(f, Options{})
	f.Fuzz(func(_ *testing.T, line []byte) {
		if frame, err := op.Parse(plain(line)); err == nil {
			p.hear(frame)
		}
	})
}
