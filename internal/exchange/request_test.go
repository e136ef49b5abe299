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

// S0.9: worker to worker, with reply.
func TestRequestAndReply(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 1)
	id := a.ask(op.Frame{Op: "job:do", To: "jobs", Body: raw(`{"n":1}`), Within: 1500, From: "root", PID: 1, Hops: 2})
	f := b.gets("job:do")
	if f.From != "web#0" || f.PID != 1000 || f.Within < 1000 || f.Within > 1500 || f.Hops != 2 || string(f.Body) != `{"n":1}` || f.To != "" || f.All {
		t.Errorf("asked: %+v", f)
	}
	b.answer(f, `{"done":true}`)
	r := a.reply(id)
	if r.From != "jobs#1" || r.PID != 1001 || string(r.Body) != `{"done":true}` || r.More || r.Error != nil {
		t.Errorf("answered: %+v", r)
	}
	id = a.ask(op.Frame{Op: "job:do", To: "jobs#1"})
	f = b.gets("job:do")
	b.say(op.Frame{Cmd: op.CmdReply, ID: f.ID, Error: &op.Error{Code: "E-MINE", Text: "no"}})
	if r := a.reply(id); r.Error == nil || r.Error.Code != "E-MINE" || r.Error.Text != "no" {
		t.Errorf("refused: %+v", r)
	}
	if c := e.Counts(); c.UnderWay != 0 || c.Replies < 4 || c.Answered != 2 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
}

// Every request ends in one way, and is counted there only.
func TestOutcomesAreCountedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		defer e.Close()
		a, b, c := worker(t, e, "web", 0), worker(t, e, "jobs", 0), worker(t, e, "jobs", 1)
		outcomes := func() [5]uint64 {
			c := e.Counts()
			return [5]uint64{c.Answered, c.Refused, c.Deadlines, c.Cancelled, c.PeersGone}
		}
		want := outcomes()
		ends := func(what string, i int, f op.Frame, do func()) {
			t.Helper()
			id := a.ask(f)
			do()
			if i == 3 {
				a.say(op.Frame{Cmd: op.CmdCancel, ID: id})
			} else {
				for a.reply(id).More {
				}
			}
			want[i]++
			if got := outcomes(); got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		nothing := func() {}
		ends("answered", 0, op.Frame{Op: "x", To: "jobs#0"}, func() { b.answer(b.gets("x"), `1`) })
		ends("gathered", 0, op.Frame{Op: "x", To: "jobs", All: true}, func() { b.answer(b.gets("x"), `1`); c.answer(c.gets("x"), `2`) })
		ends("nobody", 1, op.Frame{Op: "x", To: "none"}, nothing)
		ends("late", 2, op.Frame{Op: "x", To: "jobs#0", Within: 50}, nothing)
		ends("gathered late", 2, op.Frame{Op: "x", To: "jobs", All: true, Within: 50}, nothing)
		ends("cancelled", 3, op.Frame{Op: "y", To: "jobs#0"}, nothing)
		ends("one of two gone", 0, op.Frame{Op: "z", To: "jobs", All: true}, func() { b.answer(b.gets("z"), `1`); c.seat.Gone() })
		ends("gone", 4, op.Frame{Op: "z", To: "jobs#0"}, func() { b.gets("z"); b.seat.Gone() })
	})
}

func TestOfSeveralTheLeastBusyIsAskedInTurn(t *testing.T) {
	e := newExchange(t)
	a := worker(t, e, "web", 0)
	list := []*fake{worker(t, e, "jobs", 0), worker(t, e, "jobs", 1), worker(t, e, "jobs", 2)}
	asked := func() (p *fake, f op.Frame) {
		t.Helper()
		a.ask(op.Frame{Op: "x", To: "role:r-jobs"})
		for _, p := range list {
			if got := p.got(); len(got) == 1 {
				return p, got[0]
			}
		}
		t.Fatal("nobody was asked")
		return nil, f
	}
	var turns []string
	for range 6 {
		p, f := asked()
		p.answer(f, `1`)
		turns = append(turns, p.name)
	}
	if want := strings.Fields("jobs#0 jobs#1 jobs#2 jobs#0 jobs#1 jobs#2"); !slices.Equal(turns, want) {
		t.Errorf("in turn: %v", turns)
	}
	for range 6 { // nobody replies: two for each
		asked()
	}
	busy := worker(t, e, "jobs", 3)
	for range 2 {
		a.ask(op.Frame{Op: "x", To: "jobs"})
		busy.gets("x")
	}
	for _, p := range list {
		p.nothing()
	}
}

func TestSelectors(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
	c := client(t, e, "ops")
	for to, want := range map[string]string{
		"web": "web#1", "web#1": "web#1", "w*": "web#1", "tag:edge": "web#1", "role:r-*": "web#1", "all": "web#1",
		"web#0": "web#0", "client:ops": "client:ops", "client:o*": "client:ops", "nope,client:ops": "client:ops",
	} {
		a.ask(op.Frame{Op: "x", To: to})
		for _, p := range []*fake{a, b, c} {
			if got := p.got(); (len(got) == 1) != (p.name == want) {
				t.Errorf("to %s: %s gets %+v", to, p.name, got)
			}
		}
	}
	for _, bad := range []string{",", "web#x", "client:", "client:[", "role:"} {
		a.fails(op.Frame{Op: "x", To: bad}, fault.Usage)
	}
	a.fails(op.Frame{Op: "x", To: strings.Repeat("x", toMax+1)}, fault.Usage)
	for i := range routesMax + 10 { // they are not remembered for ever
		a.fails(op.Frame{Op: "x", To: fmt.Sprintf("none-%d", i)}, fault.NoPeer)
	}
	if len(e.routes) > routesMax {
		t.Errorf("%d routes are remembered", len(e.routes))
	}
}

func TestNobodyToAsk(t *testing.T) {
	e := newExchange(t)
	a := worker(t, e, "web", 0)
	says := func(to, text string) {
		t.Helper()
		if r := a.fails(op.Frame{Op: "x", To: to}, fault.NoPeer); r.Error != nil && !strings.Contains(r.Error.Text, text) {
			t.Errorf("%s: %q does not say %q", to, r.Error.Text, text)
		}
	}
	says("jobs", "matches no process")
	says("web", "but the asker itself")
	b := stranger(t, e, "jobs", 0, false)
	b.seat.Ready(7, true)
	says("jobs", "has not said hello")
	b.must(op.Hello, nil)
	a.ask(op.Frame{Op: "x", To: "jobs"})
	b.gets("x")
	b.seat.Ready(7, false)
	says("jobs#0", "is not ready")
	b.seat.Gone()
	says("jobs", "matches no process")
	a.say(op.Frame{Op: "x", To: "jobs"}) // one way: nothing happens
	if c := e.Counts(); c.Unknown != 1 || c.Parties != 1 {
		t.Errorf("%+v", c)
	}
}

func TestTheDead(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	id := a.ask(op.Frame{Op: "x", To: "jobs"})
	f := b.gets("x")
	b.seat.Gone()
	if r := a.reply(id); r.Error == nil || r.Error.Code != fault.PeerGone || r.From != "jobs#0" {
		t.Errorf("%+v", r)
	}
	b.answer(f, `1`) // a dead worker's reply
	b.seat.Gone()
	b.seat.Ready(1, true)
	b.seat.Changed(op.Settings{}, nil)
	b.say(op.Frame{Op: op.Hello, ID: 1})
	b.nothing()
	a.nothing()
	// The death of an asker: who was asked is told.
	b = worker(t, e, "jobs", 0)
	a.ask(op.Frame{Op: "x", To: "jobs"})
	f = b.gets("x")
	a.seat.Gone()
	b.next("cancel", func(c op.Frame) bool { return c.Cmd == op.CmdCancel && c.ID == f.ID })
	b.answer(f, `1`)
	if c := e.Counts(); c.Late != 1 || c.UnderWay != 0 || c.PeersGone != 1 {
		t.Errorf("%+v", c)
	}
}

func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		defer e.Close()
		a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
		start := time.Now()
		long := a.ask(op.Frame{Op: "x", To: "jobs"})
		short := a.ask(op.Frame{Op: "x", To: "jobs", Within: 250})
		for _, tc := range []struct {
			id    int64
			after time.Duration
		}{{short, 250 * time.Millisecond}, {long, op.WithinDefault}} {
			r := a.reply(tc.id)
			if d := time.Since(start); r.Error == nil || r.Error.Code != fault.Deadline || d < tc.after || d > tc.after+10*time.Millisecond {
				t.Errorf("%+v after %v", r, d)
			}
		}
		f := b.gets("x")
		b.next("cancel", func(c op.Frame) bool { return c.Cmd == op.CmdCancel && c.ID == f.ID })
		b.answer(f, `"late"`)
		synctest.Wait()
		a.nothing()
		if c := e.Counts(); c.Late != 1 || c.Deadlines != 2 || c.UnderWay != 0 {
			t.Errorf("%+v", c)
		}
		a.ask(op.Frame{Op: "y", To: "jobs", Within: 1 << 62}) // no overflow
		if f := b.gets("y"); f.Within != op.WithinMax.Milliseconds() {
			t.Errorf("within %d", f.Within)
		}
	})
}

func TestCancel(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	id := a.ask(op.Frame{Op: "x", To: "jobs"})
	f := b.gets("x")
	a.say(op.Frame{Cmd: op.CmdCancel, ID: id})
	b.next("cancel", func(c op.Frame) bool { return c.Cmd == op.CmdCancel && c.ID == f.ID })
	b.answer(f, `1`)
	a.say(op.Frame{Cmd: op.CmdCancel, ID: id})
	a.say(op.Frame{Cmd: op.CmdCancel, ID: 999})
	a.nothing()
	if c := e.Counts(); c.Cancelled != 1 || c.Late != 1 || c.UnderWay != 0 {
		t.Errorf("%+v", c)
	}
}

func TestSeveralRepliesOfOne(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	id := a.ask(op.Frame{Op: "x", To: "jobs"})
	f := b.gets("x")
	for i := range 3 {
		b.say(op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: raw(i), More: i < 2})
		if r := a.reply(id); r.More != (i < 2) || string(r.Body) != fmt.Sprint(i) {
			t.Errorf("reply %d: %+v", i, r)
		}
	}
	b.answer(f, `3`)
	a.nothing()
}

func TestBadFrames(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	for _, text := range []string{``, ` `, `{}`, `nonsense`, `{"cmd":"MUSTER_OP","op":5}`, `{"cmd":"MUSTER_PING"}`} {
		a.seat.Hear([]byte(text))
	}
	if c := e.Counts(); c.Bad != 6 {
		t.Errorf("%+v", c)
	}
	for _, f := range []op.Frame{
		{}, {Op: "a\nb"}, {Op: strings.Repeat("x", op.NameMax+1)}, {Op: "x", Within: -1}, {Op: "x", To: "jobs", Within: -1}, {Op: "x", All: true, Within: -1},
	} {
		a.fails(f, fault.Usage)
	}
	for _, name := range []string{op.AgentNew, op.Gap, op.Message, op.ConfigChanged, op.ConsoleOpen, op.ConsoleClose, op.CommandRun, op.CacheDel, op.CacheDrop} {
		a.fails(op.Frame{Op: name, To: "jobs"}, fault.Denied)
		a.say(op.Frame{Op: name, To: "jobs"})
	}
	a.fails(op.Frame{Op: "x", To: "jobs", Hops: op.HopsMax + 1}, fault.TooDeep)
	a.fails(op.Frame{Op: op.Publish, Body: raw(`{"channel":"c"}`), Hops: op.HopsMax + 1}, fault.TooDeep)
	b.nothing()
	a.nothing()
	a.ask(op.Frame{Op: "x", To: "jobs", Hops: op.HopsMax})
	b.gets("x")
}

// The same ID twice: the second is dropped, unless it may be the first one again.
func TestIDsInUse(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	a.say(op.Frame{Op: "x", To: "jobs", ID: 5})
	f := b.gets("x")
	a.say(op.Frame{Op: "x", To: "jobs", ID: 5, Again: true})
	a.say(op.Frame{Op: "x", To: "jobs", ID: 5})
	b.nothing()
	if c := e.Counts(); c.Bad != 1 {
		t.Errorf("%+v", c)
	}
	b.answer(f, `1`)
	a.reply(5)
	a.nothing()
}

func TestTooLarge(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	body := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for _, n := range []int{op.BodyMax + 1, 10 << 20} {
		a.fails(op.Frame{Op: "x", To: "jobs", Body: raw(body(n))}, fault.TooLarge)
		a.say(op.Frame{Op: "x", To: "jobs", Body: raw(body(n))})
	}
	b.nothing()
	id := a.ask(op.Frame{Op: "x", To: "jobs", Body: raw(body(op.BodyMax))})
	f := b.gets("x")
	b.answer(f, body(10<<20))
	if r := a.reply(id); r.Error == nil || r.Error.Code != fault.TooLarge {
		t.Errorf("%.200v", r)
	}
	id = a.ask(op.Frame{Op: "x", To: "jobs"})
	long := strings.Repeat("ä", op.BodyMax/3)
	b.say(op.Frame{Cmd: op.CmdReply, ID: b.gets("x").ID, Error: &op.Error{Code: "E-MINE", Text: "x" + long, Fix: long[:100]}})
	if r := a.reply(id); r.Error == nil || r.Error.Code != "E-MINE" || len(r.Error.Text) != op.ErrorMax-1 || r.Error.Fix != long[:100] {
		t.Errorf("%.200v", r)
	}
	if c := e.Counts(); c.UnderWay != 0 || c.Bad != 5 {
		t.Errorf("%+v", c)
	}
}

func TestTooManyRequests(t *testing.T) {
	e := newExchange(t)
	a, b := worker(t, e, "web", 0), worker(t, e, "jobs", 0)
	var got []op.Frame
	for i := range callsMax {
		a.ask(op.Frame{Op: "x", To: "jobs#0", Body: raw(i)})
		got = append(got, b.gets("x"))
	}
	a.fails(op.Frame{Op: "x", To: "jobs"}, fault.TableFull)
	a.fails(op.Frame{Op: "x", To: "jobs", All: true}, fault.TableFull)
	a.must(op.Peers, nil) // what is answered at once goes on
	b.answer(got[17], `1`)
	a.ask(op.Frame{Op: "y", To: "jobs"})
	b.gets("y")
	if c := e.Counts(); c.UnderWay != callsMax {
		t.Errorf("%+v", c)
	}
	a.seat.Gone()
	if c := e.Counts(); c.UnderWay != 0 {
		t.Errorf("%+v", c)
	}
}

func TestWhoDoesNotReadIsNotAsked(t *testing.T) {
	e := newExchange(t)
	a, b, c := worker(t, e, "web", 0), worker(t, e, "jobs", 0), worker(t, e, "jobs", 1)
	b.blocked(waitingFrames, 0)
	for range 4 {
		a.ask(op.Frame{Op: "x", To: "jobs"})
		c.gets("x")
	}
	c.blocked(0, waitingBytes)
	if r := a.fails(op.Frame{Op: "x", To: "jobs"}, fault.ChannelFull); !strings.HasPrefix(r.From, "jobs#") {
		t.Errorf("%+v", r)
	}
	b.blocked(waitingFrames-1, waitingBytes-1000)
	a.ask(op.Frame{Op: "x", To: "jobs"})
	b.gets("x")
	// What Send refuses comes back, too.
	for err, code := range map[error]fault.Code{channel.ErrFull: fault.ChannelFull, channel.ErrGone: fault.PeerGone} {
		b.unsent(err)
		a.fails(op.Frame{Op: "x", To: "jobs#0"}, code)
	}
	if c := e.Counts(); c.UnderWay != 5 {
		t.Errorf("%+v", c)
	}
}

// Replies have more room than requests, but not for ever.
func TestRepliesToWhoDoesNotRead(t *testing.T) {
	e := newExchange(t)
	a := worker(t, e, "web", 0)
	a.blocked(waitingFrames+1, 0)
	a.must(op.Peers, nil)
	a.blocked(forReplies*waitingFrames, 0)
	a.ask(op.Frame{Op: op.Peers})
	a.nothing()
	if c := e.Counts(); c.Lost != 1 {
		t.Errorf("%+v", c)
	}
}

// S0.9: one to many with gathered replies.
func TestGather(t *testing.T) {
	e := newExchange(t)
	a := worker(t, e, "web", 0)
	b, c, d, blocked := worker(t, e, "jobs", 0), worker(t, e, "jobs", 1), worker(t, e, "jobs", 2), worker(t, e, "jobs", 3)
	blocked.blocked(waitingFrames, 0)
	stranger(t, e, "jobs", 4, false)
	id := a.ask(op.Frame{Op: "x", To: "all", All: true})
	fb, fc := b.gets("x"), c.gets("x")
	d.gets("x")
	c.say(op.Frame{Cmd: op.CmdReply, ID: fc.ID, Error: &op.Error{Code: "E-C", Text: "c"}})
	if r := a.reply(id); r.From != "jobs#1" || r.PID != 1001 || !r.More || r.Error == nil {
		t.Errorf("%+v", r)
	}
	d.seat.Gone()
	b.answer(fb, `"b"`)
	if r := a.reply(id); r.From != "jobs#0" || !r.More || string(r.Body) != `"b"` {
		t.Errorf("%+v", r)
	}
	var g op.Gathered
	r := a.reply(id)
	a.read(r, &g)
	if r.More || r.From != "" || g.Asked != 4 || g.Replied != 2 || len(g.Missing) != 2 ||
		g.Missing["jobs#2"] != string(fault.PeerGone) || g.Missing["jobs#3"] != string(fault.ChannelFull) {
		t.Errorf("%+v %+v", r, g)
	}
	a.read(a.reply(a.ask(op.Frame{Op: "x", To: "none", All: true})), &g)
	if g.Asked != 0 || e.Counts().UnderWay != 0 {
		t.Errorf("%+v", g)
	}
}

func TestGatherUntilTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newExchange(t)
		defer e.Close()
		a, b, c := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
		id := a.ask(op.Frame{Op: "x", To: "web", All: true, Within: 1000})
		b.answer(b.gets("x"), `1`)
		f := c.gets("x")
		if r := a.reply(id); r.From != "web#1" {
			t.Errorf("%+v", r)
		}
		var g op.Gathered
		a.read(a.reply(id), &g)
		if g.Asked != 2 || g.Replied != 1 || g.Missing["web#2"] != string(fault.Deadline) {
			t.Errorf("%+v", g)
		}
		c.next("cancel", func(x op.Frame) bool { return x.Cmd == op.CmdCancel && x.ID == f.ID })
		synctest.Wait()
		b.nothing()
	})
}

func TestTellingAll(t *testing.T) {
	e := newExchange(t)
	a, b, c := worker(t, e, "web", 0), worker(t, e, "web", 1), worker(t, e, "web", 2)
	var told op.Receivers
	c.blocked(waitingFrames, 0)
	a.read(a.reply(a.ask(op.Frame{Op: "x", To: "web", All: true, Within: -1, Body: raw(`5`)})), &told)
	if f := b.gets("x"); f.ID != 0 || f.From != "web#0" || string(f.Body) != `5` || f.Within != 0 {
		t.Errorf("%+v", f)
	}
	if told.Receivers != 1 || !slices.Equal(told.Missed, []string{"web#2"}) {
		t.Errorf("%+v", told)
	}
	c.nothing()
	a.say(op.Frame{Op: "y", To: "web#0,web#1"})
	b.gets("y")
	a.say(op.Frame{Op: "y", To: "web#0"})
	a.gets("y")
}
