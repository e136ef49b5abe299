package nodejs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// Answered is told what became of a connection: taken, or not (refused, or its
// descriptor did not arrive). It is called from the goroutine of First or Heard,
// and may use the Link.
type Answered func(id int64, taken bool)

// Link is one worker's channel as Node.js speaks it. Safe for concurrent use. Its
// methods never wait: send must not.
type Link struct {
	// Strange is told, once for each kind, of something that nobody asked for; it
	// must not block or use the Link. Count is called for each such thing. To be set
	// before the first use; may be nil.
	Strange func(what string)
	Count   func()

	send   func(data []byte, fds ...int) error
	nextID func() int64

	mu      sync.Mutex
	heads   map[string][]byte // of newconn, by key
	scratch []byte
	one     [1]int
	under   []parcel // descriptors whose arrival is not known, oldest first
	waiting []waiter // for an answer by number
	stale   bool     // answers to an agent before may still come
	strange map[string]uint64
}

// parcel is a descriptor under way.
type parcel struct {
	id   int64  // of the newconn; 0: something else
	lost func() // may be nil
}

type waiter struct {
	id       int64
	answered Answered
}

// NewLink makes the Link of a new worker. send sends a frame, descriptors on its
// first byte, and keeps neither; nextID gives numbers that no frame to this worker
// has had, not even one of an agent before.
func NewLink(send func(data []byte, fds ...int) error, nextID func() int64) *Link {
	return &Link{send: send, nextID: nextID, heads: map[string][]byte{}, strange: map[string]uint64{}}
}

// Adopt says that an agent before has used this channel, before anything is sent. How
// many descriptors of it are still to be acknowledged nobody knows: until the worker
// has answered the first newconn of ours, acknowledgements count for nothing. Adopt
// sends a ping so that this comes soon.
func (l *Link) Adopt() error {
	l.mu.Lock()
	l.stale = true
	l.mu.Unlock()
	return l.Ping(func() {})
}

// NewConn offers a connection to the worker's server. conn is not kept: the caller
// holds it until answered has been called, or the channel has ended. id comes from
// nextID. On an error nothing was sent, and answered is never called.
func (l *Link) NewConn(key string, id int64, conn int, answered Answered) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newConn(key, id, conn, answered)
}

func (l *Link) newConn(key string, id int64, conn int, answered Answered) error {
	head := l.heads[key]
	if head == nil {
		head = newconnHead(key)
		l.heads[key] = head
	}
	l.scratch = appendNewconn(l.scratch[:0], head, id)
	l.one[0] = conn
	if err := l.send(l.scratch, l.one[:]...); err != nil {
		return err
	}
	l.under = append(l.under, parcel{id: id})
	l.waiting = append(l.waiting, waiter{id, answered})
	return nil
}

// noServer is the key of a server that no worker has.
const noServer = "muster:ping"

// Ping has alive called, once, when the worker has come to this frame. It offers a
// connection (of a socket that is connected to nobody) for a server that the worker
// does not have: every Node answers that, refuses and closes it. A frame that
// carries nothing would not do, see the package.
func (l *Link) Ping(alive func()) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newConn(noServer, l.nextID(), fd, func(int64, bool) { alive() })
}

// First deals with a hot frame: the acknowledgement of a descriptor, or the answer to
// a newconn. It does not allocate. false: it is another frame, or an unusual form of
// these: Heard deals with them. Frames go to First and Heard in the worker's order.
func (l *Link) First(data []byte) bool {
	switch {
	case string(data) == frameAck:
		l.arrived(true)
	case string(data) == frameNack:
		l.arrived(false)
	default:
		ack, accepted, ok := hotReply(data)
		if !ok {
			return false
		}
		l.replied(ack, accepted)
	}
	return true
}

// Heard deals with a parsed message that is the channel's own affair: what First does,
// and questions about sockets that the worker has sent. false: it is not.
func (l *Link) Heard(m Message) bool {
	switch m.Kind {
	case HandleAck, HandleNack:
		l.arrived(m.Kind == HandleAck)
	case Reply:
		l.replied(m.Ack, m.Accepted)
	case SocketsClosed:
		// What becomes of a socket is the receiver's affair; the sender need not wait.
		_ = l.send(frame(socketsFrame{Cmd: "NODE_SOCKET_ALL_CLOSED", Key: m.SocketKey})) // fails when it is gone
	case SocketsCount:
		_ = l.send(frame(socketsFrame{Cmd: "NODE_SOCKET_COUNT", Key: m.SocketKey, Count: new(int)}))
	default:
		return false
	}
	return true
}

// Take acknowledges a Handle: at once, as its sender says nothing else until then.
// arrived: its descriptor came with it. It must be called once for each.
func (l *Link) Take(arrived bool) error {
	if arrived {
		return l.send([]byte(frameAck))
	}
	l.odd("a message without its descriptor")
	return l.send([]byte(frameNack))
}

// arrived is about the oldest descriptor under way.
func (l *Link) arrived(ok bool) {
	l.mu.Lock()
	if l.stale || len(l.under) == 0 {
		stale := l.stale
		l.mu.Unlock()
		if !stale {
			l.odd("an acknowledgement of nothing")
		}
		return
	}
	p := l.under[0]
	l.under = slices.Delete(l.under, 0, 1)
	var answered Answered
	if !ok && p.id != 0 {
		answered = l.waiter(p.id)
	}
	l.mu.Unlock()
	switch {
	case ok:
	case answered != nil:
		answered(p.id, false)
	case p.lost != nil:
		p.lost()
	}
}

// replied is about the newconn with this number.
func (l *Link) replied(id int64, accepted bool) {
	l.mu.Lock()
	answered := l.waiter(id)
	if answered != nil && l.stale {
		// It has come to this one, so it has acknowledged all up to it.
		l.stale = false
		if i := slices.IndexFunc(l.under, func(p parcel) bool { return p.id == id }); i >= 0 {
			l.under = slices.Delete(l.under, 0, i+1)
		}
	}
	stale := l.stale
	l.mu.Unlock()
	switch {
	case answered != nil:
		answered(id, accepted)
	case !stale:
		l.odd("an answer to nothing")
	}
}

// waiter takes out who waits for the answer; l.mu is held.
func (l *Link) waiter(id int64) Answered {
	for i, w := range l.waiting {
		if w.id == id {
			l.waiting = slices.Delete(l.waiting, i, i+1)
			return w.answered
		}
	}
	return nil
}

// Answer is the reply to a QueryServer.
type Answer struct {
	// Seq of the query.
	Seq int64
	// Errno is 0, or why not: a positive number as the system has it. Only Key counts
	// beside it.
	Errno int
	// Key by which the worker shall know the server. It must not have it already.
	Key string
	// Data as the first worker gave it; nil: null.
	Data json.RawMessage
	// Sockname of a TCP listener that is not handed over; nil for a UNIX one.
	Sockname *Sockname
	// Hand is whether the listening (or datagram) socket FD goes with it; without it
	// the connections come by NewConn. FD is not kept.
	Hand bool
	FD   int
	// Lost is called when FD did not arrive: the worker still waits for an answer.
	// May be nil. As Answered, it may use the Link.
	Lost func()
}

// Answer replies to a QueryServer.
func (l *Link) Answer(a Answer) error {
	errno := -a.Errno
	reply := clusterFrame{Cmd: cmdCluster, Errno: &errno, Key: a.Key, Ack: &a.Seq, Data: a.Data, Seq: l.nextID()}
	if reply.Data == nil {
		reply.Data = json.RawMessage("null") // a TLS server wants to find it
	}
	if a.Errno != 0 || !a.Hand {
		if a.Errno == 0 {
			reply.Sockname = a.Sockname
		}
		return l.plain(frame(reply))
	}
	_ = unix.SetNonblock(a.FD, true) // Node takes it for granted; a bad FD shows in send
	h := handleFrame{Cmd: cmdHandle, Type: typeNative, Msg: reply}
	if datagramType(a.FD) != "" {
		h.Type = typeNativeDatagram
	}
	return l.handle(frame(h), a.FD, a.Lost)
}

// Acknowledge answers a message by its number (ExitedAfterDisconnect).
func (l *Link) Acknowledge(seq int64) error {
	return l.plain(frame(clusterFrame{Cmd: cmdCluster, Ack: &seq, Seq: l.nextID()}))
}

// Disconnect tells the worker to close its servers, to finish its connections, and
// then to end the channel.
func (l *Link) Disconnect() error {
	return l.plain(frame(clusterFrame{Cmd: cmdCluster, Act: "disconnect", Seq: l.nextID()}))
}

var (
	// ErrMessage says that a message of user code is not one JSON value, or would be
	// taken for an internal one.
	ErrMessage = errors.New("not a message for user code")
	// ErrDescriptor says that a descriptor cannot travel as what it is said to be.
	ErrDescriptor = errors.New("not a socket of that type")
)

// User sends a message to the worker's own code (process.on('message')). data is one
// JSON value. fd is -1, or a socket that goes with it as what kind says (TypeSocket,
// TypeServer, TypeDatagram); it is not kept. Errors: ErrMessage, ErrDescriptor, or one
// of the channel.
func (l *Link) User(data []byte, fd int, kind string) error {
	var text bytes.Buffer
	if err := json.Compact(&text, data); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	if strings.HasPrefix(channel.Command(text.Bytes()), prefix) {
		return fmt.Errorf("%w: its cmd begins with NODE_, which is Node's own", ErrMessage)
	}
	return l.carry(text.Bytes(), fd, kind)
}

// Muster sends a frame of muster's own to a program that is its own primary
// (PROTOCOL-delegate.md), which its code does not see. data, fd and kind are as with
// User, but for the command: NODE_MUSTER.
func (l *Link) Muster(data []byte, fd int, kind string) error { return l.carry(data, fd, kind) }

// carry sends a message, with its descriptor if it has one.
func (l *Link) carry(text []byte, fd int, kind string) error {
	if fd < 0 {
		return l.plain(text)
	}
	datagram := datagramType(fd)
	switch kind {
	case TypeSocket, TypeServer:
		if datagram != "" {
			return ErrDescriptor
		}
	case TypeDatagram:
		if datagram == "" {
			return ErrDescriptor
		}
	default:
		return fmt.Errorf("%w: %s is not known", ErrDescriptor, show(kind))
	}
	if kind != TypeDatagram {
		datagram = ""
	}
	_ = unix.SetNonblock(fd, true) // Node takes it for granted; a bad one shows in send
	// json.Marshal would escape letters of the message: it stays the bytes it is.
	f := fmt.Appendf(nil, `{"cmd":"NODE_HANDLE","type":%q,`, kind)
	if datagram != "" {
		f = fmt.Appendf(f, `"dgramType":%q,`, datagram)
	}
	f = append(append(append(f, `"msg":`...), text...), '}')
	return l.handle(f, fd, nil)
}

// plain sends a frame without a descriptor.
func (l *Link) plain(data []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.send(data)
}

// handle sends a frame with one.
func (l *Link) handle(data []byte, fd int, lost func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.send(data, fd); err != nil {
		return err
	}
	l.under = append(l.under, parcel{lost: lost})
	return nil
}

// odd counts something that nobody asked for.
func (l *Link) odd(what string) {
	l.mu.Lock()
	l.strange[what]++
	first := l.strange[what] == 1
	l.mu.Unlock()
	if l.Count != nil {
		l.Count()
	}
	if first && l.Strange != nil {
		l.Strange(what)
	}
}

// Oddities are how often each kind of thing that nobody asked for has come.
func (l *Link) Oddities() map[string]uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]uint64, len(l.strange))
	for what, n := range l.strange {
		counts[what] = n
	}
	return counts
}
