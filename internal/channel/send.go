package channel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// retryAfter is how long the queue rests when the kernel is short of memory or has
// too many descriptors under way: nothing tells when that is over.
const retryAfter = 5 * time.Millisecond

// outgoing is the sending side.
type outgoing struct {
	mu    sync.Mutex
	err   error         // why nothing can be sent any more
	queue []parcel      // not empty: a goroutine sends it
	bytes int           // in queue
	fds   int           // in queue
	idle  chan struct{} // closed when the queue is empty; nil: it is
}

// parcel is what is left of a frame.
type parcel struct {
	data, end []byte // end: the line end, unless data has it
	fds       []int
	begun     bool // the first byte, and so the descriptors, have left
	torn      bool // the mark is set for it
}

func (p *parcel) size() int { return len(p.data) + len(p.end) }

// Send sends a frame, or lets it wait in line; it never blocks. data must not be
// empty and have no line end; it is not kept, and neither are fds: the caller may
// change and close them at once. Errors: ErrInvalid, ErrFull, ErrGone, ErrClosed,
// or one of the system about fds; nothing of the frame is sent then.
func (c *Conn) Send(data []byte, fds ...int) error {
	if len(data) == 0 || bytes.IndexByte(data, '\n') >= 0 || len(fds) > FDsMax {
		return ErrInvalid
	}
	p := parcel{data: data, end: []byte{'\n'}, fds: fds}
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.err != nil:
		return o.err
	case o.bytes+p.size() > c.o.QueueMax:
		return ErrFull
	case len(o.queue) > 0:
		return o.add(p)
	}
	return c.sendNow(p)
}

// sendNow tries the socket first and lets wait what does not fit. c.out.mu is held
// and the queue empty.
func (c *Conn) sendNow(p parcel) error {
	if c.o.Driven {
		sent, err := c.write(c.driven.fd, &p)
		return c.sendRest(sent, err, &p)
	}
	var sent bool
	var failed error
	q := &p
	if err := c.raw.Control(func(fd uintptr) { sent, failed = c.write(int(fd), q) }); err != nil {
		return c.out.end(c.explain("sendmsg", err))
	}
	return c.sendRest(sent, failed, q)
}

// sendRest lets wait what could not be sent at once. c.out.mu is held and the
// queue empty.
func (c *Conn) sendRest(sent bool, failed error, p *parcel) error {
	if sent {
		return nil
	}
	if !wait(failed) {
		err := c.explain("sendmsg", failed)
		if p.begun || errors.Is(err, ErrGone) {
			return c.out.end(err)
		}
		return err // of this frame's descriptors
	}
	if err := c.out.add(*p); err != nil {
		return err
	}
	c.out.idle = make(chan struct{})
	c.done.Add(1)
	go c.drain()
	return nil
}

// add lets a frame, or what is left of it, wait in line. o.mu is held.
func (o *outgoing) add(p parcel) error {
	if p.begun {
		p.fds = nil
	}
	if o.fds+len(p.fds) > fdQueueMax {
		return ErrFull
	}
	fds, err := duplicate(p.fds)
	if err != nil {
		return err
	}
	p.fds = fds
	p.data, p.end = append(append(make([]byte, 0, p.size()), p.data...), p.end...), nil
	o.queue = append(o.queue, p)
	o.bytes += p.size()
	o.fds += len(fds)
	return nil
}

// duplicate makes close-on-exec copies, all or none.
func duplicate(fds []int) ([]int, error) {
	var copies []int
	for _, fd := range fds {
		n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			closeAll(copies)
			return nil, fmt.Errorf("cannot send descriptor %d: %w", fd, os.NewSyscallError("fcntl", err))
		}
		copies = append(copies, n)
	}
	return copies, nil
}

// drain sends what waits. It ends with the queue, the other side, or Close.
func (c *Conn) drain() {
	defer c.done.Done()
	raw, release := c.raw, func() {}
	if c.o.Driven {
		if raw, release = c.watchRoom(); raw == nil {
			return // Close ends what waits
		}
	}
	defer release()
	for rest := true; rest; {
		err := raw.Write(func(fd uintptr) (done bool) {
			done, rest = c.drainSome(int(fd))
			return done
		})
		if err != nil {
			c.out.mu.Lock()
			defer c.out.mu.Unlock()
			_ = c.out.end(c.explain("sendmsg", err))
			return
		}
		rest = rest && c.pause()
	}
}

// drainSome sends until the socket is full (done is false), the kernel needs a rest,
// or nothing waits.
func (c *Conn) drainSome(fd int) (done, rest bool) {
	o := &c.out
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.queue) > 0 {
		p := &o.queue[0]
		before := p.size()
		sent, err := c.write(fd, p)
		o.bytes -= before - p.size()
		switch {
		case sent:
			o.pop()
		case errors.Is(err, unix.EAGAIN):
			return false, false
		case wait(err):
			return true, true
		default:
			_ = o.end(c.explain("sendmsg", err))
		}
	}
	o.finish()
	return true, false
}

// pause lets the kernel rest; it returns false when the Conn is closed.
func (c *Conn) pause() bool {
	t := time.NewTimer(retryAfter)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.closing:
		return false
	}
}
