package exchange

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// keep has an op's calls wait in a channel.
func keep(e *Exchange, name string) <-chan *Call {
	calls := make(chan *Call, 2000)
	e.Serve(name, func(c *Call) { calls <- c })
	return calls
}

func TestServe(t *testing.T) {
	e := newExchange(t)
	var order []string
	e.Serve("own", func(c *Call) {
		p := c.Party()
		order = append(order, string(c.Body()))
		if p.Name != "web#0" || c.From() != p.Name || c.PartyID() != p.ID || c.PID() != 1000 || c.Op() != "own" || c.Again() {
			t.Errorf("%+v", c)
		}
		c.Reply(map[string]int64{"id": c.ID()}, nil)
		c.Reply("again", nil) // nobody hears it
	})
	a := worker(t, e, "web", 0)
	if r := a.must("own", `1`); string(r.Body) != fmt.Sprintf(`{"id":%d}`, r.ID) || r.From != "" {
		t.Errorf("%+v", r)
	}
	for i := range 5 {
		a.say(op.Frame{Op: "own", Body: raw(i)})
	}
	a.nothing()
	if !slices.Equal(order, strings.Fields("1 0 1 2 3 4")) {
		t.Errorf("in the order %v", order)
	}
	e.Serve("raw", func(c *Call) { c.Reply(json.RawMessage(`[1]`), nil) })
	e.Serve("none", func(c *Call) { c.Reply(nil, nil) })
	e.Serve("bad", func(c *Call) { c.Reply(make(chan int), nil) })
	e.Serve("fails", func(c *Call) { c.Reply(1, fault.New(fault.NotOwner, "no")) })
	if r := a.must("raw", nil); string(r.Body) != `[1]` {
		t.Errorf("%+v", r)
	}
	if r := a.must("none", nil); r.Body != nil {
		t.Errorf("%+v", r)
	}
	a.fails(op.Frame{Op: "bad"}, fault.Internal)
	e.Serve("large", func(c *Call) { c.Reply(strings.Repeat("x", op.BodyMax), nil) })
	a.fails(op.Frame{Op: "large"}, fault.TooLarge)
	if r := a.fails(op.Frame{Op: "fails"}, fault.NotOwner); r.Body != nil || r.Error.Fix == "" {
		t.Errorf("%+v", r)
	}
}

func TestPanicOfAnOperation(t *testing.T) {
	e := newExchange(t)
	e.Serve("own", func(*Call) { panic("ouch") })
	a := worker(t, e, "web", 0)
	if r := a.fails(op.Frame{Op: "own"}, fault.Internal); !strings.Contains(r.Error.Text, "ouch") {
		t.Errorf("%+v", r)
	}
	a.say(op.Frame{Op: "own"})
	a.must(op.Peers, nil)
	if c := e.Counts(); c.Panics != 2 || c.UnderWay != 0 {
		t.Errorf("%+v", c)
	}
}

func TestRepliesThatComeLater(t *testing.T) {
	e := newExchange(t)
	calls := keep(e, "own")
	a := worker(t, e, "web", 0)
	id := a.ask(op.Frame{Op: "own", Body: raw(`"kept"`)})
	c := <-calls
	if n := e.Counts().UnderWay; n != 1 || c.Context().Err() != nil {
		t.Errorf("%d under way, %v", n, c.Context().Err())
	}
	if d, ok := c.Context().Deadline(); !ok || time.Until(d) > op.WithinDefault {
		t.Errorf("the deadline is %v", d)
	}
	a.must(op.Peers, nil) // others are not held up
	c.Reply(c.Body(), nil)
	if r := a.reply(id); string(r.Body) != `"kept"` {
		t.Errorf("%+v", r)
	}
	<-c.Context().Done()
	// Cancelled, and gone.
	id = a.ask(op.Frame{Op: "own"})
	c = <-calls
	ctx := c.Context()
	a.say(op.Frame{Cmd: op.CmdCancel, ID: id})
	<-ctx.Done()
	c.Reply(1, nil)
	a.ask(op.Frame{Op: "own"})
	c = <-calls
	ctx = c.Context()
	a.seat.Gone()
	<-ctx.Done()
	c.Reply(1, nil)
	<-c.Context().Done()
	a.nothing()
	b := worker(t, e, "web", 1)
	b.say(op.Frame{Op: "own"})
	if c = <-calls; c.Context().Err() != nil || e.Counts().UnderWay != 0 {
		t.Error("a call without an ID waits")
	}
}

func TestDeadlineOfAnOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		defer e.Close()
		calls := keep(e, "own")
		a := worker(t, e, "web", 0)
		id := a.ask(op.Frame{Op: "own", Within: 300})
		c := <-calls
		ctx := c.Context()
		if r := a.reply(id); r.Error == nil || r.Error.Code != fault.Deadline {
			t.Errorf("%+v", r)
		}
		<-ctx.Done()
		c.Reply(1, nil)
		synctest.Wait()
		a.nothing()
	})
}

func TestTooManyCallsWait(t *testing.T) {
	e := newExchange(t)
	calls := keep(e, "own")
	a := worker(t, e, "web", 0)
	for range callsMax {
		a.ask(op.Frame{Op: "own"})
		<-calls
	}
	a.fails(op.Frame{Op: "own"}, fault.TableFull)
	<-(<-calls).Context().Done()
	a.must(op.Heartbeat, nil) // what does not wait goes on
}

func TestOnGone(t *testing.T) {
	e := newExchange(t)
	var gone []string
	e.OnGone(func(id string) { gone = append(gone, id) })
	a := worker(t, e, "web", 0)
	if !e.Present("web#0/1") || e.Present("web#1/1") {
		t.Error("present?")
	}
	a.seat.Gone()
	a.seat.Gone()
	if !slices.Equal(gone, []string{"web#0/1"}) || e.Present("web#0/1") {
		t.Errorf("gone: %v", gone)
	}
}

// S0.3, S1.16: listeners hear what others say to muster, and answer what it does not
// know.
func TestListeners(t *testing.T) {
	e := newExchange(t)
	a, b, c := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
	a.fails(op.Frame{Op: "my:op"}, fault.UnknownOp)
	a.say(op.Frame{Op: "my:op"})
	if n := e.Counts().Unknown; n != 2 {
		t.Errorf("%d unknown", n)
	}
	b.must(op.Listen, op.OpsBody{Ops: []string{"my:op", "lock:acquire", op.Lifecycle}})
	b.must(op.Listen, op.OpsBody{Ops: []string{"my:op"}}) // once more
	c.must(op.Listen, op.OpsBody{Ops: []string{"*", "my:op"}})
	b.got()
	a.say(op.Frame{Op: "my:op", Body: raw(`1`), Hops: 3})
	for _, p := range []*fake{b, c} {
		if f := p.gets("my:op"); f.ID != 0 || f.From != "web#0" || f.Hops != 3 || string(f.Body) != `1` {
			t.Errorf("%+v", f)
		}
		p.nothing()
	}
	b.ask(op.Frame{Op: "other"}) // only c listens to it, by *
	if f := c.gets("other"); f.ID == 0 {
		t.Errorf("%+v", f)
	}
	c.fails(op.Frame{Op: "another"}, fault.UnknownOp) // nobody but itself would
}

func TestListenersAreAskedWhatMusterDoesNotKnow(t *testing.T) {
	e := newExchange(t)
	a, b, c := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
	idle := stranger(t, e, "web", 3, false) // listens, but is not ready
	idle.must(op.Hello, nil)
	for _, p := range []*fake{b, c, idle} {
		p.must(op.Listen, op.OpsBody{Ops: []string{"my:op"}})
	}
	id := a.ask(op.Frame{Op: "my:op"})
	fb, fc := b.gets("my:op"), c.gets("my:op")
	if f := idle.gets("my:op"); f.ID != 0 || fb.ID == 0 || fc.ID == 0 {
		t.Errorf("%+v %+v %+v", fb, fc, f)
	}
	b.answer(fb, `"b"`)
	if r := a.reply(id); string(r.Body) != `"b"` || r.From != "web#1" || r.More {
		t.Errorf("%+v", r)
	}
	c.answer(fc, `"c"`)
	a.nothing()
	// One that has no code for it does not win.
	unknown := &op.Error{Code: fault.UnknownOp, Text: "?"}
	id = a.ask(op.Frame{Op: "my:op"})
	b.say(op.Frame{Cmd: op.CmdReply, ID: b.gets("my:op").ID, Error: unknown})
	fc = c.gets("my:op")
	c.say(op.Frame{Cmd: op.CmdReply, ID: fc.ID, Body: raw(`1`), More: true})
	if r := a.reply(id); !r.More || string(r.Body) != `1` {
		t.Errorf("%+v", r)
	}
	c.answer(fc, `2`)
	if r := a.reply(id); r.More || string(r.Body) != `2` {
		t.Errorf("%+v", r)
	}
	id = a.ask(op.Frame{Op: "my:op"})
	b.say(op.Frame{Cmd: op.CmdReply, ID: b.gets("my:op").ID, Error: unknown})
	c.seat.Gone()
	if r := a.reply(id); r.Error == nil || r.Error.Code != fault.UnknownOp || r.From != "web#1" {
		t.Errorf("%+v", r)
	}
	id = a.ask(op.Frame{Op: "my:op"})
	b.gets("my:op")
	b.seat.Gone()
	if r := a.reply(id); r.Error == nil || r.Error.Code != fault.PeerGone {
		t.Errorf("%+v", r)
	}
	if n := e.Counts().UnderWay; n != 0 {
		t.Errorf("%d under way", n)
	}
}

// Muster's own ops cannot be overridden, but heard; a lock's token is its owner's.
func TestListenersHearMustersOwn(t *testing.T) {
	e := newExchange(t)
	e.Serve(op.LockAcquire, func(c *Call) { c.Reply(op.Held{Held: true}, nil) })
	a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
	b.must(op.Listen, op.OpsBody{Ops: []string{"*"}})
	b.got()
	a.must(op.LockAcquire, op.LockBody{Name: "l", Token: "secret"})
	if f := b.gets(op.LockAcquire); f.ID != 0 || string(f.Body) != `{"name":"l"}` {
		t.Errorf("%+v", f)
	}
	a.say(op.Frame{Op: op.LockAcquire, Body: raw(`"secret"`)})
	if f := b.gets(op.LockAcquire); f.Body != nil {
		t.Errorf("%+v", f)
	}
	a.must(op.Lifecycle, op.TextBody{Text: "up"})
	if f := b.gets(op.Lifecycle); string(f.Body) != `{"text":"up"}` {
		t.Errorf("%+v", f)
	}
	b.must(op.Unlisten, op.OpsBody{Ops: []string{"*", "never"}})
	a.must(op.Lifecycle, op.TextBody{Text: "up"})
	b.nothing()
	b.fails(op.Frame{Op: op.Listen, Body: raw(`{"ops":[""]}`)}, fault.Usage)
	b.fails(op.Frame{Op: op.Unlisten, Body: raw(`5`)}, fault.Usage)
	var many op.OpsBody
	for i := range listensMax {
		many.Ops = append(many.Ops, fmt.Sprint("op", i))
	}
	b.must(op.Listen, many)
	b.fails(op.Frame{Op: op.Listen, Body: raw(`{"ops":["more"]}`)}, fault.TableFull)
	b.seat.Gone()
	if n := e.Counts().Listens; n != 0 {
		t.Errorf("%d listen", n)
	}
}

// What a worker says of itself.
func TestWordsAboutItself(t *testing.T) {
	e := newExchange(t)
	a := stranger(t, e, "web", 0, false) // no hello is needed
	a.must(op.Heartbeat, nil)
	a.say(op.Frame{Op: op.Heartbeat})
	a.must(op.Crash, op.CrashBody{Error: "boom", Stack: "s", Type: "T"})
	a.say(op.Frame{Op: op.Lifecycle, Body: raw(`{"text":"warm"}`)})
	a.fails(op.Frame{Op: op.Crash, Body: raw(`5`)}, fault.Usage)
	a.fails(op.Frame{Op: op.Lifecycle, Body: raw(`[]`)}, fault.Usage)
	if a.beats != 2 || !slices.Equal(a.crashes, []op.CrashBody{{Error: "boom", Stack: "s", Type: "T"}}) || !slices.Equal(a.lines, []string{"warm"}) {
		t.Errorf("%d %v %v", a.beats, a.crashes, a.lines)
	}
	bare := e.Enter(op.Party{ID: "x", App: "x", Name: "x#0", Send: a.send}, false)
	for _, name := range []string{op.Heartbeat, op.Crash, op.Lifecycle} {
		bare.Hear(op.Frame{Cmd: op.CmdOp, Op: name}.Append(nil))
	}
}

func TestHello(t *testing.T) {
	e := newExchange(t)
	a := stranger(t, e, "web", 3, false)
	for _, name := range []string{op.Listen, op.Subscribe, op.AddCommands} {
		a.fails(op.Frame{Op: name, Body: raw(`{"channel":"c"}`)}, fault.Usage)
	}
	a.seat.Changed(op.Settings{HeartbeatMS: 500, Changes: []string{"x"}}, []string{"orders"})
	a.nothing() // it takes no part yet
	var w op.Welcome
	a.read(a.must(op.Hello, op.HelloBody{SDK: "go/1"}), &w)
	if w.Project != "p" || w.Node != "n" || w.Name != "web#3" || w.App != "web" || w.Role != "r-web" || w.Slot != 3 || w.Agent != 100 || w.Epoch != 1 ||
		w.HeartbeatMS != 500 || w.Changes != nil || !slices.Equal(w.Tags, []string{"edge"}) {
		t.Errorf("%+v", w)
	}
	a.must(op.Hello, nil) // again
	a.seat.Changed(op.Settings{HeartbeatMS: 700, Changes: []string{"heartbeat"}}, nil)
	var s op.Settings
	f := a.gets(op.ConfigChanged)
	a.read(f, &s)
	if s.HeartbeatMS != 700 || len(s.Changes) != 1 || f.From != Muster {
		t.Errorf("%+v", s)
	}
	var list []op.Peer
	c, d := client(t, e, "ops"), client(t, e, "ops")
	if d.name != "client:ops-2" {
		t.Errorf("the second client is %s", d.name)
	}
	a.read(a.must(op.Peers, op.PeersBody{}), &list)
	if len(list) != 3 || list[0] != (op.Peer{Name: "web#3", App: "web", Role: "r-web"}) || list[1] != (op.Peer{Name: "client:ops", PID: 77, Ready: true}) {
		t.Errorf("%+v", list)
	}
	a.read(a.must(op.Peers, op.PeersBody{To: "none"}), &list)
	a.fails(op.Frame{Op: op.Peers, Body: raw(`{"to":"["}`)}, fault.Usage)
	if len(list) != 0 {
		t.Errorf("%+v", list)
	}
	c.seat.Gone()
	if c = client(t, e, "ops"); c.name != "client:ops" {
		t.Errorf("the name was not free again: %s", c.name)
	}
}

func TestCommands(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
	a.must(op.AddCommands, `{"commands":[{"name":"flush","pattern":"what","help":"h","of":["liar"]},{"name":"dump"}]}`)
	b.must(op.AddCommands, `{"commands":[{"name":"flush","pattern":"what"},{"name":"dump","pattern":"[n:int]"}]}`)
	var got op.CommandsBody
	show := func() (list []string) {
		t.Helper()
		a.read(a.must(op.Commands, nil), &got)
		for _, c := range got.Commands {
			list = append(list, fmt.Sprintf("%s(%s)%v", c.Name, c.Pattern, c.Of))
		}
		return list
	}
	if got := show(); !slices.Equal(got, []string{"dump()[web#0]", "dump([n:int])[web#1]", "flush(what)[web#0 web#1]"}) {
		t.Errorf("%q", got)
	}
	b.must(op.AddCommands, `{"commands":[{"name":"dump"},{"name":"dump"}]}`)
	a.must(op.DelCommands, `{"commands":[{"name":"flush"},{"name":"none"}]}`)
	if got := show(); !slices.Equal(got, []string{"dump()[web#0 web#1]", "flush(what)[web#1]"}) {
		t.Errorf("%q", got)
	}
	b.seat.Ready(1, false)
	if got := show(); !slices.Equal(got, []string{"dump()[web#0]"}) {
		t.Errorf("%q", got)
	}
	for _, bad := range []string{`{"name":""}`, `{"name":"a b"}`, `{"name":"a","help":"` + strings.Repeat("x", helpMax+1) + `"}`, `5`} {
		a.fails(op.Frame{Op: op.AddCommands, Body: raw(`{"commands":[` + bad + `]}`)}, fault.Usage)
		a.fails(op.Frame{Op: op.DelCommands, Body: raw(`{"commands":[` + bad + `]}`)}, fault.Usage)
	}
	var many op.CommandsBody
	for i := range commandsMax {
		many.Commands = append(many.Commands, op.Command{Name: fmt.Sprint("c", i)})
	}
	a.fails(op.Frame{Op: op.AddCommands, Body: raw(many)}, fault.TableFull)
	a.seat.Gone()
	b.seat.Gone()
	if n := e.Counts().Commands; n != 0 {
		t.Errorf("%d commands are left", n)
	}
}
