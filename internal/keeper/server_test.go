package keeper

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/process/spool"
)

// raw is an agent that speaks the protocol by hand.
type raw struct {
	t    *testing.T
	conn *channel.Conn
}

func (l *lab) raw() (*raw, *session) {
	x, fd := l.attach(Hello{Version: "test"})
	return &raw{l.t, channel.Open(fd, channel.Options{})}, x
}

func (r *raw) say(frame string, fds ...int) {
	r.t.Helper()
	if err := r.conn.Send([]byte(frame), fds...); err != nil {
		r.t.Fatal(err)
	}
}

// hear returns the next frame as text.
func (r *raw) hear() string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), atMost)
	defer cancel()
	f, err := r.conn.Receive(ctx)
	if err != nil {
		r.t.Fatal(err)
	}
	closeAll(f.FDs)
	return string(f.Data)
}

const rawHello = `{"op":"hello","id":1,"protocol":1,"min":1}`

// What a later agent may say more, or differently, is no reason to end it.
func TestServerTolerates(t *testing.T) {
	l := newLab(t, process.Options{})
	r, x := l.raw()
	defer x.close()
	defer r.conn.Close()
	for _, step := range []struct{ say, hear string }{
		{`{"op":"hello","id":1,"protocol":9,"min":1,"color":"blue"}`, `"hello":{"pid":`},
		{`{"op":"paint","id":2}`, `{"op":"reply","id":2,"error":{`},
		{`{"op":"paint","process":"a"}`, `{"op":"trouble","error":{"text":"this keeper does not know \"paint\": unsupported operation"},"of":"paint","about":"a"}`},
		{`{"op":"names","id":3,"shade":["dark"]}`, `{"op":"reply","id":3}`},
		{`{"op":"set_main","id":4,"pid":"seven"}`, `{"op":"reply","id":4,"error":{"code":"E-INTERNAL"`},
		{`{"op":"start","id":5}`, `EINVAL`},
		{`{"op":"start","id":6,"command":{"id":"a","argv":["/bin/true"],"files":["http"]}}`, `0 of 1 descriptors`},
		{`{"op":"put","name":"x"}`, `0 of 1 descriptors`},
		{`{"op":"upgrade","id":7}`, `0 of 1 descriptors`},
		{`{"op":"wait","id":8,"out":77}`, `output 77 is not open`},
		{`{"op":"commit","out":77,"pos":1}`, `"of":"commit"`},
		{`{"op":"output","id":9,"process":"a"}`, `"is":"unknown-process"`},
		{`{"op":"set_meta","process":"a"}`, `"of":"set_meta"`},
		{`{"op":"ack","id":10,"process":"a"}`, `{"op":"reply","id":10}`},
		{`{"op":"get","id":11,"name":"none"}`, `{"op":"reply","id":11}`},
		{`{"op":"list","id":12}`, `{"op":"reply","id":12}`},
	} {
		r.say(step.say)
		got := r.hear()
		if step.hear == "EINVAL" {
			step.hear = `"errno":22`
		}
		if !strings.Contains(got, step.hear) {
			t.Errorf("%s: %s", step.say, got)
		}
	}
	if len(x.broken()) != 0 {
		t.Error(<-x.broken())
	}
}

// An agent of another time is refused in words, and not cut off.
func TestServerVersions(t *testing.T) {
	l := newLab(t, process.Options{})
	for _, hello := range []string{`"protocol":3,"min":2`, `"protocol":0,"min":0`} {
		r, x := l.raw()
		r.say(`{"op":"hello","id":1,` + hello + `}`)
		if got := r.hear(); !strings.Contains(got, "E-UPGRADE") {
			t.Errorf("%s: %s", hello, got)
		}
		r.conn.Close()
		x.close()
	}
	// And a keeper of another time is refused by the agent's Dial.
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	k := channel.Open(ours, channel.Options{})
	defer k.Close()
	if err := k.Send([]byte(`{"op":"reply","id":1,"error":{"code":"E-UPGRADE","text":"too new"}}`)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Dial(theirs); err == nil || !strings.Contains(err.Error(), "too new") {
		t.Errorf("%v", err)
	}
}

// A senseless frame ends the session, which keeps the socket open; the server
// and its processes serve the next agent.
func TestServerBroken(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	p := start(t, c, program(t, "a", "sleep"))
	c.Close()
	x.close()
	for _, bad := range []string{
		`hello`, `{}`, `{"op":""}`, `{"op":7}`, `[]`, `{"op":"list"`, `{"op":"list","id":1}`, strings.Repeat("x", wire.RequestMax+1),
		strings.Repeat("[", 100_000),
	} {
		r, x := l.raw()
		if bad != `{"op":"list","id":1}` { // which comes before hello
			r.say(rawHello)
			r.hear()
		}
		r.say(bad, 0)
		r.say(`{"op":"put","name":"late"}`, 0)
		select {
		case err := <-x.broken():
			if err == nil {
				t.Errorf("%.20s: no error", bad)
			}
		case <-time.After(atMost):
			t.Fatalf("%.20s was taken", bad)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if _, err := r.conn.Receive(ctx); err != context.DeadlineExceeded {
			t.Errorf("%.20s: the socket is closed: %v", bad, err)
		}
		cancel()
		r.conn.Close()
		x.close()
	}
	c, x = l.dial()
	defer x.close()
	defer c.Close()
	if list := c.List(); len(list) != 1 || list[0].PID != p.PID || len(c.Store().List()) != 0 {
		t.Errorf("%+v, %q", list, c.Store().List())
	}
}

// What an agent had sent before it was killed is carried out, though a stranger
// still holds its end.
func TestServerReadsToTheEnd(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	start(t, c, program(t, "a", "exit", "3"))
	nextExit(t, c)
	c.Close()
	x.close()
	r, x := l.raw()
	r.say(rawHello)
	for i := range 500 {
		r.say(fmt.Sprintf(`{"op":"put","name":"n%03d"}`, i), 0)
	}
	r.say(`{"op":"set_meta","process":"a","meta":"b25l"}`)
	r.say(`{"op":"start","id":2,"command":{"id":"b","argv":["/bin/sleep","1000"],"dir":"/"}}`)
	r.say(`{"op":"ack","process":"a"}`)
	ctx, cancel := context.WithTimeout(t.Context(), atMost)
	defer cancel()
	if err := r.conn.Flush(ctx); err != nil { // as the kernel has it when the agent dies
		t.Fatal(err)
	}
	x.close()
	defer r.conn.Close()
	c, x = l.dial()
	defer x.close()
	defer c.Close()
	if list := c.List(); len(list) != 1 || list[0].ID != "b" || len(c.Store().List()) != 500 {
		t.Errorf("%+v, %d names", list, len(c.Store().List()))
	}
}

// A repeated start returns the process of the first, whoever asked for that, and
// keeps none of the descriptors.
func TestStartIsIdempotent(t *testing.T) {
	l := newLab(t, process.Options{})
	c, x := l.dial()
	cmd := program(t, "a", "sleep")
	cmd.Files = []process.NamedFD{{Name: "in", File: os.Stdin}}
	first := start(t, c, cmd)
	before := openFiles(t)
	for range 20 {
		if p := start(t, c, cmd); p.PID != first.PID {
			t.Fatalf("%d and %d", p.PID, first.PID)
		}
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d descriptors were %d", after, before)
	}
	c.Close()
	x.close()
	c, x = l.dial()
	defer x.close()
	defer c.Close()
	if p := start(t, c, cmd); p.PID != first.PID {
		t.Errorf("another agent: %d and %d", p.PID, first.PID)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Lists come in parts.
func TestListInParts(t *testing.T) {
	fake, store := processtest.NewFake(), process.NewDirectStore()
	s := serverOf(fake, noSpools, store)
	ours, theirs, err := channel.Pair()
	if err != nil {
		t.Fatal(err)
	}
	x := s.serve(ours, Hello{}, &notedOrders{})
	c, _, err := Dial(theirs)
	if err != nil {
		t.Fatal(err)
	}
	const n = 2*wire.ListPart + 1
	for i := range n {
		start(t, c, process.Command{ID: fmt.Sprint(i), Argv: []string{"x"}, Meta: make([]byte, process.MetaMax)})
	}
	list := c.List()
	seen := map[string]bool{}
	for _, p := range list {
		seen[p.ID] = len(p.Meta) == process.MetaMax
	}
	if len(list) != n || len(seen) != n || !seen["0"] {
		t.Errorf("%d processes, %d of them differ", len(list), len(seen))
	}
	c.Close()
	x.close()
	s.close()
}

func noSpools(string) (*spool.Spool, error) { return nil, process.ErrNoSpool }

// Whatever an agent sends, the keeper lives and serves the next one.
func FuzzServer(f *testing.F) {
	f.Add([]byte(rawHello + "\n" + `{"op":"list","id":2}` + "\n" + `{"op":"start","id":3,"command":{"id":"a","argv":["x"]}}`))
	f.Add([]byte(rawHello + "\n" + `{"op":"set_meta","process":"a","meta":"AA=="}` + "\n" + `{"op":"set_main","id":3,"process":"a","pid":1}`))
	f.Add([]byte(rawHello + "\n" + `{"op":"put","name":{"base64":"/w=="}}` + "\n" + `{"op":"take","id":2,"name":"x"}` + "\n" + `{"op":"names","id":4}`))
	f.Add([]byte(rawHello + "\n" + `{"op":"output","id":2,"process":"a"}` + "\n" + `{"op":"wait","id":3,"out":1}` + "\n" + `{"op":"commit","out":1,"pos":-1,"skip":[1,2]}`))
	f.Add([]byte(rawHello + "\n" + `{"op":"set_kill_at","process":"a","kill_at":-5}` + "\n" + `{"op":"end","code":-1}` + "\n" + `{"op":"unknown"}`))
	f.Add([]byte(rawHello + "\n" + rawHello + "\n\n{}"))
	f.Fuzz(func(t *testing.T, text []byte) {
		fake, store := processtest.NewFake(), process.NewDirectStore()
		defer store.Close()
		if _, err := fake.Start(process.Command{ID: "a", Argv: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		sp, err := spool.Open(t.TempDir(), spool.DefaultMax, spool.NewBuffers())
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close(true)
		s := serverOf(fake, func(string) (*spool.Spool, error) { return sp, nil }, store)
		defer s.close()
		talk := func(frames [][]byte) {
			ours, theirs, err := channel.Pair()
			if err != nil {
				t.Fatal(err)
			}
			x := s.serve(ours, Hello{}, &notedOrders{})
			r := channel.Open(theirs, channel.Options{})
			for _, frame := range frames {
				_ = r.Send(frame, 0) // empty lines are no frames
			}
			_ = r.Flush(t.Context())
			r.Close()
			x.close()
		}
		var frames [][]byte
		for line := range strings.SplitSeq(string(text), "\n") {
			frames = append(frames, []byte(line))
		}
		talk(frames)
		ours, theirs, err := channel.Pair()
		if err != nil {
			t.Fatal(err)
		}
		x := s.serve(ours, Hello{}, &notedOrders{})
		c, _, err := Dial(theirs)
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		x.close()
		if _, err := sp.Reader(); err != nil {
			t.Errorf("the reader's place is taken: %v", err)
		}
	})
}
