package event

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func status(i int) Event {
	return Event{App: "web", Slot: 0, Data: WorkerStatus{Text: fmt.Sprint(i)}}
}

// publish sends n events and returns the Hub.
func published(n int) *Hub {
	h := new(Hub)
	for i := range n {
		h.Publish(status(i))
	}
	return h
}

// take receives n events and checks that their numbers follow first.
func take(t *testing.T, s *Subscription, first uint64, n int) {
	t.Helper()
	for i := range uint64(n) {
		select {
		case e, ok := <-s.C:
			if !ok || e.Seq != first+i {
				t.Fatalf("event %d, open %v; want %d", e.Seq, ok, first+i)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("event %d does not come", first+i)
		}
	}
}

func empty(t *testing.T, s *Subscription) {
	t.Helper()
	select {
	case e, ok := <-s.C:
		t.Fatalf("event %d, open %v; want none", e.Seq, ok)
	default:
	}
}

func TestPublishFillsIn(t *testing.T) {
	h := new(Hub)
	s := h.Subscribe(Now, 2)
	then := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	h.Publish(Event{Data: AgentStarted{PID: 1}})
	h.Publish(Event{Data: Applied{}, Time: then, Type: "wrong"})
	if e := <-s.C; e.Seq != 1 || e.Type != "agent.started" || time.Since(e.Time) > time.Minute {
		t.Errorf("%+v", e)
	}
	if e := <-s.C; e.Seq != 2 || e.Type != "applied" || !e.Time.Equal(then) {
		t.Errorf("%+v", e)
	}
}

func TestReplay(t *testing.T) {
	h := published(10)
	for _, c := range []struct{ after, first uint64 }{{0, 1}, {3, 4}, {9, 10}, {10, 11}, {99, 11}, {Now, 11}} {
		s := h.Subscribe(c.after, 1)
		take(t, s, c.first, int(11-c.first))
		empty(t, s)
		s.Close()
	}
	s := h.Subscribe(8, 1)
	h.Publish(status(10))
	take(t, s, 9, 3) // replay and what is new follow each other without a gap
}

// TestReplayAfterALongAbsence: the oldest are gone, and the reader sees it by the
// first number it gets.
func TestReplayAfterALongAbsence(t *testing.T) {
	const n = 3*kept + 17
	h := published(n)
	past := h.Past()
	if len(past) > kept || len(past) < kept/2 || past[len(past)-1].Seq != n {
		t.Fatalf("%d kept, the last %d", len(past), past[len(past)-1].Seq)
	}
	for i, e := range past {
		if e.Seq != past[0].Seq+uint64(i) {
			t.Fatal("a gap at", e.Seq)
		}
	}
	s := h.Subscribe(5, 1)
	take(t, s, past[0].Seq, len(past))
	empty(t, s)
}

// TestPastIsACopy: a reader may keep and change it.
func TestPastIsACopy(t *testing.T) {
	h := published(3)
	h.Past()[0].Seq = 77
	if got := h.Past()[0].Seq; got != 1 {
		t.Error(got)
	}
}

func TestSlowReaderIsCutOff(t *testing.T) {
	h := new(Hub)
	slow, quick := h.Subscribe(Now, 3), h.Subscribe(Now, 10)
	for i := range 3 {
		h.Publish(status(i))
	}
	if err := slow.Err(); err != nil {
		t.Fatal("a full buffer is not yet too slow:", err)
	}
	h.Publish(status(3))
	if err := slow.Err(); !errors.Is(err, ErrSlow) {
		t.Fatal(err)
	}
	take(t, slow, 1, 3) // what was buffered is still there, in order
	if e, ok := <-slow.C; ok {
		t.Fatal(e)
	}
	take(t, quick, 1, 4)
	again := h.Subscribe(3, 1) // and it can come back where it was
	take(t, again, 4, 1)
	slow.Close()
	if err := slow.Err(); !errors.Is(err, ErrSlow) {
		t.Error("Close hides why:", err)
	}
}

// TestReplayDoesNotUseTheBuffer: who comes back with much to catch up is not cut
// off by the first new event.
func TestReplayDoesNotUseTheBuffer(t *testing.T) {
	h := published(100)
	s := h.Subscribe(0, 1)
	h.Publish(status(100))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	take(t, s, 1, 101)
}

func TestCloseOfASubscription(t *testing.T) {
	h := new(Hub)
	s := h.Subscribe(Now, 0)
	s.Close()
	s.Close()
	h.Publish(status(0))
	if _, ok := <-s.C; ok || !errors.Is(s.Err(), ErrClosed) {
		t.Error(ok, s.Err())
	}
}

func TestCloseOfTheHub(t *testing.T) {
	h := published(2)
	s := h.Subscribe(0, 1)
	h.Close()
	h.Close()
	h.Publish(status(9))
	take(t, s, 1, 2)
	if _, ok := <-s.C; ok || !errors.Is(s.Err(), ErrClosed) {
		t.Error(ok, s.Err())
	}
	late := h.Subscribe(1, 1)
	take(t, late, 2, 1) // the past stays readable
	if _, ok := <-late.C; ok || !errors.Is(late.Err(), ErrClosed) {
		t.Error(ok, late.Err())
	}
	late.Close()
	if len(h.Past()) != 2 {
		t.Error(len(h.Past()))
	}
}

// TestStress: publishers, readers quick and slow, and comers and goers; every
// reader sees growing numbers without gaps.
func TestStress(t *testing.T) {
	const publishers, each = 8, 2000
	var h Hub
	var readers, writers sync.WaitGroup
	var cut atomic.Int64
	follow := func(s *Subscription, last uint64) uint64 {
		first := true
		for e := range s.C {
			// Only the first may be far ahead, when the past was forgotten.
			if e.Seq != last+1 && (!first || e.Seq <= last) {
				t.Errorf("%d after %d", e.Seq, last)
			}
			last, first = e.Seq, false
		}
		return last
	}
	for i := range 10 {
		readers.Go(func() {
			last := uint64(0)
			for {
				s := h.Subscribe(last, 1+i*50)
				last = follow(s, last)
				if !errors.Is(s.Err(), ErrSlow) {
					break
				}
				cut.Add(1)
			}
			if last != publishers*each {
				t.Errorf("the last seen is %d", last)
			}
		})
	}
	stop := make(chan struct{})
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			s := h.Subscribe(Now, 1)
			go s.Close()
			for range s.C {
			}
			h.Past()
		}
	})
	for range publishers {
		writers.Go(func() {
			for i := range each {
				h.Publish(status(i))
			}
		})
	}
	writers.Wait()
	close(stop)
	h.Close()
	readers.Wait()
	t.Log(cut.Load(), "times cut off")
}

// TestPublishNeverWaits: nobody reads, many subscribe.
func TestPublishNeverWaits(t *testing.T) {
	var h Hub
	for i := range 100 {
		h.Subscribe(Now, i)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 10_000 {
			h.Publish(status(i))
		}
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("the publisher waits")
	}
}

func BenchmarkPublish(b *testing.B) {
	var h Hub
	for b.Loop() {
		h.Publish(Event{Data: WorkerStatus{}})
	}
}

// TestMessagesDoNotPushOutEvents: programs may say much, and what happened to them
// is still there.
func TestMessagesDoNotPushOutEvents(t *testing.T) {
	for _, size := range []int{2, 60 << 10} {
		h := published(100)
		text := make([]byte, size)
		for i := range 3 * kept {
			h.Publish(Event{App: "web", Data: WorkerMessage{Message: text, Size: i}})
			if h.said > messagesKept || h.bytes > messageBytesKept {
				t.Fatalf("%d messages, %d bytes", h.said, h.bytes)
			}
		}
		past := h.Past()
		for i := range 100 {
			if _, ok := past[i].Data.(WorkerStatus); !ok {
				t.Fatalf("event %d of the past is %+v", i, past[i])
			}
		}
		said, bytes := 0, 0
		for i, e := range past[100:] {
			if m := e.Data.(WorkerMessage); m.Size != 3*kept-len(past[100:])+i {
				t.Fatalf("message %d of the past is message %d", i, m.Size)
			}
			said, bytes = said+1, bytes+size
		}
		if said != h.said || bytes != h.bytes || said < 16 {
			t.Errorf("%d messages (%d bytes) are kept, counted %d (%d)", said, bytes, h.said, h.bytes)
		}
	}
}
