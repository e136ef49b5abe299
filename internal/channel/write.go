package channel

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// write sends as much of p as the socket takes, and keeps the mark.
func (c *Conn) write(fd int, p *parcel) (sent bool, err error) {
	for p.size() > 0 {
		if p.size() > AtomicMax {
			c.tear(p)
		}
		n, err := sendmsg(fd, p)
		if n > 0 {
			p.advance(n)
			continue
		}
		if p.begun {
			c.tear(p)
		} else {
			c.mend(p) // nothing of it has left
		}
		return false, err
	}
	c.mend(p)
	return true, nil
}

func (c *Conn) tear(p *parcel) {
	if !p.torn {
		p.torn = true
		c.mark.set(true)
	}
}

func (c *Conn) mend(p *parcel) {
	if p.torn {
		p.torn = false
		c.mark.set(false)
	}
}

// advance drops n bytes that have left, and with the first the descriptors.
func (p *parcel) advance(n int) {
	p.begun = true
	head := min(n, len(p.data))
	p.data, p.end = p.data[head:], p.end[n-head:]
}

// sendmsg sends the next bytes, and the descriptors on the first of a frame. n is
// positive or there is an error.
func sendmsg(fd int, p *parcel) (n int, err error) {
	for {
		if !p.begun && len(p.fds) > 0 || p.size() > rawMax {
			n, err = sendWithFDs(fd, p)
		} else {
			n, err = rawSendmsg(fd, p.data, p.end)
		}
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// sendWithFDs is one sendmsg of what is large, or has descriptors.
func sendWithFDs(fd int, p *parcel) (n int, err error) {
	var oob []byte
	if !p.begun && len(p.fds) > 0 {
		oob = unix.UnixRights(p.fds...)
	}
	bufs := make([][]byte, 0, 2)
	for _, b := range [...][]byte{p.data, p.end} {
		if len(b) > 0 {
			bufs = append(bufs, b)
		}
	}
	return unix.SendmsgBuffers(fd, bufs, oob, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
}

// wait says that a frame can be sent later.
func wait(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOBUFS) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.ETOOMANYREFS)
}

// explain names an error of the socket.
func (c *Conn) explain(call string, err error) error {
	select {
	case <-c.closing:
		return ErrClosed
	default:
	}
	switch {
	case errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.ENOTCONN):
		return ErrGone
	}
	return os.NewSyscallError(call, err)
}

// pop forgets the first parcel, which has left.
func (o *outgoing) pop() {
	o.fds -= len(o.queue[0].fds)
	closeAll(o.queue[0].fds)
	o.queue[0] = parcel{}
	o.queue = o.queue[1:]
}

// end drops what waits; err says why nothing can be sent any more. o.mu is held.
func (o *outgoing) end(err error) error {
	if o.err == nil {
		o.err = err
	}
	for len(o.queue) > 0 {
		o.bytes -= o.queue[0].size()
		o.pop()
	}
	o.finish()
	return o.err
}

// finish tells Flush that nothing waits. o.mu is held.
func (o *outgoing) finish() {
	o.queue = nil
	if o.idle != nil {
		close(o.idle)
		o.idle = nil
	}
}

// Flush waits until nothing waits to be sent: the socket has it all (the other
// side need not have read it). It returns why nothing can be sent any more, if so,
// or the context's error.
func (c *Conn) Flush(ctx context.Context) error {
	c.out.mu.Lock()
	idle, err := c.out.idle, c.out.err
	c.out.mu.Unlock()
	if idle == nil {
		return err
	}
	select {
	case <-idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.err
}
