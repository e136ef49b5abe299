package channel

import (
	"context"
	"errors"
	"time"
)

// Next is the next frame of a driven Conn, if one is there; it never blocks. ok is
// false when the caller should come again once the descriptor has been found
// readable, or Again has passed. Frame.Data is valid until the next call only. One
// caller at a time.
func (c *Conn) Next() (f Frame, ok bool, err error) {
	f, err = c.Receive(context.Background())
	return f, err == nil, err
}

// Pass says that the frame that Next gave last may be received by a successor,
// too: it may leave the socket later, together with others.
func (c *Conn) Pass() {}

// Again is how long after a call of Next that found nothing it should be called
// again although nothing has come: a line is not whole. 0: there is no need to.
func (c *Conn) Again() time.Duration { return 0 }

// Attach calls watch with the descriptor, for it to be waited for (edges will do).
// release is called before it is closed.
func (c *Conn) Attach(watch func(fd int) error, release func(fd int)) error {
	return errors.ErrUnsupported
}
