package exchange

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
)

func TestBroadcastToAThousand(t *testing.T) {
	e := newExchange(t)
	var list []*fake
	for i := range 1000 {
		p := worker(t, e, "web", i)
		p.subscribe("c", "")
		list = append(list, p)
	}
	a := list[0]
	sent, heard := 0, 0
	hear := func() {
		t.Helper()
		for ; heard < sent; heard++ {
			for _, p := range list[1:] {
				if f := p.gets(op.Message); string(f.Body) != strconv.Itoa(heard) {
					t.Fatalf("%s gets message %s as number %d", p.name, f.Body, heard)
				}
			}
		}
	}
	for ; sent < 6; sent++ {
		if sent == 2 || sent == 3 {
			hear() // the next one finds nobody sending, later ones somebody
		}
		if told := a.publish(op.PublishBody{Channel: "c", Message: raw(sent)}); told.Receivers != 999 {
			t.Errorf("%+v", told)
		}
	}
	hear()
	id := a.ask(op.Frame{Op: "x", To: "web", All: true})
	for _, p := range list[1:] {
		p.answer(p.gets("x"), `1`)
	}
	replies := 0
	for {
		r := a.reply(id)
		if !r.More {
			var g op.Gathered
			a.read(r, &g)
			if g.Asked != 999 || g.Replied != 999 || replies != 999 || g.Missing != nil {
				t.Errorf("%d replies, %+v", replies, g)
			}
			return
		}
		replies++
	}
}

// Frames of several senders reach each receiver in the order in which each sent them,
// and nothing is lost, whoever sends them on.
func TestOrderUnderConcurrency(t *testing.T) {
	e := newExchange(t)
	const senders, receivers, messages = 4, 20, 250
	var mu sync.Mutex
	last := map[string]int{} // sender → receiver → last number
	count := 0
	done := make(chan struct{})
	for i := range receivers {
		p := &fake{t: t, name: fmt.Sprintf("jobs#%d", i)}
		party := p.party(p.name)
		party.App, party.Slot = "jobs", i
		party.Send = func(data []byte) error {
			f, err := op.Parse(data)
			if err != nil || f.Op != "n" {
				return nil
			}
			n, _ := strconv.Atoi(string(f.Body))
			mu.Lock()
			defer mu.Unlock()
			key := f.From + ">" + party.Name
			if last[key] != n-1 {
				t.Errorf("%s: %d comes after %d", key, n, last[key])
			}
			if last[key] = n; n == messages {
				if count++; count == senders*receivers {
					close(done)
				}
			}
			return nil
		}
		seat := e.Enter(party, false)
		seat.Ready(1, true)
		seat.Hear(op.Frame{Cmd: op.CmdOp, Op: op.Hello}.Append(nil))
	}
	var all sync.WaitGroup
	for i := range senders {
		p := worker(t, e, "web", i)
		all.Go(func() {
			for n := range messages {
				p.say(op.Frame{Op: "n", To: "jobs", Body: raw(n + 1)})
			}
		})
	}
	all.Wait()
	select {
	case <-done:
	case <-time.After(patience):
		t.Error("messages are missing")
	}
	if c := e.Counts(); c.Missed != 0 || c.Lost != 0 {
		t.Errorf("%+v", c)
	}
}

// Everything at once: nothing is left behind, whatever comes when.
func TestRaces(t *testing.T) {
	e := newExchange(t)
	e.Serve("later", func(c *Call) { go func() { <-c.Context().Done() }() })
	e.Serve("soon", func(c *Call) { go c.Reply(1, nil) })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for round := range 20 {
				churn(t, e, i, round)
			}
		})
	}
	for range 20 {
		_, _ = e.Request(t.Context(), Ask{To: "web", Op: "x", All: true, Within: 5 * time.Millisecond})
		_, _ = e.Request(t.Context(), Ask{To: "all", Op: "x", Within: 5 * time.Millisecond})
		e.Tell(func(op.Party) bool { return true }, op.Frame{Op: "y"})
		e.Commands()
		e.Counts()
	}
	all.Wait()
	c := e.Counts()
	if c.Parties != 0 || c.UnderWay != 0 || c.Subscriptions != 0 || c.Listens != 0 || c.Commands != 0 {
		t.Errorf("%+v", c)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.clock.All()) != 0 || len(e.handover.parked) != 0 || len(e.topics) != 0 || len(e.behind.seats) != 0 {
		t.Error("something is left")
	}
}

// churn is the short life of a party that does all there is to do.
func churn(t *testing.T, e *Exchange, slot, round int) {
	p := &fake{t: t, name: fmt.Sprintf("web#%d", slot)}
	party := p.party(fmt.Sprintf("web#%d/%d", slot, round))
	party.App, party.Slot = "web", slot
	var seat atomic.Pointer[op.Seat]
	party.Send = func(data []byte) error {
		f, err := op.Parse(data)
		if s := seat.Load(); err == nil && s != nil && f.Cmd == op.CmdOp && f.ID != 0 && f.ID%3 != 0 {
			reply := op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: raw(1)}.Append(nil)
			go (*s).Hear(reply)
		}
		return nil
	}
	s := e.Enter(party, false)
	seat.Store(&s)
	s.Ready(1, true)
	frames := []op.Frame{
		{Op: op.Hello},
		{Op: op.Subscribe, Body: raw(`{"channel":"c"}`)},
		{Op: op.Subscribe, Body: raw(`{"channel":"c","queue":"q"}`)},
		{Op: op.Listen, Body: raw(`{"ops":["*"]}`)},
		{Op: op.AddCommands, Body: raw(`{"commands":[{"name":"x"}]}`)},
		{Op: op.Publish, Body: raw(`{"channel":"c","message":1}`)},
		{Op: "x", To: "web"},
		{Op: "x", To: "web", All: true, Within: 3},
		{Op: "z"},
		{Op: "later"},
		{Op: "soon"},
		{Op: op.Unsubscribe, Body: raw(`{"channel":"c"}`)},
		{Op: op.Peers},
		{Op: op.Commands},
	}
	for i, f := range frames {
		f.Cmd, f.ID = op.CmdOp, int64(i+1)
		s.Hear(f.Append(nil))
	}
	s.Hear(op.Frame{Cmd: op.CmdCancel, ID: 7}.Append(nil))
	s.Changed(op.Settings{}, nil)
	s.Ready(1, round%2 == 0)
	s.Gone()
}

// A model: parties come, ask, reply, cancel and go in any order and time; every request
// gets exactly one last reply, unless its asker has cancelled it or has gone.
func TestEveryRequestHasOneEnd(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seed := rapid.Uint64().Draw(rt, "seed")
		steps := rapid.IntRange(1, 150).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) { lives(t, rand.New(rand.NewPCG(seed, 0)), steps) })
	})
}

func lives(t *testing.T, random *rand.Rand, steps int) {
	e := newExchange(t)
	defer e.Close()
	e.Serve("never", func(*Call) {})
	var list []*fake
	ends := map[*fake]map[int64]int{} // last replies wanted
	for i := range 4 {
		p := worker(t, e, "web", i)
		p.must(op.Listen, op.OpsBody{Ops: []string{"asked"}})
		list, ends[p] = append(list, p), map[int64]int{}
	}
	frames := []op.Frame{
		{Op: "x", To: "web"},
		{Op: "x", To: "web#1"},
		{Op: "x", To: "all", All: true},
		{Op: "x", To: "web", All: true, Within: -1},
		{Op: "asked"},
		{Op: "never"},
		{Op: op.Peers},
		{Op: "none"},
		{Op: "x", To: "none"},
		{Op: "x", To: "web", Hops: 99},
		{Op: "x", To: "web", Within: 50},
	}
	held := map[*fake][]op.Frame{}
	for range steps {
		p := list[random.IntN(len(list))]
		for _, f := range p.got() {
			switch {
			case f.Cmd == op.CmdReply && !f.More:
				ends[p][f.ID]--
			case f.Cmd == op.CmdOp && f.ID != 0:
				held[p] = append(held[p], f)
			}
		}
		switch random.IntN(8) {
		case 0, 1, 2:
			ends[p][p.ask(frames[random.IntN(len(frames))])] = 1
		case 3, 4:
			if n := len(held[p]); n > 0 {
				p.say(op.Frame{Cmd: op.CmdReply, ID: held[p][n-1].ID, More: random.IntN(4) == 0})
				held[p] = held[p][:n-1]
			}
		case 5:
			p.say(op.Frame{Cmd: op.CmdCancel, ID: p.id})
			if ends[p][p.id] == 1 && e.waits(p) {
				delete(ends[p], p.id)
			}
		case 6:
			p.seat.Ready(p.pid, random.IntN(3) > 0)
		case 7:
			if random.IntN(4) == 0 {
				i := random.IntN(len(list))
				list[i].seat.Gone()
				delete(ends, list[i])
				list[i] = worker(t, e, "web", i)
				ends[list[i]] = map[int64]int{}
			} else {
				<-time.After(time.Duration(random.IntN(100)) * time.Millisecond)
			}
		}
	}
	<-time.After(2 * op.WithinDefault)
	synctest.Wait()
	for p, wanted := range ends {
		for _, f := range p.got() {
			if f.Cmd == op.CmdReply && !f.More {
				wanted[f.ID]--
			}
		}
		for id, n := range wanted {
			if n != 0 {
				t.Errorf("%s: %d last replies to %d are missing", p.name, n, id)
			}
		}
	}
	if n := e.Counts().UnderWay; n != 0 {
		t.Errorf("%d are still under way", n)
	}
}

// waits says that the last request of a party has got no last reply that it has not
// looked at: it was really cancelled.
func (e *Exchange) waits(p *fake) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range p.frames {
		if f.Cmd == op.CmdReply && f.ID == p.id && !f.More {
			return false
		}
	}
	return true
}

// The same road over real channels.
func TestOverRealChannels(t *testing.T) {
	e := newExchange(t)
	const pings = 500
	ends := make([]*channel.Conn, 2)
	var all sync.WaitGroup
	for i := range ends {
		ours, theirs, err := channel.Pair()
		if err != nil {
			t.Fatal(err)
		}
		agent := channel.Open(ours, channel.Options{})
		ends[i] = channel.Open(theirs, channel.Options{})
		name := fmt.Sprintf("web#%d", i)
		seat := e.Enter(op.Party{
			ID: name, App: "web", Slot: i, Name: name, Waiting: agent.Waiting,
			Send: func(frame []byte) error { return agent.Send(frame) },
		}, false)
		seat.Ready(i+1, true)
		all.Go(func() {
			for {
				f, err := agent.Receive(context.Background())
				if err != nil {
					seat.Gone()
					return
				}
				seat.Hear(f.Data)
			}
		})
		t.Cleanup(func() { agent.Close() })
	}
	say := func(i int, f op.Frame) {
		f.Cmd = or(f.Cmd, op.CmdOp)
		if err := ends[i].Send(f.Append(nil)); err != nil {
			t.Error(err)
		}
	}
	hear := func(i int) op.Frame {
		f, err := ends[i].Receive(context.Background())
		if err != nil {
			t.Error(err)
			return op.Frame{}
		}
		frame, err := op.Parse(f.Data)
		if err != nil {
			t.Error(err)
		}
		return frame
	}
	for i := range ends {
		say(i, op.Frame{Op: op.Hello, ID: 1})
		if f := hear(i); f.ID != 1 || f.Error != nil {
			t.Fatalf("%+v", f)
		}
	}
	all.Go(func() {
		for range pings {
			f := hear(1)
			say(1, op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: f.Body})
		}
	})
	big, _ := json.Marshal(string(make([]byte, 100<<10))) // more than a socket takes at once
	for n := range pings {
		body := raw(n)
		if n%100 == 0 {
			body = big
		}
		say(0, op.Frame{Op: "ping", To: "web", ID: int64(n + 2), Body: body})
		if f := hear(0); f.ID != int64(n+2) || string(f.Body) != string(body) || f.From != "web#1" {
			t.Fatalf("%.300v", f)
		}
	}
	for _, c := range ends {
		c.Close()
	}
	all.Wait()
	if c := e.Counts(); c.Parties != 0 || c.UnderWay != 0 {
		t.Errorf("%+v", c)
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

// Whatever a party says, it can do others no harm: each of its requests has at most one
// end, and others go on.
func FuzzHear(f *testing.F) {
	for _, s := range []string{
		`{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_OP","op":"x","id":2,"to":"all","all":true}`, `{"cmd":"MUSTER_OP","op":"x","id":2,"to":"web#1"}`,
		`{"cmd":"MUSTER_OP","op":"publish","id":3,"body":{"channel":"c","message":{}}}`, `{"cmd":"MUSTER_OP","op":"subscribe","id":3,"body":{"channel":":c","queue":"q"}}`,
		`{"cmd":"MUSTER_OP","op":"listen","id":4,"body":{"ops":["*","x"]}}`, `{"cmd":"MUSTER_REPLY","id":1,"more":true}`, `{"cmd":"MUSTER_CANCEL","id":2}`,
		`{"cmd":"MUSTER_OP","op":"commands:add","id":3,"body":{"commands":[{"name":"x","pattern":"a:int"}]}}`, `{"cmd":"MUSTER_OP","op":"x","to":"web","id":1,"all":true,"within":-1}`,
		`{"cmd":"MUSTER_OP","op":"lock:acquire","body":{"name":"l","token":"t"}}`, `{"cmd":"MUSTER_OP","op":"crash","body":{"error":5}}`,
	} {
		f.Add([]byte(s), []byte(s))
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		e := newExchange(t)
		defer e.Close()
		a, b := worker(t, e, "web", 0), worker(t, e, "web", 1)
		b.must(op.Subscribe, `{"channel":"web:c"}`)
		b.must(op.Listen, `{"ops":["*"]}`)
		a.seat.Hear(one)
		a.seat.Hear(two)
		for _, got := range b.got() {
			if got.ID != 0 && got.Cmd == op.CmdOp {
				b.answer(got, `1`)
			}
		}
		first, err1 := op.Parse(one)
		second, err2 := op.Parse(two)
		ends := map[int64]int{}
		for _, got := range a.got() {
			if got.Cmd == op.CmdReply && !got.More {
				ends[got.ID]++
			}
		}
		for id, n := range ends {
			asked := 0
			if err1 == nil && first.ID == id {
				asked++
			}
			if err2 == nil && second.ID == id {
				asked++
			}
			if n > asked {
				t.Errorf("%d replies to %d requests with ID %d", n, asked, id)
			}
		}
		b.must(op.Peers, nil)
		a.seat.Gone()
		if n := e.Counts().UnderWay; n != 0 {
			t.Errorf("%d under way", n)
		}
	})
}

// BenchmarkServed is a request to an operation of muster's own, from bytes to bytes.
func BenchmarkServed(b *testing.B) {
	e := newExchange(b)
	e.Serve(op.LimiterTake, func(c *Call) { c.Reply(json.RawMessage(`{"allowed":true,"left":4}`), nil) })
	seat := e.Enter(op.Party{ID: "a", App: "web", Name: "web#0", Send: func([]byte) error { return nil }}, false)
	seat.Hear([]byte(`{"cmd":"MUSTER_OP","op":"hello"}`))
	line := []byte(`{"cmd":"MUSTER_OP","op":"limiter:take","id":1763800000000001,"body":{"name":"api","key":"u1","rate":5}}`)
	b.ReportAllocs()
	for b.Loop() {
		seat.Hear(line)
	}
	if e.Counts().Replies == 0 {
		b.Error("no reply")
	}
}

// BenchmarkPassed is a request to another party, and its reply.
func BenchmarkPassed(b *testing.B) {
	e := newExchange(b)
	var sent []byte
	a := e.Enter(op.Party{ID: "a", App: "web", Name: "web#0", Send: func([]byte) error { return nil }}, false)
	to := e.Enter(op.Party{ID: "b", App: "jobs", Name: "jobs#0", Send: func(data []byte) error { sent = data; return nil }}, false)
	to.Ready(1, true)
	to.Hear([]byte(`{"cmd":"MUSTER_OP","op":"hello"}`))
	line := []byte(`{"cmd":"MUSTER_OP","op":"job:do","id":1763800000000001,"to":"jobs","body":{"name":"api","key":"u1"}}`)
	b.ReportAllocs()
	for b.Loop() {
		a.Hear(line)
		f, err := op.Parse(sent)
		if err != nil {
			b.Fatal(err)
		}
		to.Hear(op.Frame{Cmd: op.CmdReply, ID: f.ID, Body: f.Body}.Append(nil))
	}
	if c := e.Counts(); c.Late != 0 || c.Replies == 0 {
		b.Errorf("%+v", c)
	}
}

// BenchmarkPublish is a message to 1,000 subscribers.
func BenchmarkPublish(b *testing.B) {
	e := newExchange(b)
	var seats []op.Seat
	for i := range 1001 {
		s := e.Enter(op.Party{ID: fmt.Sprint(i), App: "web", Name: fmt.Sprintf("web#%d", i), Send: func([]byte) error { return nil }}, false)
		s.Hear([]byte(`{"cmd":"MUSTER_OP","op":"hello"}`))
		s.Hear([]byte(`{"cmd":"MUSTER_OP","op":"subscribe","body":{"channel":"c"}}`))
		seats = append(seats, s)
	}
	line := []byte(`{"cmd":"MUSTER_OP","op":"publish","body":{"channel":"c","message":{"text":"hello"}}}`)
	b.ReportAllocs()
	for b.Loop() {
		seats[0].Hear(line)
	}
}
