package operations

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/peer"
)

// Clients take part under the name they give, until their connection ends.
func TestJoin(t *testing.T) {
	r := begun(t)
	w := r.worker("web", 0)
	w.Handle("echo", func(_ context.Context, q *peer.Request) (any, error) { return q.From + " " + string(q.Body), nil })
	first, done := r.client("ops")
	second, _ := r.client("ops")
	for name, p := range map[string]*peer.Peer{"client:ops": first, "client:ops-2": second} {
		if me, err := p.Hello(within(t)); err != nil || me.Name != name || me.Project != "shop" {
			t.Errorf("%+v, %v", me, err)
		}
		var reply string
		if err := p.Request(within(t), "web", "echo", 1, &reply); err != nil || reply != name+" 1" {
			t.Error(reply, err)
		}
	}
	_ = first.Close()
	if err := <-done; err == nil {
		t.Error("Join ends, and does not say why")
	}
	if err := w.Request(within(t), "client:ops", "x", nil, nil); fault.CodeOf(err) != fault.NoPeer {
		t.Error(err)
	}
	for _, name := range []string{"", "a b", "a#1", "a,b", "*", "-a", "a\n", strings.Repeat("a", 65), "ä"} {
		ours, theirs := pair(t)
		if err := r.ops.Join(t.Context(), name, theirs); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", name, err)
		}
		if n, err := ours.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("%q: its connection is open", name)
		}
		ours.Close()
	}
}

// Clients leave with the agent, and with the context.
func TestJoinEnds(t *testing.T) {
	r := begun(t)
	_, done := r.client("a")
	ours, theirs := pair(t)
	defer ours.Close()
	ctx, cancel := context.WithCancel(t.Context())
	other := make(chan error, 1)
	go func() { other <- r.ops.Join(ctx, "b", theirs) }() // ends with ctx
	cancel()
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	r.ops.Close()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it is still there")
	}
}

// A command is run by all who offer it.
func TestRun(t *testing.T) {
	r := begun(t)
	offer := func(p *peer.Peer, f peer.CommandFunc) {
		if _, err := p.AddCommand(within(t), peer.Command{Name: "clear", Pattern: "NAME [N:int]", Help: "clears"}, f); err != nil {
			t.Fatal(err)
		}
	}
	offer(r.worker("web", 0), func(_ context.Context, args map[string]any) (any, error) { return args, nil })
	offer(r.worker("web", 1), func(context.Context, map[string]any) (any, error) { return nil, fault.New(fault.Denied, "not here") })
	list := r.ops.Commands().Commands
	if text(list) != `[{"name":"clear","pattern":"NAME [N:int]","help":"clears","of":["web#0","web#1"]}]` {
		t.Error(text(list))
	}
	replies, err := r.ops.Run(within(t), api.CommandRun{Name: "clear", Args: map[string]any{"NAME": "users", "N": 3}})
	if err != nil || len(replies.Replies) != 2 {
		t.Fatal(replies, err)
	}
	for _, a := range replies.Replies {
		switch a.From {
		case "web#0":
			if string(a.Body) != `{"N":3,"NAME":"users"}` {
				t.Errorf("%s", a.Body)
			}
		case "web#1":
			if a.Fault == nil || a.Fault.Code != fault.Denied {
				t.Error(a.Fault)
			}
		}
	}
	if _, err := r.ops.Run(within(t), api.CommandRun{Name: "clean"}); fault.CodeOf(err) != fault.Usage || !strings.Contains(fault.From(err).Fix, "help") {
		t.Error(err)
	}
	if _, err := r.ops.Run(within(t), api.CommandRun{Name: "clear", Args: map[string]any{"NAME": make(chan int)}}); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

func TestAsk(t *testing.T) {
	r := begun(t)
	for slot := range 2 {
		r.worker("web", slot).Handle("echo", func(_ context.Context, q *peer.Request) (any, error) { return q.Body, nil })
	}
	one, err := r.ops.Ask(within(t), api.Ask{Selector: "web", Op: "echo", Body: json.RawMessage(`[1]`)})
	if err != nil || len(one.Replies) != 1 || string(one.Replies[0].Body) != "[1]" || one.Replies[0].PID < 1000 {
		t.Error(text(one), err)
	}
	all, err := r.ops.Ask(within(t), api.Ask{Selector: "web", Op: "none", All: true})
	if err != nil || len(all.Replies) != 2 || all.Replies[0].Fault.Code != fault.UnknownOp {
		t.Error(text(all), err)
	}
	if _, err := r.ops.Ask(within(t), api.Ask{Selector: "none", Op: "echo"}); fault.CodeOf(err) != fault.NoApp {
		t.Error(err)
	}
}

// A worker's console: where it is, and in whose words it fails.
func TestConsole(t *testing.T) {
	r := begun(t)
	w := r.worker("web", 0)
	console := func(o api.ConsoleOrder) (api.ConsolePlace, *fault.Fault) {
		place, err := r.ops.Console(within(t), o)
		return place, fault.From(err)
	}
	for worker, says := range map[string]string{"web#0": "has no console", "web#1": "matches no process"} {
		if _, f := console(api.ConsoleOrder{Worker: worker}); f == nil || f.Code != fault.ConsoleFailed || !strings.Contains(f.Text, says) {
			t.Errorf("%s: %v", worker, f)
		}
	}
	var reply any
	var fails error
	w.Handle(op.ConsoleOpen, func(context.Context, *peer.Request) (any, error) { return reply, fails })
	w.Handle(op.ConsoleClose, func(context.Context, *peer.Request) (any, error) { return nil, nil })
	reply = op.ConsolePlace{Address: "127.0.0.1:1", Token: "t"}
	if place, f := console(api.ConsoleOrder{Worker: "web#0"}); f != nil || place != (api.ConsolePlace{Address: "127.0.0.1:1", Token: "t"}) {
		t.Error(place, f)
	}
	if place, f := console(api.ConsoleOrder{Worker: "web#0", Close: true}); f != nil || place != (api.ConsolePlace{}) {
		t.Error(place, f)
	}
	for name, bad := range map[string]any{"no place": "here", "nothing": nil, "an empty one": op.ConsolePlace{}} {
		reply = bad
		if place, f := console(api.ConsoleOrder{Worker: "web#0"}); f == nil || f.Code != fault.ConsoleFailed {
			t.Errorf("%s: %v, %v", name, place, f)
		}
	}
	fails = fault.New(fault.Bind, "the port is taken")
	if _, f := console(api.ConsoleOrder{Worker: "web#0"}); f == nil || f.Code != fault.Bind {
		t.Error(f)
	}
}

// Status says of each worker whether it has joined; a client of that pid is none.
func TestMarkJoined(t *testing.T) {
	r := begun(t)
	r.worker("web", 0)
	client, _ := r.client("me")
	if _, err := client.Hello(within(t)); err != nil {
		t.Fatal(err)
	}
	peers, err := client.Peers(within(t), "client:me")
	if err != nil || len(peers) != 1 {
		t.Fatal(peers, err)
	}
	apps := []api.App{{Workers: []api.Worker{{PID: 1000}, {PID: 1001}, {PID: peers[0].PID}, {}}}}
	r.ops.MarkJoined(apps)
	for i, want := range []bool{true, false, false, false} {
		if apps[0].Workers[i].Joined != want {
			t.Errorf("%d: %v", i, !want)
		}
	}
}

// What is shared outlives the agent, and is counted.
func TestSuccessor(t *testing.T) {
	store := process.NewDirectStore()
	t.Cleanup(func() { _ = store.Close() })
	r := open(t, store, 1)
	w := r.worker("web", 0)
	if _, err := w.Counter("jobs").Add(within(t), 5); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Lock("l", peer.LockOptions{}).Acquire(within(t)); err != nil {
		t.Fatal(err)
	}
	if c := r.ops.Counts(); c.Primitives.Counters != 1 || c.Primitives.Locks != 1 || c.Exchange.Joined != 1 || c.Damaged != 0 {
		t.Errorf("%+v", c)
	}
	r.ops.Close()
	next := open(t, store, 2)
	next.ops.Begin(next.home.home())
	if c := next.ops.Counts(); c.Primitives.Counters != 1 || c.Primitives.Locks != 0 || c.Exchange.Parties != 0 {
		t.Errorf("a worker that is not there any more: %+v", c)
	}
	if n, err := next.worker("web", 1).Counter("jobs").Add(within(t), 0); n != 5 || err != nil {
		t.Error(n, err)
	}
}
