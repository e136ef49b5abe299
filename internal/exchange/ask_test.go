package exchange

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// answers is what Request says, in a channel.
type answers struct {
	list []Answer
	err  error
}

func request(ctx context.Context, e *Exchange, a Ask) <-chan answers {
	c := make(chan answers, 1)
	go func() {
		list, err := e.Request(ctx, a)
		c <- answers{list, err}
	}()
	return c
}

// S0.9: supervisor to worker.
func TestRequestOfMuster(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), client(t, e, "ops")
	got := request(t.Context(), e, Ask{To: "client:ops", Op: op.ConsoleOpen, Body: raw("[\n1]")})
	f := b.gets(op.ConsoleOpen) // it may say what is reserved
	if f.From != Muster || f.PID != 0 || string(f.Body) != `[1]` {
		t.Errorf("%+v", f)
	}
	b.answer(f, `"here"`)
	if r := <-got; r.err != nil || len(r.list) != 1 || r.list[0].From != "client:ops" || r.list[0].PID != 77 || string(r.list[0].Body) != `"here"` {
		t.Errorf("%+v", r)
	}
	got = request(t.Context(), e, Ask{To: "web,client:*", Op: "x", All: true, Within: time.Minute})
	a.say(op.Frame{Cmd: op.CmdReply, ID: a.gets("x").ID, Error: &op.Error{Code: fault.HandlerFailed, Text: "no"}})
	b.gets("x")
	b.seat.Gone()
	r := <-got
	if r.err != nil || len(r.list) != 2 || r.list[0].Fault.Code != fault.HandlerFailed || r.list[1].From != "client:ops" || r.list[1].Fault.Code != fault.PeerGone {
		t.Errorf("%+v", r)
	}
	got = request(t.Context(), e, Ask{To: "web", Op: "x"})
	a.gets("x")
	a.seat.Gone()
	if r := <-got; r.err != nil || len(r.list) != 1 || r.list[0].Fault.Code != fault.PeerGone {
		t.Errorf("%+v", r)
	}
	if r := <-request(t.Context(), e, Ask{To: "web", Op: "x", All: true}); r.err != nil || len(r.list) != 0 {
		t.Errorf("%+v", r)
	}
}

func TestBadRequestsOfMuster(t *testing.T) {
	e := newExchange(t)
	for code, a := range map[fault.Code]Ask{
		fault.NoPeer: {To: "web", Op: "x"}, fault.TooLarge: {To: "web", Op: "x", Body: raw(`"` + strings.Repeat("x", op.BodyMax) + `"`)},
	} {
		if _, err := e.Request(t.Context(), a); fault.CodeOf(err) != code {
			t.Errorf("%.100v: %v", a, err)
		}
	}
	for _, a := range []Ask{{Op: "x"}, {To: "web"}, {To: "[", Op: "x"}, {To: "web", Op: "x", Body: []byte("{\n")}, {To: "web", Op: "a\nb"}} {
		if _, err := e.Request(t.Context(), a); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%+v: %v", a, err)
		}
	}
}

func TestMusterGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		a := worker(t, e, "web", 0)
		got := request(t.Context(), e, Ask{To: "web", Op: "x", Within: time.Millisecond})
		if r := <-got; r.err != nil || r.list[0].Fault.Code != fault.Deadline {
			t.Errorf("%+v", r)
		}
		a.gets("x")
		a.next("cancel", func(f op.Frame) bool { return f.Cmd == op.CmdCancel })
		ctx, cancel := context.WithCancelCause(t.Context())
		got = request(ctx, e, Ask{To: "web", Op: "x"})
		a.gets("x")
		why := errors.New("enough")
		cancel(why)
		if r := <-got; !errors.Is(r.err, why) {
			t.Errorf("%+v", r)
		}
		a.next("cancel", func(f op.Frame) bool { return f.Cmd == op.CmdCancel })
		got = request(t.Context(), e, Ask{To: "web", Op: "x"})
		a.gets("x")
		e.Close()
		if r := <-got; fault.CodeOf(r.err) != fault.AgentReplaced {
			t.Errorf("%+v", r)
		}
		if _, err := e.Request(t.Context(), Ask{To: "web", Op: "x"}); fault.CodeOf(err) != fault.AgentReplaced {
			t.Errorf("%v", err)
		}
		a.say(op.Frame{Op: op.Hello, ID: 9})
		a.nothing()
		e.Close()
	})
}
