package handoff

import (
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// A worker that refuses connections is asked again after a while that doubles each
// time; the more workers there are the less often.
const (
	retryFirst = 5 * time.Millisecond
	retryShare = 25 * time.Millisecond // the most, for each seat
	retryLeast = 100 * time.Millisecond
	retryMost  = time.Second
)

// Receiver is what a worker's channel does for a Seat. Both are called on the
// loop's thread and must not block.
type Receiver interface {
	// Give offers a connection, to be answered by Seat.Answer with that id. conn
	// stays the Door's to close; it is non-blocking. An error says that nothing was
	// sent.
	Give(id int64, conn int) error
	// Ping asks for a sign of life, to be answered by Seat.Alive.
	Ping() error
}

// Seat is a worker's place at a Door. Safe for concurrent use.
type Seat struct {
	door *Door
	slot int
	to   Receiver // nil: nothing can be dealt to it

	// Guarded by Loop.mu.
	under   []flight
	queued  bool // in Door.free
	left    bool
	retry   *timer // not nil: it refuses, until then
	pause   time.Duration
	open    int // connections it has, as far as is known
	counted bool
	alive   time.Time // the last sign of life
	pinged  bool      // it owes an answer to a ping
	turns   int       // connections offered, see even.go
	offered time.Time // the oldest one under way
	excused time.Time // until then nobody waits for it
}

// flight is a connection that was offered.
type flight struct {
	id   int64
	conn int
}

// Answer says what became of an offered connection: taken, or refused (also when
// its descriptor did not arrive). A refused one goes to another worker. Answers to
// an unknown id are counted.
func (s *Seat) Answer(id int64, taken bool) {
	if conn := s.answer(id, taken); conn >= 0 {
		_ = unix.Close(conn)
	}
}

// answer returns the descriptor of a connection that was taken, or -1.
func (s *Seat) answer(id int64, taken bool) (conn int) {
	d := s.door
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	s.sign()
	i := slices.IndexFunc(s.under, func(f flight) bool { return f.id == id })
	if i < 0 {
		d.stats.Unknown++
		return -1
	}
	conn = s.under[i].conn
	s.under = slices.Delete(s.under, i, i+1)
	s.offered = time.Now()
	if !taken {
		d.stats.Refused++
		d.hand = append(d.hand, conn)
		s.refuse()
		d.loop.touch(d)
		return -1
	}
	d.stats.Dealt++
	s.open++
	s.pause = 0
	s.relent()
	s.offer()
	d.loop.touch(d)
	return conn
}

// Load says how many connections the worker has open, for least-connections. A
// worker that refused is asked again.
func (s *Seat) Load(open int) {
	d := s.door
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	s.sign()
	s.open, s.counted = open, true
	s.relent()
	s.offer()
	d.loop.touch(d)
}

// Alive is an answer to Receiver.Ping, or another sign of life.
func (s *Seat) Alive() {
	s.door.loop.mu.Lock()
	defer s.door.loop.mu.Unlock()
	s.sign()
}

// Leave ends the dealing to it. What is under way may still be answered; what is
// refused then goes to others.
func (s *Seat) Leave() {
	s.door.loop.mu.Lock()
	defer s.door.loop.mu.Unlock()
	s.leave()
}

// Gone says that the worker is dead, or its channel has ended: what it has not
// answered goes to others. Answers that come later are unknown.
func (s *Seat) Gone() {
	d := s.door
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	s.leave()
	for _, f := range s.under {
		d.hand = append(d.hand, f.conn)
		d.stats.Again++
	}
	s.under = nil
	delete(d.seats, s)
}

// leave is Leave. l.mu is held.
func (s *Seat) leave() {
	if s.left {
		return
	}
	d := s.door
	s.left = true
	d.loop.stop(s.retry)
	if s.queued {
		s.queued = false
		d.free = slices.DeleteFunc(d.free, func(o *Seat) bool { return o == s })
	}
	if k := d.socket(s.slot); k != nil {
		k.seats = slices.DeleteFunc(k.seats, func(o *Seat) bool { return o == s })
	}
	d.change()
}

// can says that a connection may be offered to it. l.mu is held.
func (s *Seat) can() bool {
	k := s.door.socket(s.slot)
	return !s.left && s.to != nil && s.retry == nil && len(s.under) < s.door.window && (k == nil || !k.stuck && !k.going)
}

// offer puts it into the line of those who can take a connection. l.mu is held.
func (s *Seat) offer() {
	if !s.queued && s.can() {
		s.queued = true
		s.door.free = append(s.door.free, s)
	}
}

// refuse leaves it alone for a while. l.mu is held.
func (s *Seat) refuse() {
	if s.left || s.retry != nil {
		return
	}
	most := min(retryMost, max(retryLeast, retryShare*time.Duration(len(s.door.seats))))
	s.pause = min(most, max(retryFirst, 2*s.pause))
	s.retry = s.door.loop.after(s.pause, s.tryAgain)
}

// relent ends that. l.mu is held.
func (s *Seat) relent() {
	s.door.loop.stop(s.retry)
	s.retry = nil
}

// tryAgain runs on the thread.
func (s *Seat) tryAgain() {
	s.door.loop.mu.Lock()
	defer s.door.loop.mu.Unlock()
	s.retry = nil
	s.offer()
	s.door.loop.touch(s.door)
}

// sign notes that the worker does something. l.mu is held.
func (s *Seat) sign() {
	s.pinged = false
	if k := s.door.socket(s.slot); k != nil {
		s.alive = time.Now()
		k.well()
	}
}
