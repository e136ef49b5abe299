package channel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// pieceAfter is how long a line may stay unfinished in the socket. Then it is taken
// out in pieces, for the sender may wait for room: Linux counts buffers, so a few
// hundred bytes sent one by one fill a socket.
const pieceAfter = 100 * time.Millisecond

// piecemeal is a line that is taken out in pieces.
type piecemeal struct {
	rights
	line  []byte
	whole bool
}

// fromPeek hands out what stays in the socket until it is called again.
func (c *Conn) fromPeek(ctx context.Context) (Frame, error) {
	for {
		if err := c.release(); err != nil {
			return Frame{}, err
		}
		f, ok, err := c.peekFrame(ctx)
		if err != nil {
			return Frame{}, err
		}
		if ok && len(f.Data) > 0 {
			return f, nil
		}
		if ok {
			c.skip(f.FDs)
		}
	}
}

// peekFrame makes one step to the next frame.
func (c *Conn) peekFrame(ctx context.Context) (f Frame, ok bool, err error) {
	in := &c.in
	if in.pieces != nil {
		return c.collect(ctx)
	}
	line, ok, err := in.line(c.o.FrameMax)
	if ok {
		return c.hand(line)
	}
	if err != nil {
		return Frame{}, false, err
	}
	var limit time.Duration
	seen := len(in.buf) - in.start
	if seen > 0 {
		limit = pieceAfter
	}
	err = c.await(ctx, limit, func(fd int) (bool, error) { return in.peekBeyond(fd, seen) })
	if errors.Is(err, errSlow) || err == nil && in.beyondSight() {
		in.pieces = &piecemeal{}
		c.mark.set(true)
		err = nil
	}
	return Frame{}, false, err
}

// beyondSight says that looking again will not show the end of the line in buf: it
// is too long, or descriptors end every look before it does.
func (in *incoming) beyondSight() bool {
	if bytes.IndexByte(in.buf, '\n') >= 0 {
		return false
	}
	return len(in.buf) >= readMax || in.flagged && len(in.buf) < cap(in.buf)
}

// peekBeyond sees what is in the socket. It is done when that is more than was
// seen before, or will never be.
func (in *incoming) peekBeyond(fd, seen int) (done bool, err error) {
	ended := seen > 0 && hungUp(fd) // asked first: what came before that is then seen
	if err := in.peek(fd); err != nil {
		return !errors.Is(err, unix.EAGAIN), err
	}
	switch {
	case len(in.buf) > seen:
		return true, nil
	case len(in.buf) == 0, ended:
		return true, io.EOF
	}
	return false, nil
}

// peek makes buf what is in the socket, up to readMax. Without room for
// descriptors none are received, but their presence is flagged.
func (in *incoming) peek(fd int) error {
	if in.start == 0 && len(in.buf) == cap(in.buf) && cap(in.buf) < readMax {
		in.buf = make([]byte, 0, max(readMin, 2*cap(in.buf)))
	}
	in.start, in.scanned = 0, 0
	n, flagged, err := peek(fd, in.buf[:cap(in.buf)])
	in.buf, in.flagged = in.buf[:n], flagged
	return err
}

func peek(fd int, p []byte) (n int, flagged bool, err error) {
	for {
		n, _, flags, err := rawRecvmsg(fd, p, nil, unix.MSG_PEEK)
		if !errors.Is(err, unix.EINTR) {
			return n, flags&unix.MSG_CTRUNC != 0, err
		}
	}
}

// hungUp says that the other side will send no more.
func hungUp(fd int) bool {
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n > 0
}

// hand gives a line to the receiver. It stays in the socket, unless it may have
// descriptors: a look ends behind the first buffer that has some, and a sender puts
// the first byte of a frame, and no other frame, into it. So they belong to the
// last line in sight.
func (c *Conn) hand(line []byte) (f Frame, ok bool, err error) {
	in := &c.in
	f.Data = bytes.Clone(line)
	in.held = len(line) + 1
	if in.flagged && in.start+in.held == len(in.buf) {
		err = c.release()
	}
	f.FDs, f.Truncated = in.take()
	return f, err == nil, err
}

// release takes the line handed out last from the socket. A sender that puts more
// than one frame into one sendmsg has its descriptors go to the next frame.
func (c *Conn) release() error {
	in := &c.in
	if in.held == 0 {
		return nil
	}
	return c.socket(func(fd int) error {
		got, err := in.consume(fd, in.held)
		in.held = 0
		if len(got.fds) > 0 || got.truncated {
			got.at = in.pos - 1
			in.rights = append(in.rights, got)
		}
		return err
	})
}

// consume takes the first n bytes of buf from the socket.
func (in *incoming) consume(fd, n int) (got rights, err error) {
	for n > 0 {
		m, more, err := in.recvmsg(fd, in.buf[in.start:in.start+n])
		if err != nil {
			return got, err
		}
		if m == 0 {
			return got, io.EOF
		}
		got.add(more.fds, more.truncated)
		in.advance(m)
		n -= m
	}
	return got, nil
}

// collect takes the next piece of a line from the socket.
func (c *Conn) collect(ctx context.Context) (f Frame, ok bool, err error) {
	in, p := &c.in, c.in.pieces
	if err := c.await(ctx, 0, func(fd int) (bool, error) { return in.piece(fd, p) }); err != nil {
		return Frame{}, false, err
	}
	if len(p.line) > c.o.FrameMax {
		return Frame{}, false, ErrFrameTooLong
	}
	if !p.whole {
		return Frame{}, false, nil
	}
	in.pieces = nil
	c.mark.set(false)
	return Frame{Data: p.line, FDs: p.fds, Truncated: p.truncated}, true, nil
}

// piece takes what is there of p, and nothing behind it.
func (in *incoming) piece(fd int, p *piecemeal) (done bool, err error) {
	if err := in.peek(fd); err != nil {
		return !errors.Is(err, unix.EAGAIN), err
	}
	if len(in.buf) == 0 {
		return true, io.EOF
	}
	part := in.buf
	if i := bytes.IndexByte(part, '\n'); i >= 0 {
		part, p.whole = part[:i], true
	}
	p.line = append(p.line, part...)
	n := len(part)
	if p.whole {
		n++
	}
	got, err := in.consume(fd, n)
	p.add(got.fds, got.truncated)
	return true, err
}

// socket runs system calls that do not wait.
func (c *Conn) socket(do func(fd int) error) error {
	var failed error
	if err := c.raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return c.explain("recvmsg", err)
	}
	if failed != nil && !errors.Is(failed, io.EOF) {
		return c.explain("recvmsg", failed)
	}
	return failed
}
