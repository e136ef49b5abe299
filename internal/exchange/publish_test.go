package exchange

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
)

func (p *fake) subscribe(name, queue string) {
	p.t.Helper()
	p.must(op.Subscribe, op.ChannelBody{Channel: name, Queue: queue})
}

func (p *fake) publish(b op.PublishBody) (told op.Receivers) {
	p.t.Helper()
	p.read(p.must(op.Publish, b), &told)
	return told
}

// S0.11: publish and subscribe on the application's own channels.
func TestPublish(t *testing.T) {
	e := newExchange(t)
	a, b, c := worker(t, e, "web", 0), worker(t, e, "web", 1), client(t, e, "ops")
	for _, p := range []*fake{a, b} {
		p.subscribe(":room", "")
		p.subscribe(":room", "") // harmless
	}
	c.subscribe("web:room", "")
	told := a.publish(op.PublishBody{Channel: ":room", Message: raw(`{"text":"hi"}`)})
	for _, p := range []*fake{b, c} {
		if f := p.gets(op.Message); f.From != "web#0" || f.PID != 1000 || f.Channel != "web:room" || string(f.Body) != `{"text":"hi"}` || f.ID != 0 || f.Queue != "" {
			t.Errorf("%+v", f)
		}
		p.nothing()
	}
	a.nothing()
	if told.Receivers != 2 || told.Missed != nil {
		t.Errorf("%+v", told)
	}
	if told := a.publish(op.PublishBody{Channel: "web:room", Op: "chat:say", Self: true}); told.Receivers != 3 {
		t.Errorf("%+v", told)
	}
	if f := a.gets("chat:say"); f.Channel != "web:room" || f.Body != nil && string(f.Body) != "null" {
		t.Errorf("%+v", f)
	}
	a.say(op.Frame{Op: op.Publish, Body: raw(`{"channel":":room","message":1}`), Hops: 2})
	if f := b.gets(op.Message); f.Hops != 2 {
		t.Errorf("%+v", f)
	}
	a.must(op.Unsubscribe, op.ChannelBody{Channel: "web:room"})
	a.must(op.Unsubscribe, op.ChannelBody{Channel: "web:room"})
	b.must(op.Unsubscribe, op.ChannelBody{Channel: "web:room"})
	if told := b.publish(op.PublishBody{Channel: ":room"}); told.Receivers != 1 {
		t.Errorf("%+v", told)
	}
	c.seat.Gone()
	if told := b.publish(op.PublishBody{Channel: ":room"}); told.Receivers != 0 || e.Counts().Subscriptions != 0 || len(e.topics) != 0 {
		t.Errorf("%+v %d", told, len(e.topics))
	}
}

func TestBadPublish(t *testing.T) {
	e := newExchange(t)
	a, c := worker(t, e, "muster", 0), client(t, e, "ops")
	for text, code := range map[string]fault.Code{
		`{"channel":""}`: fault.Usage, `5`: fault.Usage, `{"channel":"a\nb"}`: fault.Usage, `{"channel":"` + strings.Repeat("x", 201) + `"}`: fault.Usage,
		`{"channel":"muster:life"}`: fault.Denied, `{"channel":":life"}`: fault.Denied,
		`{"channel":"c","op":"agent:new"}`: fault.Denied, `{"channel":"c","op":"a\tb"}`: fault.Usage,
	} {
		a.fails(op.Frame{Op: op.Publish, Body: raw(text)}, code)
	}
	a.fails(op.Frame{Op: op.Subscribe, Body: raw(`{"channel":"c","queue":"a\nb"}`)}, fault.Usage)
	a.fails(op.Frame{Op: op.Subscribe, Body: raw(`[]`)}, fault.Usage)
	c.fails(op.Frame{Op: op.Publish, Body: raw(`{"channel":":c"}`)}, fault.Usage)
	for i := range subsMax {
		a.must(op.Subscribe, op.ChannelBody{Channel: fmt.Sprint("c", i)})
	}
	a.fails(op.Frame{Op: op.Subscribe, Body: raw(`{"channel":"more"}`)}, fault.TableFull)
	a.subscribe("c5", "") // it has it
	a.must(op.Unsubscribe, op.ChannelBody{Channel: "c5"})
	a.subscribe("more", "")
}

// Of a queue one gets each message, in turn; those that are ready come first.
func TestQueues(t *testing.T) {
	e := newExchange(t)
	a := worker(t, e, "web", 0)
	list := []*fake{worker(t, e, "jobs", 0), worker(t, e, "jobs", 1), worker(t, e, "jobs", 2)}
	list[0].subscribe("work", "")
	for _, p := range list {
		p.subscribe("work", "q")
	}
	a.subscribe("work", "q")
	receiver := func(want string) {
		t.Helper()
		if told := a.publish(op.PublishBody{Channel: "work"}); told.Receivers+len(told.Missed) != 2 {
			t.Errorf("%+v", told)
		}
		var got []string
		for _, p := range list {
			for _, f := range p.got() {
				if f.Op == op.Message && f.Queue == "q" {
					got = append(got, p.name)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%v gets it, not %s", got, want)
		}
	}
	for _, want := range strings.Fields("jobs#0 jobs#1 jobs#2 jobs#0") {
		receiver(want)
	}
	list[1].seat.Ready(1, false)
	receiver("jobs#2")
	receiver("jobs#0")
	list[2].blocked(waitingFrames, 0)
	receiver("jobs#0")
	list[0].seat.Ready(1, false)
	receiver("jobs#1") // nobody is ready and has room: those that have room
	list[1].must(op.Unsubscribe, op.ChannelBody{Channel: "work", Queue: "q"})
	list[1].got()
	receiver("jobs#0")
}

// Back-pressure: who has no room gets a gap as soon as it has, before anything else.
func TestGap(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
	b.subscribe("c", "")
	b.blocked(waitingFrames, 0)
	for range 3 {
		if told := a.publish(op.PublishBody{Channel: "c"}); !slices.Equal(told.Missed, []string{"web#1"}) {
			t.Errorf("%+v", told)
		}
	}
	b.blocked(waitingFrames/2, 0) // not enough
	a.publish(op.PublishBody{Channel: "c"})
	b.nothing()
	b.reads()
	b.say(op.Frame{Op: op.Heartbeat}) // when it next says something
	var g op.GapBody
	f := b.gets(op.Gap)
	b.read(f, &g)
	if g.Missed != 4 || f.From != Muster {
		t.Errorf("%+v", g)
	}
	if told := a.publish(op.PublishBody{Channel: "c"}); told.Receivers != 1 {
		t.Errorf("%+v", told)
	}
	b.gets(op.Message)
	b.unsent(channel.ErrFull) // only Send knows
	a.publish(op.PublishBody{Channel: "c"})
	b.unsent(nil)
	if told := a.publish(op.PublishBody{Channel: "c"}); told.Receivers != 1 {
		t.Errorf("%+v", told)
	}
	if got := b.got(); len(got) != 2 || got[0].Op != op.Gap || string(got[0].Body) != `{"missed":1}` || got[1].Op != op.Message {
		t.Errorf("%+v", got)
	}
	if c := e.Counts(); c.Missed != 5 {
		t.Errorf("%+v", c)
	}
}

func TestGapWithoutAnyWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		defer e.Close()
		a, b, dead := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
		for _, p := range []*fake{b, dead} {
			p.subscribe("c", "")
			p.blocked(0, waitingBytes)
		}
		a.publish(op.PublishBody{Channel: "c"})
		dead.seat.Gone()
		wait := time.After(time.Second)
		<-wait
		b.nothing()
		b.unsent(channel.ErrFull) // the gap itself does not fit
		b.reads()
		wait = time.After(time.Second)
		<-wait
		b.unsent(nil)
		var g op.GapBody
		start := time.Now()
		b.read(b.gets(op.Gap), &g)
		if g.Missed != 1 || time.Since(start) > 2*gapEvery {
			t.Errorf("%+v after %v", g, time.Since(start))
		}
		dead.nothing()
	})
}

func TestTell(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
	mute := stranger(t, e, "web", 2, false)
	told := e.Tell(func(p op.Party) bool { return p.Name != "web#0" }, op.Frame{Op: op.CacheDel, ID: 5, To: "x", Body: raw(`{"cache":"c"}`)})
	if f := b.gets(op.CacheDel); f.From != Muster || f.ID != 0 || f.To != "" || told.Receivers != 1 {
		t.Errorf("%+v %+v", f, told)
	}
	e.Tell(func(op.Party) bool { return true }, op.Frame{Op: op.CacheDel, From: "web#7", PID: 3})
	if f := a.gets(op.CacheDel); f.From != "web#7" || f.PID != 3 {
		t.Errorf("%+v", f)
	}
	mute.nothing()
	b.subscribe(op.LifeChannel, "")
	if told := e.Publish(op.LifeChannel, "worker:exit", raw("{\n \"code\": 1}")); told.Receivers != 1 {
		t.Errorf("%+v", told)
	}
	if f := b.gets("worker:exit"); f.From != Muster || f.Channel != op.LifeChannel || string(f.Body) != `{"code":1}` {
		t.Errorf("%+v", f)
	}
	e.Close()
	if e.Publish(op.LifeChannel, "x", nil).Receivers+e.Tell(func(op.Party) bool { return true }, op.Frame{Op: "x"}).Receivers != 0 {
		t.Error("it speaks after its end")
	}
}
