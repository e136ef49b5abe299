package channel

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A read begins with readMin bytes of memory and takes up to readMax at a time.
const (
	readMin = 4 << 10
	readMax = 64 << 10
)

// incoming is the receiving side.
type incoming struct {
	mu  sync.Mutex
	err error // why nothing can be received any more
	oob []byte

	// buf[start:] is received (with Peek: seen) and not handed out; its first
	// scanned bytes hold no line end. pos is the place of buf[start] in the stream.
	buf     []byte
	start   int
	scanned int
	pos     int64
	rights  []rights // received and not handed out

	// With Peek: buf[start:start+held] is handed out and still in the socket;
	// flagged says that there are descriptors with what is in buf; pieces is the
	// line that is being taken out in pieces, nil if none is.
	held    int
	flagged bool
	pieces  *piecemeal
	glance  glance
}

// rights are descriptors with the place of the line that they belong to.
type rights struct {
	at        int64
	fds       []int
	truncated bool
}

// add takes more descriptors, up to what one frame may have.
func (r *rights) add(fds []int, truncated bool) {
	room := min(FDsMax-len(r.fds), len(fds))
	closeAll(fds[room:])
	r.fds = append(r.fds, fds[:room]...)
	r.truncated = r.truncated || truncated || room < len(fds)
}

// Receive waits for the next frame. It returns io.EOF when the other side has
// ended and all is received (a last line without its end is dropped),
// ErrFrameTooLong, ErrClosed, an error of the system, or the context's error: only
// after that one may it be called again. With Peek, calling it says that the frame
// before is dealt with.
func (c *Conn) Receive(ctx context.Context) (Frame, error) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return Frame{}, in.err
	}
	next := c.fromStream
	if c.o.Peek {
		next = c.fromPeek
	}
	f, err := next(ctx)
	if err != nil && (ctx.Err() == nil || !errors.Is(err, ctx.Err())) {
		_ = c.end(err)
	}
	return f, err
}

// end is the end of receiving; it returns err. in.mu is held.
func (c *Conn) end(err error) error {
	if c.in.pieces != nil && errors.Is(err, io.EOF) {
		c.mark.set(false) // nobody will receive the rest of that line
	}
	c.in.end(err)
	return err
}

// end closes what nobody will receive. in.mu is held.
func (in *incoming) end(err error) {
	if in.err == nil {
		in.err = err
	}
	for _, r := range in.rights {
		closeAll(r.fds)
	}
	if in.pieces != nil {
		closeAll(in.pieces.fds)
	}
	in.rights, in.pieces, in.buf, in.start, in.scanned = nil, nil, nil, 0, 0
}

// fromStream reads ahead.
func (c *Conn) fromStream(ctx context.Context) (Frame, error) {
	in := &c.in
	for {
		line, ok, err := in.line(c.o.FrameMax)
		if err != nil {
			return Frame{}, err
		}
		if !ok {
			if err := c.await(ctx, 0, in.read); err != nil {
				return Frame{}, err
			}
			continue
		}
		f := Frame{Data: bytes.Clone(line)}
		in.advance(len(line) + 1)
		f.FDs, f.Truncated = in.take()
		if len(f.Data) > 0 {
			return f, nil
		}
		c.skip(f.FDs)
	}
}

// skip passes over an empty line.
func (c *Conn) skip(fds []int) {
	c.skipped.Add(1)
	closeAll(fds)
}

// line is the first line in buf, without its end. It fails when that is longer
// than max, also while its end is not in sight.
func (in *incoming) line(max int) (line []byte, ok bool, err error) {
	b := in.buf[in.start:]
	i := bytes.IndexByte(b[in.scanned:], '\n')
	if i >= 0 {
		line = b[:in.scanned+i]
	} else {
		in.scanned = len(b)
	}
	if len(line) > max || in.scanned > max {
		return nil, false, ErrFrameTooLong
	}
	return line, i >= 0, nil
}

// advance drops the first n bytes of buf.
func (in *incoming) advance(n int) {
	in.start += n
	in.scanned = 0
	in.pos += int64(n)
	if in.start < len(in.buf) {
		return
	}
	in.buf, in.start = in.buf[:0], 0
	if cap(in.buf) > readMax {
		in.buf = nil // it was one long line
	}
}

// take is what came with the lines before pos, that is with the last one.
func (in *incoming) take() (fds []int, truncated bool) {
	var r rights
	for len(in.rights) > 0 && in.rights[0].at < in.pos {
		r.add(in.rights[0].fds, in.rights[0].truncated)
		in.rights = slices.Delete(in.rights, 0, 1)
	}
	return r.fds, r.truncated
}

// read receives once. Linux ends a recvmsg behind the first buffer that carries
// descriptors, and a sender puts the first byte of a frame into it: they belong to
// the last line that begins in what was read.
func (in *incoming) read(fd int) (done bool, err error) {
	in.room()
	n, got, err := in.recvmsg(fd, in.buf[len(in.buf):cap(in.buf)])
	if err != nil {
		return !errors.Is(err, unix.EAGAIN), err
	}
	if n == 0 {
		closeAll(got.fds)
		return true, io.EOF
	}
	in.buf = in.buf[:len(in.buf)+n]
	if len(got.fds) > 0 || got.truncated {
		in.put(got)
	}
	return true, nil
}

// put notes descriptors for the last line that begins in buf.
func (in *incoming) put(got rights) {
	begun := bytes.TrimSuffix(in.buf[in.start:], []byte{'\n'})
	got.at = in.pos + int64(bytes.LastIndexByte(begun, '\n')+1)
	if last := len(in.rights) - 1; last >= 0 && in.rights[last].at == got.at {
		in.rights[last].add(got.fds, got.truncated)
		return
	}
	in.rights = append(in.rights, got)
}

// room makes buf able to take more: twice as much whenever it is full.
func (in *incoming) room() {
	if in.start > 0 {
		in.buf = in.buf[:copy(in.buf, in.buf[in.start:])]
		in.start = 0
	}
	if free := cap(in.buf) - len(in.buf); free < readMin/2 || free < len(in.buf) && free < readMax {
		in.buf = slices.Grow(in.buf, max(readMin, min(len(in.buf), readMax)))
	}
}

// recvmsg takes bytes and what comes with them.
func (in *incoming) recvmsg(fd int, p []byte) (n int, got rights, err error) {
	for {
		n, oobn, flags, err := rawRecvmsg(fd, p, in.oob, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, rights{}, err
		}
		return n, rights{fds: descriptors(in.oob[:oobn]), truncated: flags&unix.MSG_CTRUNC != 0}, nil
	}
}

// descriptors reads the control messages as far as they are well formed: the head
// of a truncated list counts too, or it would leak.
func descriptors(oob []byte) (fds []int) {
	for len(oob) >= unix.CmsgLen(0) {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return fds
		}
		oob = rest
		if header.Level != unix.SOL_SOCKET || header.Type != unix.SCM_RIGHTS {
			continue
		}
		for ; len(data) >= 4; data = data[4:] {
			fds = append(fds, int(int32(binary.NativeEndian.Uint32(data))))
		}
	}
	return fds
}

// errSlow says that await's limit has passed.
var errSlow = errors.New("nothing came")

// await runs try when it may find something, until it is done. With a limit it
// returns errSlow after that time.
func (c *Conn) await(ctx context.Context, limit time.Duration, try func(fd int) (done bool, err error)) error {
	release := c.until(ctx, limit)
	defer release()
	var failed error
	err := c.raw.Read(func(fd uintptr) (done bool) {
		done, failed = try(int(fd))
		return done
	})
	switch {
	case err == nil:
		err = failed
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlow
	}
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	if err = c.explain("recvmsg", err); errors.Is(err, ErrGone) {
		return io.EOF // reset: the other side left something unread
	}
	return err
}

// until makes reads fail once the context ends or the limit has passed, until
// release is called.
func (c *Conn) until(ctx context.Context, limit time.Duration) (release func()) {
	if limit > 0 {
		_ = c.file.SetReadDeadline(time.Now().Add(limit)) // a failure shows in the read
	}
	if limit == 0 && ctx.Done() == nil {
		return func() {}
	}
	ran := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ran)
		_ = c.file.SetReadDeadline(time.Unix(1, 0))
	})
	return func() {
		stopped := stop()
		if !stopped {
			<-ran
		}
		if !stopped || limit > 0 {
			_ = c.file.SetReadDeadline(time.Time{})
		}
	}
}
