package peer

import (
	"context"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Another agent: what could do harm twice fails, the rest is asked again with its IDs, in
// their order, and nothing else changes.
func TestAgentNew(t *testing.T) {
	agents := make(chan AgentInfo, 1)
	p, a := join(t, Options{OnAgent: func(i AgentInfo) { agents <- i }})
	ask := func(to, name string) (<-chan error, op.Frame) {
		done := started(func() error { return p.Request(within(t), to, name, nil, nil) })
		return done, a.next(name)
	}
	other, _ := ask("web", "chat:say")
	kill, _ := ask("", op.Kill)
	add, addFrame := ask("", op.CounterAdd)
	listen, listenFrame := ask("", op.Listen)
	named, _ := ask("web", op.CounterAdd) // somebody's own, by chance of the same name
	a.op(op.AgentNew, op.AgentBody{Agent: 42, Epoch: 2})
	for _, c := range []<-chan error{other, kill, named} {
		wantCode(t, receive(t, c), fault.AgentReplaced)
	}
	if i := receive(t, agents); i.Agent != 42 || i.Epoch != 2 {
		t.Errorf("told of %+v", i)
	}
	a.next(op.Hello)
	for _, want := range []op.Frame{addFrame, listenFrame} {
		if f := a.next(want.Op); f.ID != want.ID || !f.Again {
			t.Errorf("asked again with %s, want ID %d", f.Append(nil), want.ID)
		}
	}
	a.reply(addFrame, nil)
	a.reply(listenFrame, nil)
	for _, c := range []<-chan error{add, listen} {
		if err := receive(t, c); err != nil {
			t.Error(err)
		}
	}
}

// Where the new agent cannot say whether something was done, it is asked anew only if
// doing it twice is doing it once.
func TestAgentCannotSay(t *testing.T) {
	p, a := join(t, Options{})
	renewed := started(func() error {
		return p.primitive(within(t), op.LockRenew, op.LockBody{Name: "l", Token: "t"}, nil)
	})
	f := a.next(op.LockRenew)
	a.refuse(f, fault.AgentReplaced)
	second := a.next(op.LockRenew)
	if second.ID <= f.ID || second.Again {
		t.Errorf("asked anew with %s", second.Append(nil))
	}
	a.reply(second, op.Held{Held: true})
	if err := receive(t, renewed); err != nil {
		t.Error(err)
	}
	added := started(func() error { _, err := p.Counter("c").Add(within(t), 1); return err })
	a.refuse(a.next(op.CounterAdd), fault.AgentReplaced)
	wantCode(t, receive(t, added), fault.AgentReplaced)
}

// hello is waited for as long as it takes, also by several agents.
func TestHelloOverAgents(t *testing.T) {
	p, a := joinSilently(t, Options{})
	first := a.next(op.Hello)
	a.op(op.AgentNew, nil)
	again := a.next(op.Hello)
	if again.ID != first.ID || !again.Again || again.Within != op.WithinMax.Milliseconds() {
		t.Errorf("again with %s", again.Append(nil))
	}
	a.reply(again, Welcome{Name: "web#4", App: "web"})
	if w, err := p.Hello(within(t)); err != nil || w.Name != "web#4" {
		t.Error(w, err)
	}
}

func TestHelloRefused(t *testing.T) {
	var log logged
	p, a := joinSilently(t, Options{Log: log.logger()})
	a.refuse(a.next(op.Hello), fault.TableFull)
	eventually(t, "it is logged", func() bool { return log.has("has not let") })
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, err := p.Hello(ctx)
	wantCode(t, err, fault.Interrupted)
}
