package primary

import (
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/nodejs"
)

// chair is a member's end of a Seat: it brings connections to the worker's server and
// answers back. It is a handoff.Receiver. Safe for concurrent use.
type chair struct {
	link     *nodejs.Link
	key      string
	dealt    *atomic.Uint64
	answered nodejs.Answered // answer, made once

	mu   sync.Mutex
	seat *handoff.Seat
	// early is what was to be done at the seat before Join had returned it.
	early []func(*handoff.Seat)
}

// Give implements handoff.Receiver.
func (c *chair) Give(id int64, conn int) error {
	return c.link.NewConn(c.key, id, conn, c.answered)
}

// Ping implements handoff.Receiver.
func (c *chair) Ping() error {
	return c.link.Ping(func() { c.at((*handoff.Seat).Alive) })
}

func (c *chair) answer(id int64, taken bool) {
	if taken {
		c.dealt.Add(1)
	}
	c.mu.Lock()
	seat := c.seat
	c.mu.Unlock()
	if seat != nil { // without a closure, as this is hot
		seat.Answer(id, taken)
		return
	}
	c.at(func(s *handoff.Seat) { s.Answer(id, taken) })
}

func (c *chair) leave()        { c.at((*handoff.Seat).Leave) }
func (c *chair) gone()         { c.at((*handoff.Seat).Gone) }
func (c *chair) load(open int) { c.at(func(s *handoff.Seat) { s.Load(open) }) }

// at does something at the seat, now or as soon as there is one.
func (c *chair) at(do func(*handoff.Seat)) {
	c.mu.Lock()
	seat := c.seat
	if seat == nil {
		c.early = append(c.early, do)
	}
	c.mu.Unlock()
	if seat != nil {
		do(seat)
	}
}

// take sets the seat.
func (c *chair) take(seat *handoff.Seat) {
	c.mu.Lock()
	c.seat = seat
	early := c.early
	c.early = nil
	c.mu.Unlock()
	for _, do := range early {
		do(seat)
	}
}

// closeAll closes descriptors.
func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// control runs do on the descriptor of a file without changing its mode.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = do(int(fd)) }); err != nil {
		return err
	}
	return inner
}
