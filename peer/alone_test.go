package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

func alone(t *testing.T) *Peer {
	t.Helper()
	p := Alone(Options{App: "web"})
	t.Cleanup(func() { p.Close() })
	return p
}

// Alone, bodies mean what they mean to muster.
func TestAloneBodies(t *testing.T) {
	p := alone(t)
	var value op.Value
	if err := p.Request(within(t), "", op.CounterGet, op.CounterBody{Name: "n", Add: 5}, &value); err != nil || value.Value != 0 {
		t.Error("get has added:", value, err)
	}
	var taken op.Taken
	err := p.Request(within(t), "", op.LimiterTake, op.LimiterBody{Name: "l", Rate: 0.5}, &taken)
	if err != nil || !taken.Allowed {
		t.Error(taken, err)
	}
	var held op.Held
	token := strings.Repeat("t", 16)
	err = p.Request(within(t), "", op.LockAcquire, op.LockBody{Name: "l", Token: token, WaitMS: math.MaxInt64}, &held)
	wantCode(t, err, fault.Usage) // no wait may be so long
}

// Alone, what needs others says so, and the rest works in the process.
func TestAlone(t *testing.T) {
	p := alone(t)
	if w, err := p.Hello(within(t)); err != nil || w.App != "web" {
		t.Error(w, err)
	}
	wantCode(t, p.Request(within(t), "web", "x", nil, nil), fault.Alone)
	wantCode(t, p.Request(within(t), "", op.Kill, nil, nil), fault.Alone)
	wantCode(t, p.Request(within(t), "", "chat:say", nil, nil), fault.UnknownOp)
	_, err := p.Tell(within(t), "all", "x", nil)
	wantCode(t, err, fault.Alone)
	for _, err := range p.Gather(within(t), "all", "x", nil) {
		wantCode(t, err, fault.Alone)
	}
	if err := p.Send(within(t), "", "x", nil); err != nil {
		t.Error(err)
	}
	if list, err := p.Peers(within(t), ""); err != nil || len(list) != 1 {
		t.Error(list, err)
	}
	var back string
	if err := p.Request(within(t), "", op.Ping, "x", &back); err != nil || back != "x" {
		t.Error(back, err)
	}
	remove, err := p.AddCommand(within(t), Command{Name: "greet"}, nil)
	if err != nil {
		t.Error(err)
	}
	remove()
	if list, err := p.Commands(within(t)); err != nil || len(list) != 0 {
		t.Error(list, err)
	}
	wantCode(t, p.Request(within(t), "", op.CounterAdd, "no object", nil), fault.Usage)
}

// Own messages come only if that is asked for, as under muster.
func TestAlonePublish(t *testing.T) {
	p := alone(t)
	got := make(chan *Message, 8)
	cancel, err := p.Subscribe(within(t), ":room", SubscribeOptions{}, func(_ context.Context, m *Message) { got <- m })
	if err != nil {
		t.Fatal(err)
	}
	publish := func(self bool) int {
		r, err := p.PublishAs(within(t), Publication{Channel: ":room", Message: self, Self: self})
		if err != nil {
			t.Error(err)
		}
		return r.Receivers
	}
	if others, own := publish(false), publish(true); others != 0 || own != 1 {
		t.Errorf("%d and %d have got it", others, own)
	}
	if m := receive(t, got); string(m.Body) != "true" || m.Channel != "web:room" || m.Op != op.Message || m.From == "" {
		t.Errorf("got %+v", m)
	}
	cancel()
	if n := publish(true); n != 0 {
		t.Errorf("%d have got it", n)
	}
}

// A circle of messages ends.
func TestAloneCircle(t *testing.T) {
	p := alone(t)
	ended := make(chan error, 1)
	_, err := p.Subscribe(within(t), "room", SubscribeOptions{}, func(ctx context.Context, _ *Message) {
		if _, err := p.PublishAs(ctx, Publication{Channel: "room", Self: true, Quick: true}); err != nil {
			ended <- err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.PublishAs(within(t), Publication{Channel: "room", Self: true}); err != nil {
		t.Fatal(err)
	}
	wantCode(t, receive(t, ended), fault.TooDeep)
}

// What muster does not know is asked of the program's own listeners.
func TestAloneHear(t *testing.T) {
	p := alone(t)
	heard := make(chan string, 4)
	remove, err := p.Hear(within(t), []string{"*"}, func(_ context.Context, r *Request) (any, error) {
		heard <- r.Op
		return json.RawMessage(r.Body), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var back int
	if err := p.Request(within(t), "", "double", 4, &back); err != nil || back != 4 {
		t.Error(back, err)
	}
	receive(t, heard)
	if n, err := p.Counter("c").Add(within(t), 2); n != 2 || err != nil {
		t.Error(n, err)
	}
	if got := receive(t, heard); got != op.CounterAdd {
		t.Error(got)
	}
	remove()
	wantCode(t, p.Request(within(t), "", "double", 4, nil), fault.UnknownOp)
}

func TestAloneCounter(t *testing.T) {
	p := alone(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 50 {
				if _, err := p.Counter("c").Add(within(t), 1); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n, err := p.Counter("c").Get(within(t)); n != 400 || err != nil {
		t.Error(n, err)
	}
	_, err := p.Counter("c").Add(within(t), math.MaxInt64)
	wantCode(t, err, fault.Usage)
	_, err = p.Counter("").Get(within(t))
	wantCode(t, err, fault.Usage)
	_, err = p.Counter(strings.Repeat("x", op.NameMax+1)).Get(within(t))
	wantCode(t, err, fault.Usage)
}

func TestAloneCache(t *testing.T) {
	p := alone(t)
	c, err := NewCache[string](within(t), p, "c", CacheOptions{Max: 2, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := c.Set(fmt.Sprint(i), "v", 0); err != nil {
			t.Error(err)
		}
	}
	if _, ok := c.Get("0"); ok {
		t.Error("there are three")
	}
	if r, err := c.Del(within(t), "2"); err != nil || r.Receivers != 0 {
		t.Error(r, err)
	}
	if _, err := c.Drop(within(t)); err != nil || c.Stats().Len != 0 {
		t.Error(err, c.Stats())
	}
}

// The exact delay, over pure time.
func TestAloneLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := Alone(Options{})
		defer p.Close()
		ctx := context.Background()
		l := p.Limiter("mail", LimiterOptions{Rate: 2, Interval: time.Second, Burst: 3})
		for i := range 3 {
			if d, err := l.Take(ctx, "bob", 1); err != nil || !d.Allowed || d.Left != float64(2-i) || d.Wait != 0 {
				t.Errorf("%d: %+v, %v", i, d, err)
			}
		}
		if d, err := l.Take(ctx, "bob", 2); err != nil || d.Allowed || d.Wait != time.Second {
			t.Errorf("%+v, %v", d, err)
		}
		if !l.Allow(ctx, "eve") || l.Allow(ctx, "bob") {
			t.Error("keys are not apart")
		}
		begun := time.Now()
		if err := l.Wait(ctx, "bob", 2); err != nil || time.Since(begun) != time.Second {
			t.Errorf("waited %v, %v", time.Since(begun), err)
		}
		short, stop := context.WithTimeout(ctx, 400*time.Millisecond)
		defer stop()
		begun = time.Now()
		err := l.Wait(short, "bob", 1)
		wantCode(t, err, fault.Deadline)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != 0 {
			t.Errorf("waited %v for what cannot be: %v", time.Since(begun), err)
		}
		given, giveUp := context.WithCancel(ctx)
		time.AfterFunc(100*time.Millisecond, giveUp)
		wantCode(t, l.Wait(given, "bob", 1), fault.Interrupted)
	})
}

// Intervals that are no whole milliseconds are none the less exact.
func TestLimiterInterval(t *testing.T) {
	for _, tc := range []struct {
		o    LimiterOptions
		want op.LimiterBody
	}{
		{LimiterOptions{Rate: 5}, op.LimiterBody{Rate: 5, Burst: 5}},
		{LimiterOptions{Rate: 0.1, Interval: time.Minute}, op.LimiterBody{Rate: 0.1, Burst: 1, IntervalMS: 60_000}},
		{LimiterOptions{Rate: 2, Interval: 500 * time.Microsecond, Burst: 9}, op.LimiterBody{Rate: 4000, Burst: 9, IntervalMS: 1000}},
		{LimiterOptions{Rate: 2, Interval: -1}, op.LimiterBody{Rate: 2, Burst: 2, IntervalMS: -1}},
		{LimiterOptions{Rate: 2, Interval: -time.Second}, op.LimiterBody{Rate: 2, Burst: 2, IntervalMS: -1000}},
	} {
		if got := tc.o.body(); got != tc.want {
			t.Errorf("%+v is sent as %+v, want %+v", tc.o, got, tc.want)
		}
	}
}

// S0.10: it fails closed or open as configured; a mistake in the options is neither.
func TestLimiterFails(t *testing.T) {
	p, a := join(t, Options{})
	closed := p.Limiter("l", LimiterOptions{Rate: 1, Patience: 20 * time.Millisecond})
	open := p.Limiter("l", LimiterOptions{Rate: 1, Patience: 20 * time.Millisecond, FailOpen: true})
	if d, err := closed.Take(within(t), "", 1); d.Allowed || fault.CodeOf(err) != fault.Deadline {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := open.Take(within(t), "", 1); !d.Allowed || err != nil || fault.CodeOf(d.Err) != fault.Deadline {
		t.Errorf("%+v, %v", d, err)
	}
	ended, stop := context.WithCancel(context.Background())
	stop()
	if d, err := open.Take(ended, "", 1); d.Allowed || fault.CodeOf(err) != fault.Interrupted {
		t.Errorf("%+v, %v", d, err)
	}
	for range 4 {
		a.frame() // two questions, given up
	}
	patient := p.Limiter("l", LimiterOptions{Rate: 1, FailOpen: true})
	for code, allowed := range map[fault.Code]bool{fault.TableFull: true, fault.AgentReplaced: true, fault.Usage: false} {
		done := started(func() bool { return patient.Allow(within(t), "k") })
		a.refuse(a.next(op.LimiterTake), code)
		if receive(t, done) != allowed {
			t.Errorf("%s: not %v", code, allowed)
		}
	}
	for _, rate := range []float64{0, -1} {
		_, err := alone(t).Limiter("l", LimiterOptions{Rate: rate, FailOpen: true}).Take(within(t), "", 1)
		wantCode(t, err, fault.Usage)
	}
	_, err := open2(p).Take(within(t), "", 1)
	wantCode(t, err, fault.Usage)
	a.conn.Close()
	receive(t, p.Done())
	if !open.Allow(within(t), "") || closed.Allow(within(t), "") {
		t.Error("without a connection")
	}
}

func open2(p *Peer) *Limiter { return p.Limiter("", LimiterOptions{Rate: 1, FailOpen: true}) }
