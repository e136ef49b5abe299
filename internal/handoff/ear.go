package handoff

import (
	"bytes"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// atOnce is how many frames of one channel are looked at before the others have
// their turn.
const atOnce = 64

// Hearing is what a Loop does with the frames of a channel. First may be nil, the
// others not.
type Hearing struct {
	// First is asked on the loop's thread. It must not block, and the frame is its
	// only until it returns. true: dealt with, and it does no harm when a successor
	// of the agent receives it again. Such frames have no descriptors to keep: those
	// that come with it are closed.
	First func(channel.Frame) bool
	// Once is asked in the same way of what is not First's; nil: nothing. Such a frame
	// leaves the socket before the next one is looked at: a successor receives at most
	// the last one again.
	Once func(channel.Frame) bool
	// Rest gets every other frame, its to keep, in order, in a goroutine. The next
	// frame is looked at when it has returned: only then does this one leave the
	// socket.
	Rest func(channel.Frame)
	// End is called once, in a goroutine and after the last Rest, when nothing more
	// comes: with an error of channel.Conn.Next.
	End func(error)
}

// Ear is a channel that is heard.
type Ear struct {
	loop *Loop
	conn *channel.Conn
	o    Hearing

	// Guarded by Loop.mu.
	ref    ref
	fd     int // in the epoll set; -1: not
	busy   bool
	closed bool
	again  *timer
}

// Hear reads a driven Conn (channel.Options.Driven, which nobody else reads) until
// it ends or the Ear is closed. Calls may begin before Hear returns. An error of
// the system is given to End.
func (l *Loop) Hear(conn *channel.Conn, o Hearing) *Ear {
	e := &Ear{loop: l, conn: conn, o: o, fd: -1}
	l.mu.Lock()
	l.ears[e] = struct{}{}
	l.mu.Unlock()
	if err := conn.Attach(e.watch, e.release); err != nil {
		go e.end(err)
	}
	return e
}

// watch puts the descriptor into the set. Edges will do: Conn says so.
func (e *Ear) watch(fd int) error {
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return channel.ErrClosed
	}
	e.ref, e.fd = l.set.add(e), fd
	err := l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLET, e.ref)
	if err != nil {
		e.unwatch()
	}
	return err
}

// unwatch takes the descriptor out of the set. l.mu is held.
func (e *Ear) unwatch() {
	if e.fd >= 0 {
		_ = e.loop.control(unix.EPOLL_CTL_DEL, e.fd, 0, e.ref) // it is in the set, or was never
		e.loop.set.remove(e.ref)
		e.fd = -1
	}
}

// release is told that the Conn is being closed: its end is to be heard.
func (e *Ear) release(int) {
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	e.unwatch()
	l.post(e.hear)
}

// Close ends the hearing; the Conn stays open. No call begins afterwards, but one
// that has begun may still be under way. Safe to call again, also by First, Rest
// and End.
func (e *Ear) Close() {
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	e.closed = true
	e.unwatch()
	l.stop(e.again)
	delete(l.ears, e)
}

// ready is told that there is something to hear.
func (e *Ear) ready(found uint32) {
	if found&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		e.conn.HungUp()
	}
	e.conn.Stirred() // also while it is busy: this edge does not come again
	e.hear()
}

// hear looks for frames.
func (e *Ear) hear() {
	for range atOnce {
		if !e.free() {
			return
		}
		f, ok, err := e.conn.Next()
		switch {
		case err != nil:
			e.occupy(func() { e.end(err) })
			return
		case !ok:
			e.comeAgain()
			return
		case e.o.First != nil && e.o.First(f):
			closeAll(f.FDs)
			e.conn.Pass()
		case e.o.Once != nil && e.o.Once(f):
			closeAll(f.FDs)
		default:
			f.Data = bytes.Clone(f.Data)
			if !e.occupy(func() { e.rest(f) }) {
				closeAll(f.FDs)
			}
			return
		}
	}
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	e.loop.post(e.hear)
}

// free says that the next frame may be looked at.
func (e *Ear) free() bool {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return !e.busy && !e.closed
}

// occupy runs do in a goroutine, until whose end no frame is looked at.
func (e *Ear) occupy(do func()) bool {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	if e.closed {
		return false
	}
	e.busy = true
	go do()
	return true
}

// comeAgain looks once more in a while, when the Conn wants that.
func (e *Ear) comeAgain() {
	wait := e.conn.Again()
	l := e.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stop(e.again)
	if e.again = nil; wait > 0 && !e.closed {
		e.again = l.after(wait, e.hear)
	}
}

// rest is a goroutine: one frame.
func (e *Ear) rest(f channel.Frame) {
	if !e.open() {
		closeAll(f.FDs)
		return
	}
	e.o.Rest(f)
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	e.busy = false
	e.loop.post(e.hear)
}

// end is a goroutine: there are no more frames.
func (e *Ear) end(err error) {
	open := e.open()
	e.Close()
	if open {
		e.o.End(err)
	}
}

func (e *Ear) open() bool {
	e.loop.mu.Lock()
	defer e.loop.mu.Unlock()
	return !e.closed
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
