package handoff

import (
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener"
)

// mode is what the loop does with a socket.
type mode int

// What the epoll set reports of a socket in each mode: taking an edge, guarding the
// first connection only.
const (
	takeEvents  = unix.EPOLLIN | unix.EPOLLET
	guardEvents = unix.EPOLLIN | unix.EPOLLONESHOT
)

const (
	idle     mode = iota // nothing
	guarding             // looks whether its worker accepts what comes
	taking               // accepts
)

// socket is a listening socket of a Door. Its fields are guarded by Loop.mu.
type socket struct {
	door *Door
	slot int
	file *os.File // a duplicate, see newSocket
	fd   int
	ref  ref
	mode mode

	// While taking: accept may find a connection, and the set does not report more.
	more, deaf bool

	seats []*Seat // of the slot, but those that have left
	going bool    // it is to be dropped
	stuck bool    // its worker is blocked
	said  bool    // and that was told
	// blocked is since when, told when that was last told, away since when new
	// connections are steered around it.
	blocked, told, away time.Time
	guard               guard
}

// newSocket duplicates a listening socket: Go's poller does not know the duplicate,
// or each connection would wake the agent.
func newSocket(d *Door, f *os.File, slot int) (*socket, error) {
	k := &socket{door: d, slot: slot, fd: -1}
	var err error
	if k.file, err = listener.Unpolled(f); err != nil {
		return nil, err
	}
	raw, err := k.file.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { k.fd = int(fd) })
	}
	if err != nil {
		k.file.Close()
		return nil, err
	}
	return k, nil
}

func closeSockets(list []*socket) {
	for _, k := range list {
		k.file.Close()
	}
}

// drop ends sockets. Runs on the thread; l.mu is held.
func (d *Door) drop(list []*socket) {
	for _, k := range list {
		k.turnTo(idle)
	}
	closeSockets(list)
}

// turnTo changes the mode. Runs on the thread; l.mu is held.
func (k *socket) turnTo(m mode) {
	l := k.door.loop
	if k.mode == m || l.epoll < 0 {
		return
	}
	if k.mode == idle {
		k.ref = l.set.add(k)
	}
	was := k.mode
	k.mode, k.more, k.deaf = m, false, false
	k.guard.rest(l)
	var err error
	switch m {
	case idle:
		_ = l.control(unix.EPOLL_CTL_DEL, k.fd, 0, k.ref) // not in the set: as wanted
		l.set.remove(k.ref)
		return
	case taking:
		// Only the loop accepts here, or others (a blocked worker that comes back)
		// may be faster: it must not wait. Node.js wants that mode, too.
		if err = unix.SetNonblock(k.fd, true); err == nil {
			err = k.arm(was, takeEvents)
		}
	case guarding:
		err = k.arm(was, guardEvents)
	}
	if err != nil {
		k.giveUp(was)
		k.door.rest(err) // and tries again
	}
}

// giveUp undoes a change of mode that failed. l.mu is held.
func (k *socket) giveUp(was mode) {
	if k.mode = was; was == idle {
		k.door.loop.set.remove(k.ref)
	}
}

// arm says what the set reports, and looks at once. l.mu is held.
func (k *socket) arm(was mode, events uint32) error {
	op := unix.EPOLL_CTL_MOD
	if was == idle {
		op = unix.EPOLL_CTL_ADD
	}
	return k.door.loop.control(op, k.fd, events, k.ref)
}

// ready is told that something waits.
func (k *socket) ready(uint32) {
	l := k.door.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	switch k.mode {
	case taking:
		if k.more && !k.deaf {
			// Nobody is free to take what is known to wait. Hearing of each
			// connection that joins it would cost a wake-up.
			k.deaf = k.arm(taking, unix.EPOLLET) == nil
		}
		k.more = true
		l.touch(k.door)
	case guarding:
		k.guard.begin(k)
	case idle:
	}
}

// drained says that nothing waits any more. Edges will do: what comes now is one.
// l.mu is held.
func (k *socket) drained() {
	k.more = false
	if k.deaf {
		k.deaf = k.arm(taking, takeEvents) != nil
		k.more = k.deaf // better a look in vain than never again
	}
}
