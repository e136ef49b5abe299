package worker

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

// These are workers of one app over real channels and the real exchange.

func TestRequestAmongWorkers(t *testing.T) {
	list, _ := newMuster(t).workers(3)
	for i, w := range list {
		w.Handle("who", func(_ context.Context, r *peer.Request) (any, error) { return fmt.Sprint(i, " for ", r.From), nil })
	}
	var got string
	if err := list[0].Request(within(t), "web#2", "who", nil, &got); err != nil || got != "2 for web#0" {
		t.Error(got, err)
	}
	seen := map[string]bool{}
	for range 4 { // in turn, and never the asker itself
		if err := list[0].Request(within(t), "web", "who", nil, &got); err != nil {
			t.Error(err)
		}
		seen[got] = true
	}
	if want := map[string]bool{"1 for web#0": true, "2 for web#0": true}; !reflect.DeepEqual(seen, want) {
		t.Errorf("%v were asked", seen)
	}
	var all []string
	for a, err := range list[0].Gather(within(t), "all", "who", nil) {
		if err != nil {
			t.Error(err)
		}
		all = append(all, a.From)
	}
	if len(all) != 2 {
		t.Errorf("%v have answered", all)
	}
	wantCode(t, list[0].Request(within(t), "none", "who", nil, nil), fault.NoPeer)
	wantCode(t, list[0].Request(within(t), "web#1", "what", nil, nil), fault.UnknownOp)
	wantCode(t, list[0].Request(within(t), "", "what", nil, nil), fault.UnknownOp)
	if peers, err := list[0].Peers(within(t), "web"); err != nil || len(peers) != 3 {
		t.Error(peers, err)
	}
}

// Who was asked and dies is reported at once; a deadline holds for all.
func TestDeathAndDeadline(t *testing.T) {
	list, members := newMuster(t).workers(3)
	begun := make(chan bool, 2)
	hang := func(ctx context.Context, _ *peer.Request) (any, error) {
		begun <- true
		<-ctx.Done()
		return nil, ctx.Err()
	}
	list[1].Handle("hang", hang)
	list[2].Handle("hang", hang)
	failed := started(func() error { return list[0].Request(within(t), "web#1", "hang", nil, nil) })
	receive(t, begun)
	members[1].end()
	wantCode(t, receive(t, failed), fault.PeerGone)
	short, stop := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer stop()
	wantCode(t, list[0].Request(short, "web#2", "hang", nil, nil), fault.Deadline)
}

func TestPublishAmongWorkers(t *testing.T) {
	list, _ := newMuster(t).workers(4)
	got, queue := make(chan string, 100), make(chan string, 100)
	for i, w := range list {
		if _, err := w.Subscribe(within(t), ":room", peer.SubscribeOptions{}, func(_ context.Context, m *peer.Message) {
			got <- fmt.Sprint(i, m.Op, m.Channel, m.From)
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Subscribe(within(t), ":room", peer.SubscribeOptions{Queue: "q"}, func(context.Context, *peer.Message) {
			queue <- fmt.Sprint(i)
		}); err != nil {
			t.Fatal(err)
		}
	}
	r, err := list[0].PublishAs(within(t), peer.Publication{Channel: ":room", Op: "say", Message: "hi"})
	if err != nil || r.Receivers != 4 {
		t.Error(r, err)
	}
	for range 3 {
		if m := receive(t, got); m[1:] != "sayweb:roomweb#0" || m[0] == '0' {
			t.Error(m)
		}
	}
	receive(t, queue)
	if len(got)+len(queue) > 0 {
		t.Error("more than one each")
	}
}

// The primitives hold over processes (S0.10).
func TestSharedPrimitives(t *testing.T) {
	list, members := newMuster(t).workers(4)
	var mu sync.Mutex
	var all sync.WaitGroup
	allowed := 0
	var inside, times atomic.Int32
	for _, w := range list {
		all.Go(func() {
			l := w.Limiter("mail", peer.LimiterOptions{Rate: 1, Interval: time.Hour, Burst: 10})
			for range 10 {
				if l.Allow(within(t), "k") {
					mu.Lock()
					allowed++
					mu.Unlock()
				}
				if err := w.Lock("l", peer.LockOptions{}).Do(within(t), func(context.Context) error {
					if n := inside.Add(1); n != 1 {
						t.Errorf("%d have the lock", n)
					}
					times.Add(1)
					inside.Add(-1)
					return nil
				}); err != nil {
					t.Error(err)
				}
				if _, err := w.Counter("c").Add(within(t), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, err := list[0].Counter("c").Get(within(t)); n != 40 || err != nil || times.Load() != 40 || allowed != 10 {
		t.Errorf("counted %d (%v), %d inside, %d allowed", n, err, times.Load(), allowed)
	}

	held, err := list[1].Lock("l", peer.LockOptions{}).Acquire(within(t))
	if err != nil {
		t.Fatal(err)
	}
	next := started(func() *peer.Held {
		h, err := list[2].Lock("l", peer.LockOptions{}).Acquire(within(t))
		wantCode(t, err, "")
		return h
	})
	eventually(t, "the lock is waited for", func() bool {
		_, owner, _ := list[3].Lock("l", peer.LockOptions{}).Try(within(t))
		return owner == "web#1"
	})
	members[1].end() // its death frees the lock
	if h := receive(t, next); h.Fence() <= held.Fence() {
		t.Errorf("fences %d and %d", held.Fence(), h.Fence())
	}
	receive(t, held.Lost())
}

func TestSharedCache(t *testing.T) {
	list, _ := newMuster(t).workers(3)
	var caches []*peer.Cache[int]
	for _, w := range list {
		c, err := peer.NewCache[int](within(t), w.Peer, "c", peer.CacheOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Fill(within(t), "k", 0, func(context.Context) (int, error) { return 1, nil }); err != nil {
			t.Fatal(err)
		}
		caches = append(caches, c)
	}
	if r, err := caches[0].Del(within(t), "k"); err != nil || r.Receivers != 2 {
		t.Error(r, err)
	}
	for _, c := range caches {
		eventually(t, "k is gone everywhere", func() bool { _, ok := c.Get("k"); return !ok })
	}
}

// What a worker says of itself, and what muster asks it.
func TestWorkerAndMuster(t *testing.T) {
	m := newMuster(t)
	list, members := m.workers(1)
	w, side := list[0], members[0]
	if w.Alone() || w.Name() != "web#0" {
		t.Error(w.Name())
	}
	if err := w.Lifecycle("warming up"); err != nil || receive(t, side.texts) != "warming up" {
		t.Error(err)
	}
	if err := w.Ready(); err != nil || receive(t, side.other) != `{"cmd":"MUSTER_READY"}` {
		t.Error(err)
	}
	if err := w.Status("busy \"1\"\n"); err != nil || receive(t, side.other) != `{"cmd":"MUSTER_STATUS","text":"busy \"1\"\n"}` {
		t.Error(err)
	}
	if _, err := w.AddCommand(within(t), peer.Command{Name: "greet"}, func(_ context.Context, args map[string]any) (any, error) {
		return fmt.Sprint("hi ", args["NAME"]), nil
	}); err != nil {
		t.Fatal(err)
	}
	if c := m.exchange.Commands(); len(c) != 1 || c[0].Name != "greet" {
		t.Errorf("%+v", c)
	}
	changed := make(chan peer.Settings, 1)
	remove := w.OnConfig(func(s peer.Settings) { changed <- s; panic("spilled") })
	want := op.Settings{ConsolePort: 9000, Changes: []string{"ports.http 1 → 2"}}
	side.seat.Changed(want, nil)
	if s := receive(t, changed); !reflect.DeepEqual(s, want) || !reflect.DeepEqual(w.Settings(), want) {
		t.Errorf("changed to %+v, now %+v", s, w.Settings())
	}
	remove()
	side.seat.Changed(op.Settings{ConsolePort: 1}, nil)
	eventually(t, "it is noted", func() bool { return w.Settings().ConsolePort == 1 })
	if len(changed) > 0 {
		t.Error("told after the end")
	}
	for _, err := range []error{
		w.Kill(within(t), KillOptions{Reason: "x", Force: true}), w.Restart(within(t), "", ""), w.Reload(within(t), "", ""),
		w.SetPort(within(t), "http", 9000, true), w.SetProbe(within(t), time.Second), w.ReloadConfig(within(t)),
	} {
		wantCode(t, err, fault.UnknownOp) // this exchange serves no orders
	}
}

// The orders carry what they are given.
func TestOrders(t *testing.T) {
	m := newMuster(t)
	got := make(chan string, 8)
	for _, name := range []string{op.Kill, op.Restart, op.Reload, op.SetPort, op.SetProbe, op.ConfigReload, op.Status} {
		calls{m.exchange}.Exchange.Serve(name, serveOrder(got))
	}
	list, _ := m.workers(1)
	w := list[0]
	for want, order := range map[string]func() error{
		`kill {"reason":"r","graceful":false,"exit_code":3,"agent":true}`: func() error { return w.Kill(within(t), KillOptions{"r", true, 3, true}) },
		`kill {"graceful":true}`:                  func() error { return w.Kill(within(t), KillOptions{}) },
		`restart {"selector":"job","reason":"r"}`: func() error { return w.Restart(within(t), "job", "r") },
		`reload {}`: func() error { return w.Reload(within(t), "", "") },
		`set-port {"name":"h","port":9000,"now":true}`: func() error { return w.SetPort(within(t), "h", 9000, true) },
		`set-probe {"interval_ms":2000}`:               func() error { return w.SetProbe(within(t), 2*time.Second) },
		`config:reload `:                               func() error { return w.ReloadConfig(within(t)) },
		`status `: func() error {
			s, err := w.MusterStatus(within(t))
			if s.Project != "p" {
				t.Errorf("%+v", s)
			}
			return err
		},
	} {
		if err := order(); err != nil {
			t.Error(want, err)
		}
		if is := receive(t, got); is != want {
			t.Errorf("ordered %s, want %s", is, want)
		}
	}
}

// A sign of life every fifth of the interval, when and while it is wanted (S0.8).
func TestHeartbeat(t *testing.T) {
	m := newMuster(t)
	side := m.enter(0, op.Settings{HeartbeatMS: 100})
	alive := make(chan bool, 1)
	alive <- true
	w := side.worker(Options{Alive: func() bool { is := <-alive; alive <- is; return is }})
	first := receive(t, side.beats)
	for range 4 {
		receive(t, side.beats)
	}
	if took := time.Since(first); took < 70*time.Millisecond {
		t.Errorf("five within %v", took)
	}
	<-alive
	alive <- false
	if !silent(side.beats, 300*time.Millisecond) {
		t.Error("a sign of life of what is not alive")
	}
	<-alive
	alive <- true
	receive(t, side.beats)
	side.seat.Changed(op.Settings{}, nil)
	eventually(t, "it is noted", func() bool { return w.Settings().HeartbeatMS == 0 })
	if !silent(side.beats, 300*time.Millisecond) {
		t.Error("a sign of life that is not wanted any more")
	}
	side.seat.Changed(op.Settings{HeartbeatMS: 50}, nil)
	receive(t, side.beats)
}

// silent says whether nothing comes for a while, after at most two that were under way.
func silent(c <-chan time.Time, while time.Duration) bool {
	for range 3 {
		select {
		case <-c:
		case <-time.After(while):
			return true
		}
	}
	return false
}

// What is no operation is passed on, answered, or left alone.
func TestOtherFrames(t *testing.T) {
	got := make(chan string, 8)
	side := newMuster(t).enter(0, op.Settings{})
	side.worker(Options{OnMessage: func(m []byte) {
		got <- string(m)
		panic("spilled")
	}})
	for _, line := range []string{
		`{"cmd":"NODE_CLUSTER","act":"x"}`, `{"cmd":"MUSTER_FAILED","to":"x"}`, `{"cmd":"MUSTER_PING"}`, `{"hello":1}`,
		`{"cmd":"MUSTER_PING","id":{"a":1}}`, `text`,
	} {
		if err := side.conn.Send([]byte(line)); err != nil {
			t.Fatal(err)
		}
	}
	if pong := receive(t, side.other); pong != `{"cmd":"MUSTER_PONG","id":{"a":1}}` {
		t.Error(pong)
	}
	if a, b := receive(t, got), receive(t, got); a != `{"hello":1}` || b != "text" {
		t.Error(a, b)
	}
}

// Operations for members of Node.js's cluster carry a mark; SDKs understand both.
func TestMarkedFrames(t *testing.T) {
	side := newMuster(t).enter(0, op.Settings{})
	w := side.worker(Options{})
	w.Handle("x", func(context.Context, *peer.Request) (any, error) { return "yes", nil })
	got := make(chan op.Frame, 1)
	if _, err := w.Hello(within(t)); err != nil {
		t.Fatal(err)
	}
	side.mu.Lock()
	side.seat = hearing{side.seat, got}
	side.mu.Unlock()
	for _, line := range []string{`{"cmd":"NODE_MUSTER_OP","op":"x","id":1}`, `{"op":"x","id":2,"cmd":"MUSTER_OP"}`} {
		if err := side.conn.Send([]byte(line)); err != nil {
			t.Fatal(err)
		}
		if f := receive(t, got); string(f.Body) != `"yes"` {
			t.Errorf("%s: replied %s", line, f.Append(nil))
		}
	}
}

// hearing takes replies away from a seat.
type hearing struct {
	op.Seat
	got chan op.Frame
}

func (h hearing) Hear(data []byte) {
	if f, err := op.Parse(append([]byte(nil), data...)); err == nil && f.Cmd == op.CmdReply {
		h.got <- f
	}
}

// A channel that ends leaves the program running, by itself.
func TestChannelEnds(t *testing.T) {
	list, members := newMuster(t).workers(1)
	members[0].end()
	receive(t, list[0].Done())
	wantCode(t, list[0].Request(within(t), "", op.Ping, nil, nil), fault.AgentUnreachable)
	wantCode(t, list[0].Ready(), fault.AgentUnreachable)
	list[0].Stop(nil)
}

func TestCutNotice(t *testing.T) {
	long := cut(string(make([]byte, event.CrashMax-1)) + "日本")
	if len(long) != event.CrashMax-1 {
		t.Errorf("%d bytes", len(long))
	}
}
