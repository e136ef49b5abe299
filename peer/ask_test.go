package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

type said struct {
	Text string `json:"text"`
}

func TestRequest(t *testing.T) {
	p, a := join(t, Options{})
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	var got said
	done := started(func() error { return p.Request(ctx, "tag:edge", "chat:say", said{"hello\n"}, &got) })
	f := a.next("chat:say")
	if f.To != "tag:edge" || f.All || f.Hops != 0 || f.Within < 30_000 || f.Within > 60_000 || string(f.Body) != `{"text":"hello\n"}` {
		t.Errorf("asked with %s", f.Append(nil))
	}
	a.reply(f, said{"hi"})
	if err := receive(t, done); err != nil || got.Text != "hi" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// Bodies may be any JSON, or none, and the reply may not be wanted.
func TestBodies(t *testing.T) {
	p, a := join(t, Options{})
	for _, tc := range []struct {
		body any
		want string
	}{
		{nil, ""},
		{json.RawMessage(nil), ""},
		{json.RawMessage("{\n \"a\": 1 }"), `{"a":1}`},
		{"text", `"text"`},
		{0, "0"},
		{false, "false"},
	} {
		done := started(func() error { return p.Request(within(t), "", "x", tc.body, nil) })
		f := a.next("x")
		if string(f.Body) != tc.want {
			t.Errorf("%v is sent as %s, want %s", tc.body, f.Body, tc.want)
		}
		a.reply(f, nil)
		if err := receive(t, done); err != nil {
			t.Error(err)
		}
	}
	var reply json.RawMessage
	done := started(func() error { return p.Request(within(t), "", "x", nil, &reply) })
	a.reply(a.next("x"), []int{1, 2})
	if err := receive(t, done); err != nil || string(reply) != "[1,2]" {
		t.Errorf("%s, %v", reply, err)
	}
	var number int
	done = started(func() error { return p.Request(within(t), "", "x", nil, &number) })
	a.reply(a.next("x"), "no number")
	wantCode(t, receive(t, done), fault.Usage)
}

// Nothing leaves of what cannot be asked.
func TestRequestRefused(t *testing.T) {
	p, a := join(t, Options{})
	ended, stop := context.WithCancel(context.Background())
	stop()
	deep := context.WithValue(context.Background(), hopsKey{}, op.HopsMax+1)
	for name, tc := range map[string]struct {
		ctx  context.Context
		op   string
		body any
		want fault.Code
	}{
		"10 MB":        {within(t), "x", strings.Repeat("x", 10<<20), fault.TooLarge},
		"no JSON":      {within(t), "x", func() {}, fault.Usage},
		"broken JSON":  {within(t), "x", json.RawMessage("{"), fault.Usage},
		"no op":        {within(t), "", nil, fault.Usage},
		"a long op":    {within(t), strings.Repeat("x", op.NameMax+1), nil, fault.Usage},
		"ended before": {ended, "x", nil, fault.Interrupted},
		"a circle":     {deep, "x", nil, fault.TooDeep},
	} {
		if err := p.Request(tc.ctx, "web", tc.op, tc.body, nil); fault.CodeOf(err) != tc.want {
			t.Errorf("%s: got %v, want %s", name, err, tc.want)
		}
	}
	_, err := p.Tell(within(t), "", "x", nil)
	wantCode(t, err, fault.Usage)
	if err := p.Send(within(t), "", "last", nil); err != nil {
		t.Fatal(err)
	}
	a.next("last")
}

func TestRequestFails(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() error { return p.Request(within(t), "web", "x", nil, nil) })
	f := a.next("x")
	a.send(op.Frame{Cmd: op.CmdReply, ID: f.ID, From: "web#3", Error: &op.Error{Code: "E-MINE", Text: "no milk", Fix: "buy some"}})
	var failed *fault.Fault
	if err := receive(t, done); !errors.As(err, &failed) || failed.Code != "E-MINE" || failed.Text != "no milk" || failed.Fix != "buy some" || failed.Where != "web#3" {
		t.Errorf("got %+v", failed)
	}
}

// Who gives up tells muster; what comes afterwards is counted.
func TestDeadlineAndCancel(t *testing.T) {
	p, a := join(t, Options{})
	short, stop := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer stop()
	done := started(func() error { return p.Request(short, "web", "slow", nil, nil) })
	f := a.next("slow")
	if f.Within < 1 || f.Within > 20 {
		t.Errorf("muster is told to wait %d ms", f.Within)
	}
	err := receive(t, done)
	wantCode(t, err, fault.Deadline)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v is no DeadlineExceeded", err)
	}
	if c := a.frame(); c.Cmd != op.CmdCancel || c.ID != f.ID {
		t.Errorf("got %s, want a cancel of %d", c.Append(nil), f.ID)
	}

	given, giveUp := context.WithCancel(context.Background())
	done = started(func() error { return p.Request(given, "web", "slow", nil, nil) })
	second := a.next("slow")
	if second.ID <= f.ID || second.Within != 0 {
		t.Errorf("asked with %s after %d", second.Append(nil), f.ID)
	}
	giveUp()
	err = receive(t, done)
	wantCode(t, err, fault.Interrupted)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v is no Canceled", err)
	}
	a.frame()
	a.reply(f, nil)
	a.reply(second, nil)
	eventually(t, "both late replies are counted", func() bool { return p.Counts().Late == 2 })
}

// IDs are unique and leave in growing order, from the microseconds since 1970.
func TestIDsGrow(t *testing.T) {
	before := time.Now().UnixMicro()
	p, a := join(t, Options{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for range 10 {
				var n int
				if err := p.Request(within(t), "", "echo", i, &n); err != nil || n != i {
					t.Errorf("%d came back as %d, %v", i, n, err)
				}
			}
		})
	}
	last := before
	for range 200 {
		f := a.next("echo")
		if f.ID <= last {
			t.Fatalf("%d after %d", f.ID, last)
		}
		last = f.ID
		a.reply(f, f.Body)
	}
	all.Wait()
}

func TestTooManyRequests(t *testing.T) {
	p, a := join(t, Options{})
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	for range AskedMax {
		all.Go(func() { wantCode(t, p.Request(ctx, "", "x", nil, nil), fault.Interrupted) })
	}
	for range AskedMax {
		a.next("x")
	}
	wantCode(t, p.Request(within(t), "", "x", nil, nil), fault.TableFull)
	stop()
	all.Wait()
	done := started(func() error { return p.Request(within(t), "", "after", nil, nil) })
	for {
		if f := a.frame(); f.Op == "after" {
			a.reply(f, nil)
			break
		}
	}
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

func TestSendAndTell(t *testing.T) {
	p, a := join(t, Options{})
	if err := p.Send(within(t), "web#1", "one", said{"x"}); err != nil {
		t.Fatal(err)
	}
	if f := a.next("one"); f.ID != 0 || f.All || f.To != "web#1" {
		t.Errorf("sent %s", f.Append(nil))
	}
	done := started(func() error {
		r, err := p.Tell(within(t), "all", "two", nil)
		if want := (Receivers{Receivers: 3, Missed: []string{"web#2"}}); !reflect.DeepEqual(r, want) {
			t.Errorf("told %+v, want %+v", r, want)
		}
		return err
	})
	f := a.next("two")
	if f.ID == 0 || !f.All || f.Within != -1 || f.To != "all" {
		t.Errorf("told with %s", f.Append(nil))
	}
	a.reply(f, Receivers{Receivers: 3, Missed: []string{"web#2"}})
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}

// S0.3
func TestEnvelope(t *testing.T) {
	type hello struct {
		Op   string `json:"op"`
		Text string `json:"text"`
	}
	p, a := join(t, Options{})
	for _, message := range []any{
		hello{"say", "hi"},
		&hello{"say", "hi"},
		map[string]any{"op": "say", "text": "hi"},
		`{"text":"hi","op":"say"}`, []byte(`{"text":"hi","op":"say"}`), json.RawMessage(` {"op":"say","text":"hi"}`),
	} {
		if err := p.Post(within(t), "web", message); err != nil {
			t.Fatal(err)
		}
		if f := a.next("say"); string(f.Body) != `{"text":"hi"}` || f.To != "web" {
			t.Errorf("%T is sent as %s", message, f.Append(nil))
		}
	}
	if name, body, err := Envelope(`{"op":"say"}`); name != "say" || body != nil || err != nil {
		t.Errorf("%q %s %v", name, body, err)
	}
	for _, message := range []any{"", " ", "{", "say", `"say"`, `[]`, `{}`, `{"op":""}`, `{"op":7}`, nil, 7, func() {}, []byte(nil)} {
		wantCode(t, p.Post(within(t), "", message), fault.Usage)
	}
}

func TestGather(t *testing.T) {
	p, a := join(t, Options{})
	type part struct{ from, body, code string }
	done := started(func() []part {
		var list []part
		for answer, err := range p.Gather(within(t), "web", "count", nil) {
			list = append(list, part{answer.From, string(answer.Body), string(fault.CodeOf(err))})
		}
		return list
	})
	f := a.next("count")
	if !f.All || f.To != "web" || f.ID == 0 {
		t.Errorf("asked with %s", f.Append(nil))
	}
	for i := range 2 {
		a.send(op.Frame{Cmd: op.CmdReply, ID: f.ID, From: fmt.Sprintf("web#%d", i), PID: i, More: true, Body: raw(t, i)})
	}
	a.send(op.Frame{Cmd: op.CmdReply, ID: f.ID, From: "web#2", More: true, Error: &op.Error{Code: fault.HandlerFailed, Text: "x"}})
	a.reply(f, op.Gathered{Asked: 5, Replied: 3, Missing: map[string]string{"web#4": "E-DEADLINE", "web#3": "E-PEER-GONE"}})
	want := []part{{"web#0", "0", ""}, {"web#1", "1", ""}, {"web#2", "", "E-HANDLER"}, {"web#3", "", "E-PEER-GONE"}, {"web#4", "", "E-DEADLINE"}}
	if got := receive(t, done); !reflect.DeepEqual(got, want) {
		t.Errorf("gathered %v, want %v", got, want)
	}
}

// Who is missing is said at the deadline, and that is waited for; a cancelled question
// ends at once.
func TestGatherAtTheDeadline(t *testing.T) {
	p, a := join(t, Options{})
	ask := func(ctx context.Context) <-chan string {
		return started(func() string {
			for answer, err := range p.Gather(ctx, "web", "x", nil) {
				return answer.From + " " + string(fault.CodeOf(err))
			}
			return ""
		})
	}
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer stop()
	done := ask(ctx)
	f := a.next("x")
	<-ctx.Done()
	a.reply(f, op.Gathered{Asked: 1, Missing: map[string]string{"web#4": "E-DEADLINE"}})
	if got := receive(t, done); got != "web#4 E-DEADLINE" {
		t.Errorf("at the deadline: %q", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	done = ask(ctx)
	a.next("x")
	cancel()
	if got := receive(t, done); got != " E-INTERRUPTED" {
		t.Errorf("cancelled: %q", got)
	}
}

// A question as a whole fails without a name; leaving the loop ends the question.
func TestGatherEnds(t *testing.T) {
	p, a := join(t, Options{})
	one := func() error {
		for answer, err := range p.Gather(within(t), "web", "x", nil) {
			if answer.From != "" {
				t.Errorf("an answer of %s", answer.From)
			}
			return err
		}
		return nil
	}
	done := started(one)
	a.refuse(a.next("x"), fault.NoPeer)
	wantCode(t, receive(t, done), fault.NoPeer)
	for _, err := range p.Gather(within(t), "", "x", nil) {
		wantCode(t, err, fault.Usage)
	}

	left := started(func() bool {
		for range p.Gather(within(t), "web", "y", nil) {
			break
		}
		return true
	})
	f := a.next("y")
	a.send(op.Frame{Cmd: op.CmdReply, ID: f.ID, From: "web#0", More: true})
	receive(t, left)
	if c := a.frame(); c.Cmd != op.CmdCancel || c.ID != f.ID {
		t.Errorf("got %s, want a cancel", c.Append(nil))
	}
}

func TestPeers(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() []Info {
		list, err := p.Peers(within(t), "role:worker")
		if err != nil {
			t.Error(err)
		}
		return list
	})
	f := a.next(op.Peers)
	if b := decodeBody[op.PeersBody](t, f); b.To != "role:worker" {
		t.Errorf("asked for %q", b.To)
	}
	want := []Info{{Name: "job#0", App: "job", Role: "worker", PID: 9, Ready: true}}
	a.reply(f, want)
	if got := receive(t, done); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

// When the connection ends all that is under way fails, and all that comes.
func TestWireEnds(t *testing.T) {
	p, a := join(t, Options{})
	done := started(func() error { return p.Request(within(t), "web", "x", nil, nil) })
	a.next("x")
	if p.Err() != nil {
		t.Error(p.Err())
	}
	a.conn.Close()
	wantCode(t, receive(t, done), fault.AgentUnreachable)
	receive(t, p.Done())
	wantCode(t, p.Err(), fault.AgentUnreachable)
	wantCode(t, p.Request(within(t), "web", "x", nil, nil), fault.AgentUnreachable)
	wantCode(t, p.Send(within(t), "web", "x", nil), fault.AgentUnreachable)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
}

func TestClose(t *testing.T) {
	p, a := joinSilently(t, Options{})
	a.next(op.Hello)
	ctx, stop := context.WithCancel(context.Background())
	stop()
	_, err := p.Hello(ctx)
	wantCode(t, err, fault.Interrupted)
	hello := started(func() error { _, err := p.Hello(within(t)); return err })
	done := started(func() error { return p.Request(within(t), "web", "x", nil, nil) })
	a.next("x")
	for range 2 {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
	wantCode(t, receive(t, done), fault.AgentUnreachable)
	wantCode(t, receive(t, hello), fault.AgentUnreachable)
	wantCode(t, p.Err(), fault.AgentUnreachable)
}

// What cannot be read is counted, told once, and does no harm. Frames marked for
// Node.js's own channel are as good as others.
func TestUnreadable(t *testing.T) {
	var log logged
	p, a := join(t, Options{Log: log.logger()})
	for _, line := range []string{"{", "null", `{"cmd":"NODE_CLUSTER"}`, `{"cmd":"MUSTER_OP","id":"x"}`, " "} {
		if err := a.conn.Send([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "they are counted", func() bool { return p.Counts().Unreadable == 5 })
	if !log.has("cannot be read") {
		t.Error("nothing was logged")
	}
	done := started(func() error { return p.Request(within(t), "", "x", nil, nil) })
	f := a.next("x")
	if err := a.conn.Send(fmt.Appendf(nil, `{"cmd":"NODE_MUSTER_REPLY","id":%d}`, f.ID)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, done); err != nil {
		t.Error(err)
	}
}
