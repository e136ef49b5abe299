package dealt

import (
	"errors"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Options of a Member.
type Options struct {
	// Send sends a frame on the channel without blocking, and keeps nothing of it.
	Send func(frame []byte) error
	// Count has muster told how many connections are open.
	Count bool
	// Online is said at once; else when the first listener is asked for. A worker that
	// has said it and asks for none counts as ready.
	Online bool
	// Disconnect is called once, in the goroutine of Hear, when muster wants the worker
	// to leave: no more connections come. It must not block, nor call the Member. May be
	// nil.
	Disconnect func()
}

// Member is this process among the workers to which muster deals connections. Its
// methods are safe for concurrent use.
type Member struct {
	o     Options
	count *counter      // nil: nobody wants to know
	over  chan struct{} // closed by End

	mu      sync.Mutex
	seq     int64 // of the next frame
	online  bool
	left    bool                 // no more connections are to come
	told    bool                 // by muster
	asked   map[int64]*question  // by number
	servers map[string]*Listener // by key
	taken   map[int]bool         // declared listeners that are in use
	indexes map[string]int       // how often an address was asked for
	ended   error
	scratch []byte
}

// question is a queryServer under way.
type question struct {
	of       *Listener
	answered chan struct{} // closed when the rest is set
	answer   incoming
	fd       int // that came with it; -1: none
}

// Join makes a Member. End ends it.
func Join(o Options) *Member {
	m := &Member{
		o: o, over: make(chan struct{}), asked: map[int64]*question{}, servers: map[string]*Listener{},
		taken: map[int]bool{}, indexes: map[string]int{},
	}
	if o.Count {
		m.count = newCounter(m.tellOpen)
	}
	if o.Online {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.sayOnline()
	}
	return m
}

// sayOnline needs m.mu.
func (m *Member) sayOnline() {
	if !m.online {
		m.online = true
		_, _ = m.say(outgoing{Act: actOnline}) // when it fails End is about to be called
	}
}

// say sends a frame, and returns its number. m.mu is held.
func (m *Member) say(f outgoing) (seq int64, err error) {
	f.Seq = m.seq
	m.seq++
	return f.Seq, m.o.Send(text(f))
}

// reply answers an offer. m.mu is held.
func (m *Member) reply(id int64, accepted bool) error {
	m.scratch = appendAccepted(m.scratch[:0], id, accepted, m.seq)
	m.seq++
	return m.o.Send(m.scratch)
}

// tellOpen reports how many connections are open.
func (m *Member) tellOpen(open int) {
	frame := strconv.AppendInt([]byte(`{"cmd":"MUSTER_CONNECTIONS","open":`), int64(open), 10)
	_ = m.o.Send(append(frame, '}')) // a report that is lost is followed by another
}

// Hear deals with a frame of the channel, and with the descriptors that came with it;
// lost says that the kernel had to drop some. false: it is not for this package, and the
// descriptors stay the caller's. data is the caller's again when it returns. Frames are
// to be heard in order.
func (m *Member) Hear(data []byte, fds []int, lost bool) bool {
	if !isOurs(data) {
		return false
	}
	fd := -1
	if len(fds) > 0 {
		fd = fds[0]
		closeAll(fds[1:])
	}
	f, handle := read(data)
	m.mu.Lock()
	defer m.mu.Unlock()
	if handle && !m.acknowledge(fd >= 0 && !lost) || !m.hear(f, fd) {
		closeAll(some(fd))
	}
	return true
}

// acknowledge says whether a descriptor has arrived, and passes that on. m.mu is held.
func (m *Member) acknowledge(arrived bool) bool {
	frame := frameAck
	if !arrived {
		frame = frameNack
	}
	_ = m.o.Send([]byte(frame)) // when it fails the channel has ended: End says so
	return arrived
}

// hear deals with a frame; false: the descriptor is of no use. m.mu is held.
func (m *Member) hear(f incoming, fd int) bool {
	switch {
	case f.Ack != nil:
		q := m.asked[*f.Ack]
		delete(m.asked, *f.Ack)
		// nil: it was answered before, by an agent that was killed then.
		return q != nil && m.settle(q, f, fd)
	case f.Act == actNewConn:
		if l := m.servers[f.Key]; l != nil && fd >= 0 && l.offer(f.Seq, fd) {
			return true
		}
		_ = m.reply(f.Seq, false)
	case f.Act == actDisconnect && !m.told:
		m.left, m.told = true, true
		if m.o.Disconnect != nil {
			m.o.Disconnect()
		}
	}
	return false
}

// ask asks for a listener, and waits for the answer until the listener is closed.
func (m *Member) ask(l *Listener) (incoming, int, error) {
	q := &question{of: l, answered: make(chan struct{}), fd: -1}
	m.mu.Lock()
	if m.ended != nil {
		defer m.mu.Unlock()
		return incoming{}, -1, m.ended
	}
	m.sayOnline()
	seq, err := m.say(outgoing{Act: actQuery, query: &l.query})
	if err == nil {
		m.asked[seq] = q
	}
	m.mu.Unlock()
	if err != nil {
		return incoming{}, -1, err
	}
	select {
	case <-q.answered:
		return q.answer, q.fd, nil
	case <-l.closed:
		err = net.ErrClosed // an answer to come is refused by settle
	case <-m.over:
		err = m.ended
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	select {
	case <-q.answered: // at the same moment
		closeAll(some(q.fd))
	default:
	}
	return incoming{}, -1, err
}

// settle deals with an answer: from here on connections may come. m.mu is held.
func (m *Member) settle(q *question, f incoming, fd int) bool {
	if f.Errno == 0 && !q.of.named(f.Key) { // nobody wants it any more
		_, _ = m.say(outgoing{Act: actClose, Key: f.Key})
		return false
	}
	if f.Errno == 0 {
		m.servers[f.Key] = q.of
	}
	q.answer, q.fd = f, fd
	close(q.answered)
	return true
}

// answer says what becomes of an offered connection.
func (m *Member) answer(id int64, accepted bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended != nil {
		return m.ended
	}
	return m.reply(id, accepted)
}

// forget is told that a listener is closed, and of what was offered to it.
func (m *Member) forget(l *Listener, key string, offers []offer) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, o := range offers {
		_ = m.reply(o.id, false)
		_ = unix.Close(o.fd)
	}
	if l.fd >= 0 {
		delete(m.taken, l.fd)
	}
	if key != "" {
		delete(m.servers, key)
		_, _ = m.say(outgoing{Act: actClose, Key: key}) // it does not matter when the channel has ended
	}
}

// End says that the channel has ended, and why. Only the first call counts.
func (m *Member) End(err error) {
	if err == nil {
		err = errors.New("the channel to muster has ended")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended != nil {
		return
	}
	m.ended = err
	close(m.over)
	if m.count != nil {
		m.count.end()
	}
	for _, l := range m.servers {
		l.drop()
	}
}

// Leave has muster give this worker no more connections: it ends by its own wish. What
// was offered may still be accepted. After a disconnect of muster's it does nothing.
func (m *Member) Leave() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.left || !m.online || m.ended != nil {
		return
	}
	m.left = true
	_, _ = m.say(outgoing{Act: actLeave}) // muster's acknowledgement changes nothing here
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// connOf makes a connection of a descriptor, which is closed in any case.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "connection")
	defer f.Close()
	return net.FileConn(f)
}
