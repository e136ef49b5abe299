package event

import (
	"errors"
	"sync"
	"time"
)

// kept is how many past events a Hub keeps for subscribers that come back. Of the
// messages of workers it keeps at most messagesKept, and messageBytesKept of their
// content: what programs say must not push out what happens to them.
const (
	kept             = 2048
	messagesKept     = 512
	messageBytesKept = 4 << 20
)

// Errors of a subscription.
var (
	// ErrSlow: the reader fell behind by more than its buffer and was cut off.
	ErrSlow = errors.New("event reader was too slow and has been cut off")
	// ErrClosed: the Hub or the subscription was closed.
	ErrClosed = errors.New("event hub is closed")
)

// Hub spreads events. Safe for concurrent use; the zero value is ready.
type Hub struct {
	mu     sync.Mutex
	seq    uint64
	past   []Event // at most kept, oldest first
	said   int     // messages of workers in past
	bytes  int     // of said
	subs   map[*Subscription]bool
	closed bool
}

// Subscription receives events on C until C is closed; then Err says why.
type Subscription struct {
	C   <-chan Event
	c   chan Event
	hub *Hub
	err error
}

// Publish gives the event its sequence number (and time, where it has none)
// and hands it to every subscriber. It never waits.
func (h *Hub) Publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	h.seq++
	e.Seq = h.seq
	e.Type = e.Data.Kind()
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	h.keep(e)
	for s := range h.subs {
		select {
		case s.c <- e:
		default:
			h.end(s, ErrSlow)
		}
	}
}

// keep adds an event to those of the past. It needs h.mu.
func (h *Hub) keep(e Event) {
	if m, ok := e.Data.(WorkerMessage); ok {
		h.said++
		h.bytes += len(m.Message)
	}
	h.past = append(h.past, e)
	if len(h.past) > kept {
		h.drop(func(i int, _ bool) bool { return i <= kept/4 })
	}
	if h.said > messagesKept || h.bytes > messageBytesKept {
		said, bytes := h.said, h.bytes // half of them go, the oldest first
		h.drop(func(_ int, message bool) bool {
			return message && (h.said > said/2 || h.bytes > bytes/2)
		})
	}
}

// drop removes the events of the past that old picks by their place and by whether
// they are a worker's message, and counts what is left. It needs h.mu.
func (h *Hub) drop(old func(i int, message bool) bool) {
	rest := make([]Event, 0, kept+1)
	for i, e := range h.past {
		m, message := e.Data.(WorkerMessage)
		if !old(i, message) {
			rest = append(rest, e)
			continue
		}
		if message {
			h.said--
			h.bytes -= len(m.Message)
		}
	}
	h.past = rest
}

// Subscribe returns every event with a sequence number above after that is
// still kept, then all new ones. after = Now starts with the next one. buffer
// is how far the reader may fall behind (at least 1).
func (h *Hub) Subscribe(after uint64, buffer int) *Subscription {
	h.mu.Lock()
	defer h.mu.Unlock()
	var replay []Event
	if after != Now {
		for _, e := range h.past {
			if e.Seq > after {
				replay = append(replay, e)
			}
		}
	}
	c := make(chan Event, max(buffer, 1)+len(replay))
	for _, e := range replay {
		c <- e
	}
	s := &Subscription{C: c, c: c, hub: h}
	if h.closed {
		s.err = ErrClosed
		close(c)
		return s
	}
	if h.subs == nil {
		h.subs = map[*Subscription]bool{}
	}
	h.subs[s] = true
	return s
}

// Now as Subscribe's after means: nothing of the past.
const Now = ^uint64(0)

// Past returns the kept events, oldest first.
func (h *Hub) Past() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Event(nil), h.past...)
}

// Close ends every subscription; later events are dropped.
func (h *Hub) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for s := range h.subs {
		h.end(s, ErrClosed)
	}
}

// end needs h.mu.
func (h *Hub) end(s *Subscription, err error) {
	if h.subs[s] {
		delete(h.subs, s)
		s.err = err
		close(s.c)
	}
}

// Close ends the subscription; C is closed. It may be called at any time.
func (s *Subscription) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.hub.end(s, ErrClosed)
}

// Err says why C was closed: ErrSlow or ErrClosed; nil while it is open.
func (s *Subscription) Err() error {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	return s.err
}
