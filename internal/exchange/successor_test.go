package exchange

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/op"
)

// paper is a Ledger in memory.
type paper struct {
	mu      sync.Mutex
	records [][]byte
	grown   int // Snapshot is due from so many records on; 0: never
	err     error
}

func (l *paper) Each(f func([]byte) error) error {
	for _, r := range l.records {
		if err := f(r); err != nil {
			return err
		}
	}
	return l.err
}

func (l *paper) Append(r []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.records = append(l.records, slices.Clone(r))
	}
	return l.err
}

func (l *paper) Grown() bool { return l.grown > 0 && len(l.records) > l.grown }

func (l *paper) Snapshot(write func(func([]byte))) error {
	l.records = nil
	write(func(r []byte) { l.records = append(l.records, slices.Clone(r)) })
	return l.err
}

// adopted enters a worker that the agent before has left; it has not spoken yet.
func adopted(t testing.TB, e *Exchange, app string, slot int) *fake {
	t.Helper()
	p := stranger(t, e, app, slot, true)
	p.id = 2000
	return p
}

// The death of the agent: another Exchange over the same ledger.
func TestSuccessor(t *testing.T) {
	for _, grown := range []int{0, 1} { // with a snapshot after each record, too
		t.Run(fmt.Sprint(grown), func(t *testing.T) {
			l := &paper{grown: grown}
			e := newExchange(t, l)
			a, b, gone := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
			mute := stranger(t, e, "web", 3, false)
			c := client(t, e, "ops")
			c.subscribe("web:room", "")
			for _, p := range []*fake{a, b, gone} {
				p.subscribe(":room", "")
				p.subscribe(":work", "q")
				p.subscribe(":left", "")
				p.must(op.Unsubscribe, op.ChannelBody{Channel: "web:left"})
			}
			b.must(op.Listen, op.OpsBody{Ops: []string{"my:op", "other"}})
			b.must(op.Unlisten, op.OpsBody{Ops: []string{"other"}})
			b.must(op.AddCommands, `{"commands":[{"name":"flush","pattern":"x","help":"h"},{"name":"no"}]}`)
			b.must(op.DelCommands, `{"commands":[{"name":"no"}]}`)
			gone.seat.Gone()
			_ = mute
			under := a.ask(op.Frame{Op: "x", To: "web#1"})
			asked := b.gets("x")
			e.Close()
			a.seat.Gone() // its sockets end with the agent; it has not gone
			for _, p := range []*fake{a, b} {
				p.nothing()
			}

			e = newExchange(t, l)
			a, b, mute = adopted(t, e, "web", 0), adopted(t, e, "web", 1), adopted(t, e, "web", 3)
			for _, p := range []*fake{a, b} {
				var body op.AgentBody
				f := p.gets(op.AgentNew)
				p.read(f, &body)
				if body.Agent != 100 || body.Epoch != 1 || f.From != Muster {
					t.Errorf("%+v", f)
				}
				p.seat.Ready(p.pid, true)
				p.nothing()
			}
			mute.seat.Ready(7, true)
			mute.nothing()
			e.Settle()
			b.answer(asked, `1`) // to the agent before
			a.must(op.Hello, nil)
			if told := a.publish(op.PublishBody{Channel: ":room"}); told.Receivers != 1 {
				t.Errorf("%+v", told)
			}
			if told := a.publish(op.PublishBody{Channel: ":left"}); told.Receivers != 0 {
				t.Errorf("%+v", told)
			}
			if told := a.publish(op.PublishBody{Channel: ":work"}); told.Receivers != 1 {
				t.Errorf("%+v", told)
			}
			a.ask(op.Frame{Op: "my:op"})
			if f := b.gets("my:op"); f.ID <= asked.ID {
				t.Errorf("the ID %d is not above those of the agent before", f.ID)
			}
			a.fails(op.Frame{Op: "other"}, fault.UnknownOp)
			if list := e.Commands(); len(list) != 1 || list[0].Name != "flush" || list[0].Help != "h" {
				t.Errorf("%+v", list)
			}
			a.fails(op.Frame{Op: "x", To: "web#3"}, fault.NoPeer)
			counts := e.Counts()
			if counts.Late != 1 || counts.Adopted != 3 || counts.Subscriptions != 4 || counts.Listens != 1 || counts.Commands != 1 || counts.Joined != 2 {
				t.Errorf("%+v (%d was under way)", counts, under)
			}
		})
	}
}

// What was in hand when the agent died is not done twice.
func TestTheFirstFrameAfterAnAdoption(t *testing.T) {
	l := &paper{}
	e := newExchange(t, l)
	worker(t, e, "web", 0)
	worker(t, e, "web", 1).subscribe("c", "")
	e.Close()
	var again []bool
	next := func() (a, b *fake) {
		t.Helper()
		e = newExchange(t, l)
		e.Serve("own", func(c *Call) {
			again = append(again, c.Again())
			c.Reply(nil, nil)
		})
		a, b = adopted(t, e, "web", 0), adopted(t, e, "web", 1)
		for _, p := range []*fake{a, b} {
			p.seat.Ready(p.pid, true)
			p.got()
		}
		return a, b
	}
	a, b := next()
	a.fails(op.Frame{Op: "x", To: "web#1"}, fault.AgentReplaced)
	b.nothing()
	a.ask(op.Frame{Op: "x", To: "web#1"})
	if f := b.gets("x"); f.Again {
		t.Errorf("%+v", f)
	}
	if e.Counts().Doubtful != 0 {
		t.Error("a refused request may be doubled")
	}
	a, b = next()
	a.say(op.Frame{Op: "x", To: "web#1"}) // one way: at most doubled
	if f := b.gets("x"); !f.Again || e.Counts().Doubtful != 1 {
		t.Errorf("%+v", f)
	}
	a, b = next()
	a.publish(op.PublishBody{Channel: "c"})
	if b.gets(op.Message); e.Counts().Doubtful != 1 {
		t.Errorf("%+v", e.Counts())
	}
	a, _ = next()
	a.must("own", nil)
	a.must("own", nil)
	a.say(op.Frame{Op: "own", Again: true})
	a, b = next()
	a.must(op.Hello, nil) // an SDK's first word: what follows is new
	a.must("own", nil)
	a.ask(op.Frame{Op: "x", To: "web#1"})
	b.gets("x")
	a, b = next()
	a.say(op.Frame{Cmd: op.CmdReply, ID: 5}) // to the agent before
	a.ask(op.Frame{Op: "x", To: "web#1"})
	b.gets("x")
	if want := []bool{true, false, true, false}; !slices.Equal(again, want) {
		t.Errorf("again: %v", again)
	}
}

// A request to somebody who is not back yet waits for that one.
func TestWaitingForThoseWhoComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &paper{}
		e := newExchange(t, l)
		for i := range 4 {
			worker(t, e, "web", i)
		}
		e.Close()
		e = newExchange(t, l)
		defer e.Close()
		a := adopted(t, e, "web", 0)
		a.gets(op.AgentNew)
		a.must(op.Hello, nil)
		id := a.ask(op.Frame{Op: "x", To: "web#1", Body: raw(`"kept"`)})
		short := a.ask(op.Frame{Op: "x", To: "web#2", Within: 10})
		cancelled := a.ask(op.Frame{Op: "x", To: "web#2"})
		never, ended := a.ask(op.Frame{Op: "x", To: "web#3"}), a.ask(op.Frame{Op: "x", To: "web#2"})
		a.fails(op.Frame{Op: "x", To: "jobs"}, fault.NoPeer) // there is no such thing
		a.say(op.Frame{Cmd: op.CmdCancel, ID: cancelled})
		b := adopted(t, e, "web", 1)
		a.nothing()
		b.seat.Ready(5, true)
		if f := b.gets("x"); string(f.Body) != `"kept"` {
			t.Errorf("%+v", f)
		} else {
			b.answer(f, `1`)
		}
		a.reply(id)
		if r := a.reply(short); r.Error == nil || r.Error.Code != fault.Deadline {
			t.Errorf("%+v", r)
		}
		c := adopted(t, e, "web", 2)
		c.seat.Gone() // it had died meanwhile
		if r := a.reply(ended); r.Error == nil || r.Error.Code != fault.NoPeer {
			t.Errorf("%+v", r)
		}
		start := time.Now()
		if r := a.reply(never); r.Error == nil || r.Error.Code != fault.NoPeer || time.Since(start) > handoverMax {
			t.Errorf("%+v", r)
		}
		if n := e.Counts().UnderWay; n != 0 || len(e.handover.parked) != 0 {
			t.Errorf("%d under way", n)
		}
		c.got()
	})
}

// What is published while some are not back yet reaches them, too, and in order.
func TestPublishedMeanwhile(t *testing.T) {
	l := &paper{}
	e := newExchange(t, l)
	for i := range 3 {
		worker(t, e, "web", i).subscribe("room", "")
	}
	e.Close()
	e = newExchange(t, l)
	defer e.Close()
	a := adopted(t, e, "web", 0)
	a.gets(op.AgentNew)
	a.must(op.Hello, nil)
	var told op.Receivers
	a.read(a.must(op.Publish, op.PublishBody{Channel: "room", Message: raw(`1`)}), &told)
	if told.Receivers != 2 {
		t.Errorf("%+v", told)
	}
	b := adopted(t, e, "web", 1)
	b.gets(op.AgentNew)
	e.Settle() // the third is dead
	e.Publish("room", "", raw(`2`))
	for _, want := range []string{"1", "2"} {
		if f := b.gets(op.Message); string(f.Body) != want {
			t.Errorf("%s, want %s", f.Body, want)
		}
	}
	late := adopted(t, e, "web", 2)
	late.nothing()
}

func TestSettle(t *testing.T) {
	l := &paper{}
	e := newExchange(t, l)
	worker(t, e, "web", 0)
	worker(t, e, "web", 1)
	e.Close()
	e = newExchange(t, l)
	a := adopted(t, e, "web", 0)
	a.gets(op.AgentNew)
	a.seat.Ready(5, true)
	a.must(op.Hello, nil)
	id := a.ask(op.Frame{Op: "x", To: "web#1"})
	a.nothing()
	e.Settle()
	if r := a.reply(id); r.Error == nil || r.Error.Code != fault.NoPeer {
		t.Errorf("%+v", r)
	}
	e.Close()
	e = newExchange(t, l)
	if len(e.handover.left) != 1 || e.handover.left["web#0/1"] == nil {
		t.Errorf("left: %v", e.handover.left)
	}
}

// What cannot be written down is refused; what is read is not trusted.
func TestBadLedgers(t *testing.T) {
	l := &paper{}
	e := newExchange(t, l)
	a, b := worker(t, e, "web", 0), stranger(t, e, "web", 1, false)
	a.subscribe("kept", "")
	a.must(op.Listen, op.OpsBody{Ops: []string{"kept"}})
	a.must(op.AddCommands, `{"commands":[{"name":"kept"}]}`)
	l.err = errors.New("no space")
	b.fails(op.Frame{Op: op.Hello}, fault.Internal)
	for _, f := range []op.Frame{
		{Op: op.Subscribe, Body: raw(`{"channel":"c"}`)},
		{Op: op.Listen, Body: raw(`{"ops":["x"]}`)},
		{Op: op.AddCommands, Body: raw(`{"commands":[{"name":"x"}]}`)},
		{Op: op.Unsubscribe, Body: raw(`{"channel":"kept"}`)},
		{Op: op.Unlisten, Body: raw(`{"ops":["kept"]}`)},
		{Op: op.DelCommands, Body: raw(`{"commands":[{"name":"kept"}]}`)},
	} {
		a.fails(f, fault.Internal)
	}
	if c := e.Counts(); c.Subscriptions != 1 || c.Listens != 1 || c.Commands != 1 || c.Joined != 1 {
		t.Errorf("%+v", c)
	}
	c := client(t, e, "ops") // nothing is written of clients
	c.subscribe("c", "")
	a.seat.Gone()
	if _, err := New(Options{Ledger: l}); !errors.Is(err, l.err) {
		t.Errorf("%v", err)
	}
	l.err, l.grown = nil, 1
	l.records = append(l.records, []byte("nonsense"), []byte(`{"id":"x","do":"sub"}`), []byte(`{"do":"hello"}`))
	e = newExchange(t, l)
	if len(e.handover.left) != 1 {
		t.Errorf("%v", e.handover.left)
	}
}

// memory holds descriptors as the keeper does.
type memory struct{ files map[string]*os.File }

func (m memory) Put(name string, f *os.File) error {
	dup, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
	m.files[name] = dup
	return err
}

func (m memory) Get(name string) (*os.File, error) {
	f := m.files[name]
	if f == nil {
		return nil, nil
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDWR, 0)
}

// The same over a real ledger.
func TestSuccessorOverAFile(t *testing.T) {
	files := memory{map[string]*os.File{}}
	open := func() *ledger.Ledger {
		t.Helper()
		l, err := ledger.Open(files, "exchange")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	defer func() {
		for _, f := range files.files {
			f.Close()
		}
	}()
	l := open()
	e := newExchange(t, l)
	a := worker(t, e, "web", 0)
	a.subscribe("c", "")
	for i := range 3000 { // it grows, and is written anew
		a.must(op.Listen, op.OpsBody{Ops: []string{strings.Repeat("x", 190) + fmt.Sprint(i)}})
		a.must(op.Unlisten, op.OpsBody{Ops: []string{strings.Repeat("x", 190) + fmt.Sprint(i)}})
	}
	e.Close()
	l.Close()
	l = open()
	defer l.Close()
	e = newExchange(t, l)
	b := adopted(t, e, "web", 0)
	b.gets(op.AgentNew)
	if c := e.Counts(); c.Subscriptions != 1 || c.Listens != 0 || c.Joined != 1 {
		t.Errorf("%+v", c)
	}
}
