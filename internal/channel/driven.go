package channel

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// passMax is how many bytes of passed frames may stay in the socket, at most, before
// they are taken out together: a system call for each is what they would cost.
const passMax = 1 << 10

// driven is what a Conn has whose descriptor somebody else waits for.
type driven struct {
	// fd is the descriptor, -1 once it is closed. It is used under incoming.mu or
	// outgoing.mu, and closed under both.
	fd      int
	release func(fd int) // of Attach
	room    *os.File     // a copy that the poller watches while frames wait; outgoing.mu
}

// glance is what Next keeps between its calls; incoming.mu.
type glance struct {
	// buf[start:start+passed] is handed out, dealt with and still in the socket.
	passed int
	pass   bool // so is what is held
	// all says that the last look saw all that was there, fresh that Next has not
	// yet come to the end of that, over that nothing more will come.
	all, fresh, over bool
	// since is when the line in buf was found not to be whole; zero: it was not.
	since time.Time
}

// unpolled takes over a descriptor into a file that Go's poller does not watch
// whatever its mode is. When that is not possible (no descriptor is free) the
// poller watches it, which does no harm but costs a wake-up for each frame.
func unpolled(fd int) *os.File {
	place, err := unix.MemfdCreate("channel", unix.MFD_CLOEXEC)
	if err != nil {
		return os.NewFile(uintptr(fd), "channel")
	}
	file := os.NewFile(uintptr(place), "channel") // a blocking file: not polled, for good
	if fd == math.MaxInt32 || unix.Dup3(fd, place, unix.O_CLOEXEC) != nil {
		return file // a memory file, no less bad than a bad descriptor
	}
	_ = unix.Close(fd)
	return file
}

// drive prepares c for Attach and Next.
func (c *Conn) drive() {
	c.driven.fd = -1
	_ = c.raw.Control(func(fd uintptr) { c.driven.fd = int(fd) }) // never fails: the file is open
}

// Attach lends the descriptor of a driven Conn to somebody who waits for it: watch
// is called with it at once, release before it is closed by Close (which waits
// for that). Edges will do: after Next has found nothing, what comes later is a new
// edge. Once per Conn. Errors: ErrClosed, or that of watch.
func (c *Conn) Attach(watch func(fd int) error, release func(fd int)) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.driven.fd < 0 {
		return ErrClosed
	}
	err := watch(c.driven.fd)
	if err == nil {
		c.driven.release = release
	}
	return err
}

// letGo closes the descriptor of a driven Conn.
func (c *Conn) letGo() error {
	c.out.mu.Lock()
	release := c.driven.release
	c.driven.release = nil
	c.out.mu.Unlock()
	if release != nil {
		release(c.driven.fd) // only here is it closed
	}
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.out.mu.Lock()
	c.driven.fd = -1
	room := c.driven.room
	c.out.mu.Unlock()
	if room != nil {
		_ = room.Close() // wakes the goroutine, and waits for what it does with c.out.mu
	}
	return c.file.Close()
}

// watchRoom is a copy of the descriptor that Go's poller watches until release is
// called: only while frames wait for room is that worth its wake-ups. It is nil when
// the Conn is closed, or about to be.
func (c *Conn) watchRoom() (raw syscall.RawConn, release func()) {
	for {
		file, err := c.openRoom()
		if err == nil {
			raw, _ = file.SyscallConn() // fails only for a nil file
			return raw, func() { c.closeRoom(file) }
		}
		if !c.pause() || errors.Is(err, ErrClosed) {
			return nil, func() {}
		}
	}
}

func (c *Conn) openRoom() (*os.File, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.driven.fd < 0 {
		return nil, ErrClosed
	}
	fd, err := unix.FcntlInt(uintptr(c.driven.fd), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	c.driven.room = os.NewFile(uintptr(fd), "channel")
	return c.driven.room, nil
}

func (c *Conn) closeRoom(file *os.File) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.driven.room == file { // a later goroutine may have its own
		c.driven.room = nil
	}
	_ = file.Close()
}

// Next is the next frame of a driven Conn, if there is one; it never blocks. ok is
// false when nothing is to be had until the descriptor is found readable, or Again
// has passed. Frame.Data is valid until the next call only. Errors are those of
// Receive, and final. With Options.Peek a frame leaves the socket when Next is
// called again (see Pass). One caller at a time, others wait for it.
func (c *Conn) Next() (f Frame, ok bool, err error) {
	in := &c.in
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.err != nil {
		return Frame{}, false, in.err
	}
	select {
	case <-c.closing: // whoever drives it is told before the descriptor is closed
		return Frame{}, false, c.end(ErrClosed)
	default:
	}
	next := c.fromRead
	if c.o.Peek {
		next = c.fromGlance
	}
	for {
		f, ok, err = next()
		switch {
		case err != nil:
			return Frame{}, false, c.end(err)
		case !ok:
			in.glance.fresh = false
			return Frame{}, false, nil
		case len(f.Data) > 0:
			return f, true, nil
		}
		c.skip(f.FDs)
	}
}

// Pass says that the frame that Next gave last is dealt with and that a successor
// may receive it all the same: so it may leave the socket later, together with
// others. Call it before Next.
func (c *Conn) Pass() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.glance.pass = c.in.held > 0
}

// HungUp says that the descriptor was found to be closed by the other side
// (EPOLLRDHUP): the calls of Next that follow go on to the end.
func (c *Conn) HungUp() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.glance.over = true
}

// Stirred says that the descriptor was found readable: what Next has seen may not be
// all any more. It is to be called for each edge, also for one at which Next is not
// called.
func (c *Conn) Stirred() {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.glance.fresh = false
}

// Again is how long after a call of Next that found nothing it is to be called
// again though nothing has come, as the line in the socket is not whole; 0: it
// need not be.
func (c *Conn) Again() time.Duration {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if c.in.glance.since.IsZero() || c.in.pieces != nil || c.in.err != nil {
		return 0
	}
	return max(time.Millisecond, pieceAfter-time.Since(c.in.glance.since))
}

// fromRead is the next line that was read ahead.
func (c *Conn) fromRead() (f Frame, ok bool, err error) {
	in := &c.in
	for {
		line, ok, err := in.line(c.o.FrameMax)
		if err != nil {
			return Frame{}, false, err
		}
		if ok {
			f.Data = line
			in.advance(len(line) + 1)
			f.FDs, f.Truncated = in.take()
			return f, true, nil
		}
		if done, err := in.read(c.driven.fd); !done || err != nil {
			return Frame{}, false, c.unlessLater(done, err)
		}
	}
}

// unlessLater names an error of a look that is done; one that is not found nothing.
func (c *Conn) unlessLater(done bool, err error) error {
	if !done || err == nil || errors.Is(err, io.EOF) {
		if !done {
			return nil
		}
		return err
	}
	if err = c.explain("recvmsg", err); errors.Is(err, ErrGone) {
		return io.EOF // reset: the other side left something unread
	}
	return err
}

// fromGlance hands out the next line that lies in the socket.
func (c *Conn) fromGlance() (f Frame, ok bool, err error) {
	in, g := &c.in, &c.in.glance
	if err := c.dealtWith(); err != nil {
		return Frame{}, false, err
	}
	for in.pieces == nil {
		line, ok, err := in.lineAfter(g.passed, c.o.FrameMax)
		if err != nil {
			return Frame{}, false, err
		}
		if ok {
			g.since = time.Time{}
			return c.handNext(line)
		}
		if g.fresh && g.all && !g.over && len(in.buf) == in.start+g.passed {
			return Frame{}, false, nil // the look that saw the last line saw nothing else
		}
		if more, err := c.lookAgain(); !more || err != nil {
			return Frame{}, false, err
		}
	}
	return c.nextPiece()
}

// lookAgain looks into the socket again. more is false when that shows nothing new
// yet.
func (c *Conn) lookAgain() (more bool, err error) {
	in, g := &c.in, &c.in.glance
	if g.passed == 0 || g.passed >= passMax || g.over {
		return c.glanceBeyond()
	}
	if err := c.unlessLater(true, in.peek(c.driven.fd)); err != nil {
		return false, err
	}
	g.all, g.fresh = len(in.buf) < cap(in.buf) && !in.flagged, true
	fresh := in.buf[min(g.passed, len(in.buf)):]
	if bytes.IndexByte(fresh, '\n') >= 0 {
		return true, nil
	}
	if len(fresh) == 0 && !hungUp(c.driven.fd) {
		return false, nil
	}
	return c.glanceBeyond()
}

// dealtWith takes note that the frame handed out last is.
func (c *Conn) dealtWith() error {
	in := &c.in
	if in.glance.pass {
		in.glance.passed += in.held
		in.held, in.glance.pass = 0, false
		return nil
	}
	if in.held == 0 {
		return nil
	}
	return c.forget()
}

// forget takes from the socket all that was handed out.
func (c *Conn) forget() error {
	in := &c.in
	n := in.glance.passed + in.held
	if n == 0 {
		return nil
	}
	in.glance.passed, in.held = 0, 0
	got, err := in.consume(c.driven.fd, n)
	if len(got.fds) > 0 || got.truncated {
		got.at = in.pos - 1
		in.rights = append(in.rights, got)
	}
	return c.unlessLater(true, err)
}

// lineAfter is line, behind the first skip bytes.
func (in *incoming) lineAfter(skip, limit int) (line []byte, ok bool, err error) {
	if skip == 0 {
		return in.line(limit)
	}
	b := in.buf[in.start+skip:]
	i := bytes.IndexByte(b, '\n')
	if i > limit {
		return nil, false, ErrFrameTooLong
	}
	return b[:max(i, 0)], i >= 0, nil
}

// handNext is hand for Next.
func (c *Conn) handNext(line []byte) (f Frame, ok bool, err error) {
	in := &c.in
	f.Data = line
	in.held = len(line) + 1
	if in.flagged && in.start+in.glance.passed+in.held == len(in.buf) {
		err = c.forget() // it fills the buffer with the bytes that are there
	}
	f.FDs, f.Truncated = in.take()
	return f, err == nil, err
}

// glanceBeyond is lookAgain when nothing that is dealt with may stay before what is
// seen.
func (c *Conn) glanceBeyond() (more bool, err error) {
	in := &c.in
	if err := c.forget(); err != nil {
		return false, err
	}
	seen := len(in.buf) - in.start
	done, err := in.peekBeyond(c.driven.fd, seen)
	in.glance.all, in.glance.fresh = len(in.buf) < cap(in.buf) && !in.flagged, true
	if err = c.unlessLater(done, err); err != nil {
		return false, err
	}
	g := &in.glance
	switch half := len(in.buf) > 0 && bytes.IndexByte(in.buf, '\n') < 0; {
	case !half:
		g.since = time.Time{}
		return done, nil
	case done && in.beyondSight(), !done && g.late():
		in.pieces = &piecemeal{}
		c.mark.set(true)
		return true, nil
	case done, g.since.IsZero():
		g.since = time.Now()
	}
	return len(in.buf) == cap(in.buf), nil
}

// late says that the rest of a line should have come.
func (g *glance) late() bool { return !g.since.IsZero() && time.Since(g.since) >= pieceAfter }

// nextPiece takes what is there of a long line.
func (c *Conn) nextPiece() (f Frame, ok bool, err error) {
	in, p := &c.in, c.in.pieces
	in.glance.since = time.Time{}
	for !p.whole {
		done, err := in.piece(c.driven.fd, p)
		if !done || err != nil {
			return Frame{}, false, c.unlessLater(done, err)
		}
		if len(p.line) > c.o.FrameMax {
			return Frame{}, false, ErrFrameTooLong
		}
	}
	in.pieces = nil
	c.mark.set(false)
	return Frame{Data: p.line, FDs: p.fds, Truncated: p.truncated}, true, nil
}
