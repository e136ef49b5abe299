package handoff

import (
	"errors"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/spec"
)

const (
	// shortPause is how long accepting rests when the system has no descriptor.
	shortPause = 100 * time.Millisecond
	warnEvery  = 10 * time.Second
)

// turn is what the thread does when anything has changed at the door.
func (d *Door) turn() {
	d.review()
	for {
		d.loop.mu.Lock()
		s, f, ok := d.match()
		d.loop.mu.Unlock()
		if !ok {
			return
		}
		if err := s.to.Give(f.id, f.conn); err != nil {
			d.takeBack(s, f)
		}
	}
}

// match is the next connection and who gets it. l.mu is held.
func (d *Door) match() (s *Seat, f flight, ok bool) {
	if !d.some() {
		return nil, flight{}, false
	}
	i := d.pick()
	if i < 0 {
		return nil, flight{}, false
	}
	conn, ok := d.connection()
	if !ok {
		return nil, flight{}, false
	}
	s = d.free[i]
	d.free = slices.Delete(d.free, i, i+1)
	s.queued = false
	f = flight{d.loop.NextID(), conn}
	if len(s.under) == 0 {
		s.offered = time.Now()
	}
	s.under = append(s.under, f)
	s.turns++
	s.offer()
	return s, f, true
}

// some says that there may be a connection to deal. l.mu is held.
func (d *Door) some() bool {
	return len(d.hand) > 0 || d.short == nil && slices.ContainsFunc(d.sockets, func(k *socket) bool { return k.more })
}

// pick is the place in the line of who gets the next connection, or -1. Those who
// cannot take one any more leave the line. l.mu is held.
func (d *Door) pick() int {
	for len(d.free) > 0 && !d.free[0].can() {
		d.free[0].queued = false
		d.free = slices.Delete(d.free, 0, 1)
	}
	if len(d.free) == 0 {
		return -1
	}
	i, even := d.pickEven()
	if !even && d.hold() {
		return -1
	}
	d.holding = time.Time{}
	return i
}

// pickEven is who is next by the policy; even is false when it is another one's turn,
// which is busy. Somebody is free. l.mu is held.
func (d *Door) pickEven() (i int, even bool) {
	if d.policy != spec.BalanceLeast {
		for i, s := range d.free {
			if s.can() && !d.ahead(s) {
				return i, true
			}
		}
		return 0, false
	}
	for k, s := range d.free {
		if s.can() && s.load() < d.free[i].load() {
			i = k
		}
	}
	return i, !d.heavy(d.free[i])
}

// load is how many connections it has; without any word from the worker nobody
// knows. l.mu is held.
func (s *Seat) load() int {
	if !s.counted {
		return 0
	}
	return s.open + len(s.under)
}

// connection is one in hand, or a new one. l.mu is held.
func (d *Door) connection() (conn int, ok bool) {
	if len(d.hand) > 0 {
		conn = d.hand[0]
		d.hand = slices.Delete(d.hand, 0, 1)
		return conn, true
	}
	if d.short != nil {
		return 0, false
	}
	for _, k := range d.sockets {
		if conn, ok = d.accept(k); ok {
			return conn, true
		}
	}
	return 0, false
}

// accept takes a connection from a socket that may have one. l.mu is held.
func (d *Door) accept(k *socket) (conn int, ok bool) {
	for k.mode == taking && k.more && d.short == nil {
		conn, err := accept4(k.fd)
		switch {
		case err == nil:
			d.stats.Accepted++
			if d.slots() {
				d.stats.Rescued++
			}
			return conn, true
		case errors.Is(err, unix.EAGAIN):
			k.drained()
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		default:
			d.rest(os.NewSyscallError("accept4", err))
		}
	}
	return 0, false
}

// accept4 is unix.Accept4 without the address, which nobody asks for.
func accept4(fd int) (int, error) {
	conn, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(conn), nil
}

// rest stops accepting for a while: the system has no descriptor, or no memory.
// l.mu is held.
func (d *Door) rest(err error) {
	if d.short == nil {
		d.short = d.loop.after(shortPause, d.goOn)
	}
	if now := time.Now(); d.warn != nil && now.Sub(d.warned) >= warnEvery {
		d.warned = now
		d.tell.say(func() { d.warn(err) })
	}
}

// goOn runs on the thread.
func (d *Door) goOn() {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	d.short = nil
	d.change()
}

// takeBack undoes an offer that could not be sent, unless it was taken back
// meanwhile.
func (d *Door) takeBack(s *Seat, f flight) {
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	i := slices.Index(s.under, f)
	if i < 0 {
		return
	}
	s.under = slices.Delete(s.under, i, i+1)
	d.stats.Again++
	d.hand = append(d.hand, f.conn)
	s.refuse()
}
