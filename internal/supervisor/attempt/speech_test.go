package attempt

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// table is an op.Exchange, and a Seat, that keep what they are told.
type table struct {
	mu    sync.Mutex
	party op.Party
	told  []string
	each  func(data []byte) // of every frame; nil: nothing
}

func (e *table) Enter(p op.Party, adopted bool) op.Seat {
	e.note("enter %s %v", p.Name, adopted)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.party = p
	return e
}

// Hear implements op.Seat.
func (e *table) Hear(data []byte) {
	if e.each != nil {
		e.each(data)
		return
	}
	e.note("%s", data)
}

func (e *table) Ready(pid int, ready bool) { e.note("ready %d %v", pid, ready) }
func (e *table) Changed(s op.Settings, _ []string) {
	e.note("changed %d %d %q", s.HeartbeatMS, s.ConsolePort, s.Changes)
}
func (e *table) Gone() { e.note("gone") }

func (e *table) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.told = append(e.told, fmt.Sprintf(format, args...))
}

// wants waits for what was told since the last time.
func (e *table) wants(t *testing.T, told ...string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for {
		e.mu.Lock()
		got := slices.Clone(e.told)
		if len(got) >= len(told) {
			e.told = nil
		}
		e.mu.Unlock()
		if len(got) >= len(told) {
			if !slices.Equal(got, told) {
				t.Fatalf("told %q, want %q", got, told)
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("told %q, want %q", got, told)
		}
	}
}

// A Node.js worker takes part on the channel of its cluster: its frames are heard on the
// loop's thread, in order with all others, and what it gets its own code does not hear of.
func TestClusterTakesPart(t *testing.T) {
	e := &table{}
	l := newHeard(t, func(s *Shared) { s.Exchange = e })
	l.send(`{"cmd":"MUSTER_OP","op":"hello","id":1}`, online, `{"cmd":"MUSTER_OP","op":"heartbeat"}`, `{"id":2,"cmd":"MUSTER_OP","op":"odd"}`, `{"cmd":"NODE_MUSTER_OP","op":"not mine"}`, `"last"`)
	l.wants("node online", `said "last"`)
	e.wants(t, "enter #0 false", "ready 0 false", `{"cmd":"MUSTER_OP","op":"hello","id":1}`, `{"cmd":"MUSTER_OP","op":"heartbeat"}`, `{"id":2,"cmd":"MUSTER_OP","op":"odd"}`)
	l.do(func() { l.a.proc.PID = 9; l.a.openBox() })
	if err := e.party.Send([]byte(`{"cmd":"MUSTER_REPLY","id":1}`)); err != nil {
		t.Fatal(err)
	}
	if got := l.receive(); got != `{"cmd":"NODE_MUSTER_REPLY","id":1}` {
		t.Error(got)
	}
	l.worker.Close()
	l.wants("node disconnected")
	e.wants(t, "ready 9 true", "gone")
	l.close()
	e.wants(t, "ready 9 false")
}

// What a thousand others ask is answered while one never stops: it has its turns, and no
// more.
func TestAFloodIsHeardInTurns(t *testing.T) {
	var mu sync.Mutex
	floods, flooding := 0, make(chan struct{})
	asked := make(chan int, 1)
	e := &table{each: func(data []byte) {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(string(data), "flood") {
			if floods++; floods == 100 {
				close(flooding)
			}
			return
		}
		asked <- floods
	}}
	l := newHeard(t, func(s *Shared) { s.Exchange = e })
	defer l.close()
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		frame := []byte(`{"cmd":"MUSTER_OP","op":"flood"}`)
		for {
			select {
			case <-over:
				return
			default:
				if l.worker.Send(frame) != nil {
					_ = l.worker.Flush(t.Context())
				}
			}
		}
	})
	other := newHeardOn(t, l)
	<-flooding
	for range 20 {
		begun := time.Now()
		other.send(`{"cmd":"MUSTER_OP","op":"ask"}`)
		<-asked
		if d := time.Since(begun); d > 5*time.Second {
			t.Errorf("it waited for %s", d)
		}
	}
	close(over)
	wg.Wait()
	other.close()
}

// A worker whose channel cannot be used any more is struck out of what an earlier agent
// has left.
func TestStruckOut(t *testing.T) {
	e := &table{}
	l := newLine(t)
	l.shared.Exchange = e
	was := record.Process{ID: l.a.id, Number: 3, Launched: time.Now(), Started: time.Now()}
	a := Adopt(l.a.life, l.a.cfg, was)
	l.do(func() { a.listen(nil) })
	e.wants(t, "enter #0 true", "gone")

	heard := newHeard(t, func(s *Shared) { s.Exchange = e })
	defer heard.close()
	heard.do(func() {
		was.Node = &record.Node{Online: true, Gone: true}
		a := Adopt(heard.a.life, heard.a.cfg, was)
		a.channel = heard.a.channel
		a.listen(was.Node)
	})
	e.wants(t, "enter #0 false", "ready 0 false", "enter #0 true", "gone")
}

// Other settings reach the process at once, and rule how its silence is judged.
func TestChange(t *testing.T) {
	e := &table{}
	l := newLine(t)
	l.shared.Exchange = e
	beats := make(chan event.WorkerHeartbeat, 10)
	l.a.cfg.Events.Heartbeat = func(b event.WorkerHeartbeat) { beats <- b }
	failed := make(chan *fault.Fault, 1)
	l.a.cfg.Events.Failed = func(f *fault.Fault) { failed <- f }
	l.open()
	l.a.cfg.Worker.Slot = 2
	l.send(`{"cmd":"MUSTER_READY"}`)
	if got := l.next(); got != "ready" {
		t.Fatal(got)
	}
	e.party.Beat()
	l.do(func() {
		app := l.a.app
		app.Console.Port = 9000
		app.Heartbeat = spec.Heartbeat{Interval: spec.Duration(20 * time.Millisecond), Kill: spec.Duration(60 * time.Millisecond)}
		l.a.Change(app, []string{"a b"})
		if !l.a.Facts().Beats {
			t.Error("a successor would not know that it has been heard")
		}
	})
	e.wants(t, "enter web#0 false", "ready 0 false", `changed 20 9002 ["a b"]`)
	if b := <-beats; b.OK || b.Last.IsZero() || b.Killed {
		t.Errorf("%+v", b)
	}
	if b := <-beats; !b.Killed {
		t.Errorf("%+v", b)
	}
	if f := <-failed; f.Code != fault.Heartbeat {
		t.Error(f)
	}
	l.a.hangUp(false)
}

// A program that never sends a sign of life is told of, once, and not judged.
func TestNeverBeats(t *testing.T) {
	l := newLine(t)
	l.shared.Exchange = &table{}
	l.do(func() {
		l.a.app.Heartbeat = spec.Heartbeat{Interval: spec.Duration(20 * time.Millisecond), Kill: spec.Duration(20 * time.Millisecond)}
		l.a.pulse = l.a.newPulse(false)
	})
	l.open()
	l.send(`{"cmd":"MUSTER_READY"}`)
	for _, want := range []string{"ready", "warned E-HEARTBEAT"} {
		if got := l.next(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	l.a.hangUp(false)
}

// An adopted process that was told to end may go on asking, but is not asked.
func TestAdoptedInTheMiddleOfItsEnd(t *testing.T) {
	e := &table{}
	l := newLine(t)
	l.open()
	l.a.hangUp(true)
	l.shared.Exchange = e
	was := record.Process{ID: l.a.id, Number: 3, Launched: time.Now(), Started: time.Now(), Stopping: true, Asked: true, Span: time.Hour, Deadline: time.Now().Add(time.Hour)}
	l.do(func() { l.a = Adopt(l.a.life, l.a.cfg, was) })
	l.do(func() { l.a.Resume(process.Proc{ID: was.ID, PID: 8}, false) })
	e.wants(t, "enter #0 true", "ready 8 false")
	l.send(`{"cmd":"MUSTER_OP","op":"last","id":1}`)
	e.wants(t, `{"cmd":"MUSTER_OP","op":"last","id":1}`)
	l.do(l.a.Close)
	e.wants(t, "ready 8 false", "gone")
}
