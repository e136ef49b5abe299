package peer

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// subscribe subscribes, with the agent's consent.
func subscribe(t *testing.T, p *Peer, a *agent, s subscribing) (cancel func()) {
	t.Helper()
	done := started(func() func() {
		cancel, err := p.Subscribe(within(t), s.channel, s.o, s.f)
		if err != nil {
			t.Error(err)
		}
		return cancel
	})
	a.reply(a.next(op.Subscribe), nil)
	return receive(t, done)
}

type subscribing struct {
	channel string
	o       SubscribeOptions
	f       func(context.Context, *Message)
}

func TestPublish(t *testing.T) {
	p, a := join(t, Options{})
	publish := func(m Publication) (op.Frame, op.PublishBody, <-chan Receivers) {
		done := started(func() Receivers {
			r, err := p.PublishAs(within(t), m)
			if err != nil {
				t.Error(err)
			}
			return r
		})
		f := a.next(op.Publish)
		return f, decodeBody[op.PublishBody](t, f), done
	}
	f, b, done := publish(Publication{Channel: ":room", Message: said{"hi"}, Op: "say", Self: true})
	if want := (op.PublishBody{Channel: "web:room", Message: raw(t, said{"hi"}), Op: "say", Self: true}); !reflect.DeepEqual(b, want) {
		t.Errorf("published %+v, want %+v", b, want)
	}
	a.reply(f, Receivers{Receivers: 2})
	if r := receive(t, done); r.Receivers != 2 {
		t.Errorf("%+v", r)
	}
	f, b, done = publish(Publication{Channel: "room", Quick: true})
	if f.ID != 0 || string(b.Message) != "null" {
		t.Errorf("published %s", f.Append(nil))
	}
	receive(t, done)
	for _, channel := range []string{"", strings.Repeat("x", op.NameMax+1)} {
		_, err := p.Publish(within(t), channel, nil)
		wantCode(t, err, fault.Usage)
		_, err = p.Subscribe(within(t), channel, SubscribeOptions{}, nil)
		wantCode(t, err, fault.Usage)
	}
	_, err := p.Publish(within(t), "x", func() {})
	wantCode(t, err, fault.Usage)
}

// Messages come one after the other, in order, to all who have subscribed in the process.
func TestSubscribe(t *testing.T) {
	var log logged
	p, a := join(t, Options{Log: log.logger()})
	one, two := make(chan Message, 100), make(chan Message, 100)
	cancelOne := subscribe(t, p, a, subscribing{":room", SubscribeOptions{}, func(_ context.Context, m *Message) {
		one <- *m
		if string(m.Body) == "0" {
			panic("spilled")
		}
	}})
	cancelTwo := subscribe(t, p, a, subscribing{"web:room", SubscribeOptions{}, func(_ context.Context, m *Message) { two <- *m }})
	a.op(op.Message, "lost", on("other"), from("web#1"))
	for i := range 50 {
		a.op("say", i, on("web:room"), from("web#1"))
	}
	for i := range 50 {
		want := Message{Channel: "web:room", Op: "say", From: "web#1", PID: 7, Body: raw(t, i)}
		if m := receive(t, one); !reflect.DeepEqual(m, want) {
			t.Fatalf("got %+v, want %+v", m, want)
		}
		if m := receive(t, two); !reflect.DeepEqual(m, want) {
			t.Fatalf("got %+v, want %+v", m, want)
		}
	}
	if !log.has("spilled") {
		t.Error("the panic was not logged")
	}
	cancelOne()
	cancelOne()
	a.op(op.Message, "later", on("web:room"))
	if m := receive(t, two); string(m.Body) != `"later"` {
		t.Errorf("got %s", m.Body)
	}
	cancelTwo()
	if b := decodeBody[op.ChannelBody](t, a.next(op.Unsubscribe)); b.Channel != "web:room" {
		t.Errorf("unsubscribed %+v", b)
	}
	if len(one) > 0 {
		t.Error("a message after the end")
	}
}

// cancel may be called from within, and what is sent from there is one deeper.
func TestSubscriptionContext(t *testing.T) {
	p, a := join(t, Options{})
	ready := make(chan func(), 1)
	cancel := subscribe(t, p, a, subscribing{"room", SubscribeOptions{}, func(ctx context.Context, m *Message) {
		if _, err := p.PublishAs(ctx, Publication{Channel: "room", Quick: true}); err != nil {
			t.Error(err)
		}
		(<-ready)()
	}})
	ready <- cancel
	a.op(op.Message, nil, on("room"), func(f *op.Frame) { f.Hops = 1 })
	if f := a.next(op.Publish); f.Hops != 2 {
		t.Errorf("sent with %d hops", f.Hops)
	}
	a.next(op.Unsubscribe)
}

// Of subscriptions with one queue each message goes to one, in turn; those without one
// have their own copy.
func TestQueueInOneProcess(t *testing.T) {
	p, a := join(t, Options{})
	got, plain := make(chan string, 10), make(chan string, 10)
	for _, name := range []string{"a", "b"} {
		subscribe(t, p, a, subscribing{"jobs", SubscribeOptions{Queue: "q"}, func(_ context.Context, m *Message) { got <- name + string(m.Body) }})
	}
	subscribe(t, p, a, subscribing{"jobs", SubscribeOptions{}, func(_ context.Context, m *Message) { plain <- string(m.Body) }})
	names := map[string]int{}
	for i := range 4 {
		a.op(op.Message, i, on("jobs"), func(f *op.Frame) { f.Queue = "q" })
		names[receive(t, got)[:1]]++
	}
	if names["a"] != 2 || names["b"] != 2 || len(plain) > 0 {
		t.Errorf("they went to %v, %d beside the queue", names, len(plain))
	}
	a.op(op.Message, 7, on("jobs"))
	if m := receive(t, plain); m != "7" || len(got) > 0 {
		t.Errorf("got %s, %d in the queue", m, len(got))
	}
}

// What a subscription has no room for is dropped and told; so is what muster dropped.
func TestGap(t *testing.T) {
	gaps := make(chan int, 100)
	p, a := join(t, Options{OnGap: func(n int) { gaps <- n }})
	begun, release := make(chan bool, 1), make(chan bool)
	got := make(chan string, 10)
	subscribe(t, p, a, subscribing{"room", SubscribeOptions{Queued: 2}, func(_ context.Context, m *Message) {
		if string(m.Body) == "0" {
			begun <- true
			<-release
		}
		got <- string(m.Body)
	}})
	a.op(op.Message, 0, on("room"))
	receive(t, begun)
	for i := range 7 {
		a.op(op.Message, i+1, on("room"))
	}
	missed := 0
	for missed < 5 {
		missed += receive(t, gaps)
	}
	close(release)
	for i := range 3 {
		if m := receive(t, got); m != fmt.Sprint(i) {
			t.Errorf("got %s, want %d", m, i)
		}
	}
	a.op(op.Gap, op.GapBody{Missed: 4})
	if n := receive(t, gaps); n != 4 || missed != 5 || p.Counts().Dropped != 9 {
		t.Errorf("told %d and %d, counted %d", missed, n, p.Counts().Dropped)
	}
	a.op(op.Gap, nil)
	if n := receive(t, gaps); n != 1 {
		t.Errorf("told %d", n)
	}
}

// A subscription that muster refuses is none.
func TestSubscribeRefused(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() error {
		_, err := p.Subscribe(within(t), "room", SubscribeOptions{Queue: "q"}, func(context.Context, *Message) {})
		return err
	})
	a.refuse(a.next(op.Subscribe), fault.TableFull)
	wantCode(t, receive(t, done), fault.TableFull)
	a.next(op.Unsubscribe)
	subscribe(t, p, a, subscribing{"room", SubscribeOptions{}, func(context.Context, *Message) {}})
}
