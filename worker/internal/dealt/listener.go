package dealt

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// Listener is a net.Listener whose connections come from muster, and from its own
// socket where it was given one. Safe for concurrent use.
type Listener struct {
	m      *Member
	query  query
	fd     int           // of a declared one, from 3; -1: it was asked for by its address
	closed chan struct{} // closed by Close
	bell   chan struct{} // holds one while there may be something to take
	// alone opens the socket that was inherited, for when muster is gone; nil: there is
	// none.
	alone func() (net.Listener, error)

	begin   sync.Mutex // held while it is asked for
	asked   bool       // it was answered
	listens bool       // muster was told that it listens

	mu      sync.Mutex
	addr    net.Addr
	key     string // muster's name of it; "": not known yet
	pending []offer
	own     socket // nil: all connections come from muster
	shut    bool
}

// offer is a connection that nobody has accepted yet.
type offer struct {
	id int64
	fd int
}

// socket is a *net.TCPListener or *net.UnixListener.
type socket interface {
	net.Listener
	SetDeadline(time.Time) error
}

func (m *Member) newListener(q query, fd int, addr net.Addr) *Listener {
	return &Listener{m: m, query: q, fd: fd, addr: addr, closed: make(chan struct{}), bell: make(chan struct{}, 1)}
}

// Addr implements net.Listener.
func (l *Listener) Addr() net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.addr
}

// Accept implements net.Listener: the connection is a *net.TCPConn or *net.UnixConn.
// After muster has asked the worker to leave it waits until the Listener is closed.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.accept()
	if err != nil {
		return nil, l.failed("accept", err)
	}
	if l.m.count != nil {
		l.m.count.add(conn)
	}
	return conn, nil
}

func (l *Listener) accept() (net.Conn, error) {
	if err := l.start(); err != nil {
		return nil, err
	}
	for {
		conn, err := l.take()
		if conn == nil && err == nil {
			conn, err = l.wait()
		}
		if conn != nil || err != nil {
			return conn, err
		}
	}
}

// failed is an error as net's listeners return it.
func (l *Listener) failed(verb string, err error) error {
	var known *net.OpError
	if errors.As(err, &known) {
		return err
	}
	addr := l.Addr()
	return &net.OpError{Op: verb, Net: addr.Network(), Addr: addr, Err: err}
}

// start asks for the listener, and says that it listens, before its first Accept.
func (l *Listener) start() error {
	l.begin.Lock()
	defer l.begin.Unlock()
	if l.listens {
		return nil
	}
	if err := l.request(); err != nil {
		if !l.m.alive() && l.alone != nil {
			return nil // wait goes on without muster
		}
		return err
	}
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if _, err := l.m.say(outgoing{Act: actListening, query: &l.query}); err != nil {
		return err
	}
	l.listens = true
	return nil
}

// request asks muster for the listener. l.begin is held.
func (l *Listener) request() error {
	if l.asked {
		return nil
	}
	a, fd, err := l.m.ask(l)
	if err != nil {
		return err
	}
	if a.Errno != 0 {
		closeAll(some(fd))
		return os.NewSyscallError("bind", syscall.Errno(max(a.Errno, -a.Errno)))
	}
	if fd >= 0 {
		if err := l.listenItself(fd); err != nil {
			return err
		}
	}
	if a.Sockname != nil && l.fd < 0 {
		l.located(&net.TCPAddr{IP: net.ParseIP(a.Sockname.Address), Port: a.Sockname.Port})
	}
	l.asked = true
	return nil
}

// located is told where it really listens.
func (l *Listener) located(addr net.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addr = addr
	if at, ok := addr.(*net.TCPAddr); ok {
		l.query.Port = at.Port
	}
}

// listenItself takes connections from the socket that came with the answer, too. The
// descriptor is closed in any case.
func (l *Listener) listenItself(fd int) error {
	if l.fd < 0 { // what was asked for may be bound only
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			closeAll(some(fd))
			return os.NewSyscallError("listen", err)
		}
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	made, err := net.FileListener(f)
	if err != nil {
		return err
	}
	if l.fd < 0 {
		l.located(made.Addr())
	}
	return l.use(made)
}

// use has Accept take connections from a socket, too.
func (l *Listener) use(made net.Listener) error {
	own, ok := made.(socket)
	if !ok {
		return errors.Join(errors.New("it is no socket of streams"), made.Close())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut || l.own != nil { // another Accept was first
		err := own.Close()
		if l.shut {
			err = net.ErrClosed
		}
		return err
	}
	l.own = own
	return nil
}

// named notes muster's name of it; false: it is closed.
func (l *Listener) named(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return false
	}
	l.key = key
	return true
}

// offer is a connection from muster; false: it is closed.
func (l *Listener) offer(id int64, fd int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shut {
		return false
	}
	l.pending = append(l.pending, offer{id, fd})
	l.ring()
	return true
}

// ring wakes who waits. l.mu is held.
func (l *Listener) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
	if l.own != nil {
		_ = l.own.SetDeadline(time.Unix(1, 0)) // long ago; it fails when it is closed
	}
}

// drop gives up what was offered: the channel has ended, so it may be another worker's.
func (l *Listener) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, o := range l.pending {
		_ = unix.Close(o.fd)
	}
	l.pending = nil
	l.ring()
}

// next is the oldest offer, if there is one.
func (l *Listener) next() (offer, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) == 0 {
		if l.own != nil {
			_ = l.own.SetDeadline(time.Time{})
		}
		return offer{}, false
	}
	o := l.pending[0]
	l.pending = l.pending[1:]
	if len(l.pending) > 0 {
		l.ring()
	}
	return o, true
}

// take accepts an offered connection; nil: there is none, or the channel has ended.
func (l *Listener) take() (net.Conn, error) {
	o, ok := l.next()
	if !ok {
		return nil, nil // accept waits then
	}
	conn, err := connOf(o.fd)
	if err != nil {
		_ = l.m.answer(o.id, false)
		return nil, err
	}
	for {
		err := l.m.answer(o.id, true)
		if err == nil {
			return conn, nil
		}
		if !errors.Is(err, channel.ErrFull) || !l.later() {
			_ = conn.Close() // nothing was read from it: muster gives it to another worker
			return nil, nil  // wait finds out why
		}
	}
}

// later waits until muster may have read something; false: it will not.
func (l *Listener) later() bool {
	select {
	case <-time.After(fullPause):
		return true
	case <-l.closed:
	case <-l.m.over:
	}
	return false
}

// fullPause is the time between two tries to send on a channel that is full.
const fullPause = 10 * time.Millisecond

// wait waits for an offer (then both are nil), or for a connection of its own socket.
func (l *Listener) wait() (net.Conn, error) {
	l.mu.Lock()
	own := l.own
	l.mu.Unlock()
	if own == nil {
		select {
		case <-l.bell:
			return nil, nil // accept looks again
		case <-l.closed:
			return nil, net.ErrClosed
		case <-l.m.over:
			return nil, l.goAlone()
		}
	}
	conn, err := own.Accept()
	if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return conn, err
	}
	return nil, nil // accept looks again
}

// goAlone goes on with the socket that was inherited: the channel has ended, and what
// waits there nobody else may take.
func (l *Listener) goAlone() error {
	if l.alone == nil {
		return l.m.ended
	}
	made, err := l.alone()
	if err != nil {
		return err
	}
	return l.use(made)
}

// alive: the channel has not ended.
func (m *Member) alive() bool {
	select {
	case <-m.over:
		return false
	default:
		return true
	}
}

// Close implements net.Listener. Connections that were offered and not accepted go to
// other workers; those that were accepted live on.
func (l *Listener) Close() error {
	l.mu.Lock()
	if l.shut {
		l.mu.Unlock()
		return l.failed("close", net.ErrClosed)
	}
	l.shut = true
	close(l.closed)
	pending, key, own := l.pending, l.key, l.own
	l.pending = nil
	l.mu.Unlock()
	l.m.forget(l, key, pending)
	if own != nil {
		return own.Close()
	}
	return nil
}

// some is a list of a descriptor, if it is one.
func some(fd int) []int {
	if fd < 0 {
		return nil
	}
	return []int{fd}
}
