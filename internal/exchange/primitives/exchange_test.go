package primitives

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/op"
)

// real is the exchange as the primitives see it; the agent has the same.
type real struct{ *exchange.Exchange }

func (r real) Serve(name string, h func(Call)) {
	r.Exchange.Serve(name, func(c *exchange.Call) {
		h(Call{Party: c.Party().ID, Name: c.Party().Name, PID: c.PID(), ID: c.ID(), Again: c.Again(), Body: c.Body(), Asker: c})
	})
}

// house is an exchange with primitives, over two ledgers.
type house struct {
	*exchange.Exchange
	close func()
}

func build(t *testing.T, members, state *store, epoch int) house {
	t.Helper()
	open := func(s *store) *ledger.Ledger {
		l, err := ledger.Open(s, "x")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	m, l := open(members), open(state)
	e, err := exchange.New(exchange.Options{Project: "p", Node: "n", Agent: epoch, Epoch: epoch, Ledger: m})
	if err != nil {
		t.Fatal(err)
	}
	p, err := New(real{e}, Options{Ledger: l})
	if err != nil {
		t.Fatal(err)
	}
	return house{e, func() { e.Close(); p.Close(); m.Close(); l.Close() }}
}

// worker is a party with its channel.
type worker struct {
	t     *testing.T
	seat  op.Seat
	heard chan op.Frame
}

func enter(t *testing.T, h house, n int, adopted bool) *worker {
	w := &worker{t: t, heard: make(chan op.Frame, 100)}
	w.seat = h.Enter(op.Party{
		ID: fmt.Sprint("web/", n), App: "web", Slot: n, Name: fmt.Sprint("web#", n),
		Send: func(line []byte) error {
			f, err := op.Parse(append([]byte(nil), line...))
			if err != nil {
				return err
			}
			w.heard <- f
			return nil
		},
		Waiting: func() (int, int) { return len(w.heard), 0 },
	}, adopted)
	w.seat.Ready(1000+n, true)
	return w
}

func (w *worker) say(f op.Frame, body any) {
	w.t.Helper()
	f.Cmd = op.CmdOp
	text, err := json.Marshal(body)
	if err != nil {
		w.t.Fatal(err)
	}
	f.Body = text
	w.seat.Hear(f.Append(nil))
}

// hears waits for the frame for which yes holds.
func (w *worker) hears(yes func(op.Frame) bool) op.Frame {
	w.t.Helper()
	for end := time.After(20 * time.Second); ; {
		select {
		case f := <-w.heard:
			if yes(f) {
				return f
			}
		case <-end:
			w.t.Fatal("not heard")
		}
	}
}

func replyTo[T any](w *worker, id int64) T {
	w.t.Helper()
	f := w.hears(func(f op.Frame) bool { return f.Cmd == op.CmdReply && f.ID == id })
	if f.Error != nil {
		w.t.Fatalf("%s: %s", f.Error.Code, f.Error.Text)
	}
	var v T
	if err := json.Unmarshal(f.Body, &v); err != nil {
		w.t.Fatal(err)
	}
	return v
}

// With the real exchange: locks pass when their owner has gone, caches hear of each
// other, and over the death of the agent what was counted is counted once.
func TestWithExchange(t *testing.T) {
	members, state := newStore(t), newStore(t)
	h := build(t, members, state, 1)
	a, b := enter(t, h, 1, false), enter(t, h, 2, false)
	for _, w := range []*worker{a, b} {
		w.say(op.Frame{Op: op.Hello, ID: 1}, op.HelloBody{SDK: "test/1"})
		replyTo[op.Welcome](w, 1)
		w.say(op.Frame{Op: op.CacheUse, ID: 2}, op.CacheBody{Cache: "u"})
		replyTo[struct{}](w, 2)
	}
	a.say(op.Frame{Op: op.CacheDel, ID: 3}, op.CacheBody{Cache: "u", Key: "k"})
	if r := replyTo[op.Receivers](a, 3); r.Receivers != 1 {
		t.Fatalf("%+v", r)
	}
	if f := b.hears(func(f op.Frame) bool { return f.Op == op.CacheDel }); string(f.Body) != `{"cache":"u","key":"k"}` {
		t.Fatalf("%s", f.Body)
	}
	a.say(op.Frame{Op: op.LockAcquire, ID: 4}, lockBody("x", 1))
	first := replyTo[op.Held](a, 4)
	b.say(op.Frame{Op: op.LockAcquire, ID: 5, Within: 60_000}, waitBody("x", 2))
	b.say(op.Frame{Op: op.CounterAdd, ID: 6}, op.CounterBody{Name: "c", Add: 1})
	replyTo[op.Value](b, 6)
	a.seat.Gone()
	if second := replyTo[op.Held](b, 5); !second.Held || second.Fence <= first.Fence {
		t.Fatalf("%+v after %+v", second, first)
	}
	h.close()
	h = build(t, members, state, 2)
	defer h.close()
	b = enter(t, h, 2, true)
	b.say(op.Frame{Op: op.CounterAdd, ID: 6}, op.CounterBody{Name: "c", Add: 1}) // the first that is heard
	if v := replyTo[op.Value](b, 6); v.Value != 1 {
		t.Fatalf("counted twice: %+v", v)
	}
	b.say(op.Frame{Op: op.LockAcquire, ID: 5, Again: true}, waitBody("x", 2))
	if again := replyTo[op.Held](b, 5); !again.Held || again.Fence != first.Fence+1 {
		t.Fatalf("%+v", again)
	}
	b.seat.Gone()
}
