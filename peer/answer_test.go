package peer

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func TestHandle(t *testing.T) {
	var log logged
	p, a := join(t, Options{Log: log.logger(), Handlers: map[string]HandleFunc{
		"first": func(context.Context, *Request) (any, error) { return "early", nil },
	}})
	p.Handle("say", func(_ context.Context, r *Request) (any, error) {
		var s said
		if err := r.Decode(&s); err != nil {
			return nil, err
		}
		return said{fmt.Sprint(s.Text, " ", r.From, " ", r.PID, " ", r.Asked)}, nil
	})
	p.Handle("fail", func(context.Context, *Request) (any, error) { return nil, errOwn })
	p.Handle("late", func(context.Context, *Request) (any, error) { return nil, context.DeadlineExceeded })
	p.Handle("mine", func(context.Context, *Request) (any, error) {
		return nil, &fault.Fault{Code: "E-MINE", Text: "no milk", Fix: "buy some"}
	})
	p.Handle("panic", func(context.Context, *Request) (any, error) { panic("spilled") })
	p.Handle("odd", func(context.Context, *Request) (any, error) { return func() {}, nil })
	p.Handle("large", func(context.Context, *Request) (any, error) { return make([]byte, op.BodyMax), nil })
	for i, tc := range []struct {
		op         string
		body       any
		want, text string
		code       fault.Code
	}{
		{"first", nil, `"early"`, "", ""},
		{"say", said{"hi"}, `{"text":"hi web#1 7 true"}`, "", ""},
		{"say", "no object", "", "", fault.Usage},
		{"fail", nil, "", "no milk", fault.HandlerFailed},
		{"late", nil, "", "", fault.Deadline},
		{"mine", nil, "", "no milk", "E-MINE"},
		{"panic", nil, "", "the handler of panic has panicked: spilled", fault.HandlerFailed},
		{"odd", nil, "", "", fault.Usage},
		{"large", nil, "", "", fault.TooLarge},
		{"unknown", nil, "", "nothing here answers unknown", fault.UnknownOp},
	} {
		n := int64(i + 1)
		a.op(tc.op, tc.body, id(n), from("web#1"))
		f := a.replied(n)
		if string(f.Body) != tc.want {
			t.Errorf("%s: replied %s, want %s", tc.op, f.Body, tc.want)
		}
		if code := codeOf(f); code != tc.code || tc.text != "" && f.Error.Text != tc.text {
			t.Errorf("%s: replied %+v, want %s %s", tc.op, f.Error, tc.code, tc.text)
		}
	}
	if !log.has("spilled") || !log.has("answer_test.go") {
		t.Error("the panic was not logged with its stack")
	}
}

func codeOf(f op.Frame) fault.Code {
	if f.Error == nil {
		return ""
	}
	return f.Error.Code
}

// What is only told is not answered; the last handler of an op counts.
func TestHandleTold(t *testing.T) {
	p, a := join(t, Options{})
	told := make(chan string, 4)
	handle := func(name string) func() {
		return p.Handle("x", func(_ context.Context, r *Request) (any, error) {
			told <- fmt.Sprint(name, r.Asked)
			return name, nil
		})
	}
	removeOld, removeNew := handle("old "), handle("new ")
	a.op("x", nil, from("web#1"))
	if got := receive(t, told); got != "new false" {
		t.Error(got)
	}
	removeNew()
	removeNew()
	a.op("x", nil, id(1), from("web#1"))
	if got := receive(t, told); got != "old true" {
		t.Error(got)
	}
	a.replied(1)
	removeOld()
	a.op("x", nil, from("web#1"))
	a.op("x", nil, id(2), from("web#1"))
	if f := a.replied(2); codeOf(f) != fault.UnknownOp {
		t.Errorf("replied %s", f.Append(nil))
	}
}

// The context of a handler ends by a cancel, at the deadline, and with the Peer; what is
// sent with it counts as sent from within.
func TestHandlerContext(t *testing.T) {
	p, a := join(t, Options{})
	ended := make(chan error, 1)
	begun := make(chan bool, 1)
	p.Handle("wait", func(ctx context.Context, _ *Request) (any, error) {
		begun <- true
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	a.op("wait", nil, id(1), from("web#1"))
	receive(t, begun)
	a.send(op.Frame{Cmd: op.CmdCancel, ID: 2}) // another's
	a.send(op.Frame{Cmd: op.CmdCancel, ID: 1})
	if err := receive(t, ended); err != context.Canceled {
		t.Error(err)
	}
	a.replied(1)
	a.op("wait", nil, id(3), func(f *op.Frame) { f.Within = 5 })
	receive(t, begun)
	if err := receive(t, ended); err != context.DeadlineExceeded {
		t.Error(err)
	}
	a.replied(3)

	sent := make(chan error, 1)
	p.Handle("pass", func(ctx context.Context, _ *Request) (any, error) {
		sent <- p.Send(ctx, "web", "next", nil)
		return nil, nil
	})
	a.op("pass", nil, func(f *op.Frame) { f.Hops = 3 })
	if err := receive(t, sent); err != nil {
		t.Error(err)
	}
	if f := a.next("next"); f.Hops != 4 {
		t.Errorf("sent with %d hops", f.Hops)
	}
	a.op("pass", nil, func(f *op.Frame) { f.Hops = op.HopsMax })
	wantCode(t, receive(t, sent), fault.TooDeep)

	a.op("wait", nil, from("web#1"))
	receive(t, begun)
	p.Close()
	if err := receive(t, ended); err != context.Canceled {
		t.Error(err)
	}
}

// Beyond HandlersMax others are refused, or counted; muster itself is still heard.
func TestTooManyHandlers(t *testing.T) {
	gaps := make(chan int, 8)
	p, a := join(t, Options{OnGap: func(n int) { gaps <- n }})
	var begun sync.WaitGroup
	begun.Add(HandlersMax)
	release := make(chan bool)
	p.Handle("busy", func(context.Context, *Request) (any, error) {
		begun.Done()
		<-release
		return nil, nil
	})
	p.Handle("quick", func(context.Context, *Request) (any, error) { return "yes", nil })
	for i := range HandlersMax {
		a.op("busy", nil, id(int64(i+1)), from("web#1"))
	}
	begun.Wait()
	a.op("quick", nil, id(1000), from("web#1"))
	if f := a.replied(1000); codeOf(f) != fault.TableFull {
		t.Errorf("replied %s", f.Append(nil))
	}
	a.op("quick", nil, from("web#1"))
	if n := receive(t, gaps); n != 1 || p.Counts().Dropped != 1 {
		t.Errorf("a gap of %d, %d dropped", n, p.Counts().Dropped)
	}
	a.op("quick", nil, id(1001), from("muster"))
	if f := a.replied(1001); string(f.Body) != `"yes"` {
		t.Errorf("replied %s", f.Append(nil))
	}
	close(release)
	for range HandlersMax {
		if f := a.frame(); f.Cmd != op.CmdReply || f.Error != nil {
			t.Fatalf("got %s", f.Append(nil))
		}
	}
}

// Listeners hear beside the handler; without one the first of them answers (S0.4).
func TestHear(t *testing.T) {
	p, a := join(t, Options{})
	heard := make(chan string, 8)
	hear := func(name string, ops ...string) func() {
		remove := started(func() func() {
			remove, err := p.Hear(within(t), ops, func(_ context.Context, r *Request) (any, error) {
				heard <- name + " " + r.Op
				return name, nil
			})
			if err != nil {
				t.Error(err)
			}
			return remove
		})
		a.reply(a.next(op.Listen), nil)
		return receive(t, remove)
	}
	removeOne := hear("one", "x", "y")
	removeAll := hear("all", "*", "y")
	a.op("x", nil, id(1), from("web#1"))
	if f := a.replied(1); string(f.Body) != `"one"` {
		t.Errorf("replied %s", f.Body)
	}
	got := map[string]bool{receive(t, heard): true, receive(t, heard): true}
	if !got["one x"] || !got["all x"] {
		t.Errorf("heard %v", got)
	}
	remove := p.Handle("x", func(context.Context, *Request) (any, error) { return "handler", nil })
	a.op("x", nil, id(2), from("web#1"))
	if f := a.replied(2); string(f.Body) != `"handler"` {
		t.Errorf("replied %s", f.Body)
	}
	receive(t, heard)
	receive(t, heard)
	remove()
	removeOne()
	removeOne()
	if b := decodeBody[op.OpsBody](t, a.next(op.Unlisten)); len(b.Ops) != 1 || b.Ops[0] != "x" {
		t.Errorf("not heard any more: %v", b.Ops)
	}
	a.op("other", nil)
	if got := receive(t, heard); got != "all other" {
		t.Error(got)
	}
	removeAll()
	if b := decodeBody[op.OpsBody](t, a.next(op.Unlisten)); len(b.Ops) != 2 {
		t.Errorf("not heard any more: %v", b.Ops)
	}

	refused := started(func() error {
		_, err := p.Hear(within(t), []string{"z"}, func(context.Context, *Request) (any, error) { return nil, nil })
		return err
	})
	a.refuse(a.next(op.Listen), fault.TableFull)
	wantCode(t, receive(t, refused), fault.TableFull)
	a.next(op.Unlisten)
}

func TestCommands(t *testing.T) {
	p, a := join(t, Options{})
	type added struct {
		remove func()
		err    error
	}
	add := func(name string, f CommandFunc) added {
		done := started(func() added {
			remove, err := p.AddCommand(within(t), Command{Name: name, Pattern: "N:int", Help: "greets"}, f)
			return added{remove, err}
		})
		a.reply(a.next(op.AddCommands), nil)
		return receive(t, done)
	}
	greet := add("greet", func(_ context.Context, args map[string]any) (any, error) {
		return fmt.Sprintf("hi %v %[1]T", args["N"]), nil
	})
	bad := add("bad", func(context.Context, map[string]any) (any, error) { panic("spilled") })
	if greet.err != nil || bad.err != nil {
		t.Fatal(greet.err, bad.err)
	}
	for i, tc := range []struct {
		body any
		want string
		code fault.Code
	}{
		{op.CommandCall{Name: "greet", Args: map[string]any{"N": 3}}, `"hi 3 int64"`, ""},
		{op.CommandCall{Name: "bad"}, "", fault.HandlerFailed},
		{op.CommandCall{Name: "none"}, "", fault.UnknownOp},
		{7, "", fault.Usage},
	} {
		n := int64(i + 1)
		a.op(op.CommandRun, tc.body, id(n))
		if f := a.replied(n); string(f.Body) != tc.want || codeOf(f) != tc.code {
			t.Errorf("%v: replied %s", tc.body, f.Append(nil))
		}
	}
	if own := p.OwnCommands(); len(own) != 2 || own[0].Name != "bad" || own[1].Help != "greets" {
		t.Errorf("own commands: %+v", own)
	}
	if got, err := p.RunCommand(within(t), "greet", []string{"1"}); got != "hi 1 int64" || err != nil {
		t.Error(got, err)
	}
	_, err := p.RunCommand(within(t), "none", nil)
	wantCode(t, err, fault.UnknownOp)
	_, err = p.RunCommand(within(t), "greet", []string{"12x"})
	wantCode(t, err, fault.Usage)
	_, err = p.AddCommand(within(t), Command{Name: "odd", Pattern: "N:"}, nil)
	wantCode(t, err, fault.Usage)
	again := add("greet", func(context.Context, map[string]any) (any, error) { return "again", nil })
	greet.remove() // not its own any more
	if got, _ := p.RunCommand(within(t), "greet", []string{"1"}); got != "again" {
		t.Error(got)
	}
	again.remove()
	again.remove()
	if b := decodeBody[op.CommandsBody](t, a.next(op.DelCommands)); b.Commands[0].Name != "greet" {
		t.Errorf("%+v", b)
	}
	list := started(func() []Command {
		list, err := p.Commands(within(t))
		if err != nil {
			t.Error(err)
		}
		return list
	})
	a.reply(a.next(op.Commands), op.CommandsBody{Commands: []Command{{Name: "x", Of: []string{"web#1"}}}})
	if got := receive(t, list); len(got) != 1 || got[0].Of[0] != "web#1" {
		t.Errorf("%+v", got)
	}
	_, err = p.AddCommand(within(t), Command{}, nil)
	wantCode(t, err, fault.Usage)
}
