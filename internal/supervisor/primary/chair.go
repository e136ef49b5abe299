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

	// mu is held while the Door hands out the seat: it may deal, and an answer may
	// come, before Join has returned. That takes no longer than the Door's own lock.
	mu   sync.Mutex
	seat *handoff.Seat
}

// sit takes a seat of a slot at a Door.
func sit(door *handoff.Door, slot int, c *chair) *chair {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answered = c.answer
	c.seat = door.Join(slot, c)
	return c
}

// Give implements handoff.Receiver.
func (c *chair) Give(id int64, conn int) error {
	return c.link.NewConn(c.key, id, conn, c.answered)
}

// Ping implements handoff.Receiver.
func (c *chair) Ping() error {
	return c.link.Ping(func() { c.at().Alive() })
}

func (c *chair) answer(id int64, taken bool) {
	if taken {
		c.dealt.Add(1)
	}
	c.at().Answer(id, taken)
}

// at is the seat.
func (c *chair) at() *handoff.Seat {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.seat
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
