package channel

import (
	"errors"
	"math"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

const (
	// AtomicMax is the longest frame, in bytes with its line end, that leaves in
	// one sendmsg or not at all: Linux puts up to 32 KiB into one buffer.
	AtomicMax = 32 << 10
	// FDsMax is how many descriptors one frame may carry (the kernel's SCM_MAX_FD).
	FDsMax = 253
	// FrameMax is the default of Options.FrameMax, in bytes.
	FrameMax = 16 << 20
	// QueueMax is the default of Options.QueueMax, in bytes.
	QueueMax = 64 << 20
	// fdQueueMax is how many descriptors may wait to be sent.
	fdQueueMax = 1024
)

var (
	// ErrFull says that the frame was not sent, as too much waits already.
	ErrFull = errors.New("the channel is full")
	// ErrFrameTooLong says that the other side sent more than FrameMax without a
	// line end. Nothing can be received any more.
	ErrFrameTooLong = errors.New("a frame of the channel is too long")
	// ErrInvalid says that the frame cannot be sent: it is empty, has a line end
	// in it, or too many descriptors.
	ErrInvalid = errors.New("not a frame")
	// ErrGone says that the other side has closed its end.
	ErrGone = errors.New("the other end of the channel is closed")
	// ErrClosed says that the Conn was closed.
	ErrClosed = errors.New("the channel is closed")
)

// Frame is one received message.
type Frame struct {
	// Data is one line without its line end, not empty, at most FrameMax bytes; the
	// receiver's to keep. It should be one JSON value; nothing has checked that.
	Data []byte
	// FDs are raw and close-on-exec, the receiver's to close; whether they block
	// is up to the sender.
	FDs []int
	// Truncated says that descriptors of the frame were lost: this process has too
	// many open (or the frame had more than FDsMax).
	Truncated bool
}

// Options of a Conn. The zero value is what most want.
type Options struct {
	// FrameMax is the longest frame that is read, in bytes; 0: 16 MiB. A longer one
	// ends the receiving side with ErrFrameTooLong.
	FrameMax int
	// QueueMax bounds the bytes that wait to be sent; 0: 64 MiB. Send answers
	// ErrFull to what would go beyond.
	QueueMax int
	// Peek takes only whole lines out of the socket, and only once they are dealt
	// with, for a reader that may be killed and have a successor (see the package).
	Peek bool
	// Driven leaves the descriptor out of Go's poller, for a loop that waits for many
	// itself: Attach, Next, Pass, Again, Stirred and HungUp are used then, never
	// Receive. Send and the rest are as ever.
	Driven bool
	// Torn, when not nil, is told true before the first byte of a frame that cannot
	// be sent (or with Peek received) at one stroke and false after the last one. A
	// successor that finds the mark set must not use the channel. It is called
	// from Send, Receive and a goroutine, one call at a time, and must not use
	// this Conn.
	Torn func(torn bool)
}

// Conn is one end of a channel. Safe for concurrent use; Receive has one caller
// at a time, others wait for it.
type Conn struct {
	file *os.File
	raw  syscall.RawConn
	o    Options

	closing   chan struct{}
	closeOnce sync.Once
	done      sync.WaitGroup // the goroutine that empties the queue

	out    outgoing
	in     incoming
	mark   mark
	driven driven

	skipped atomic.Uint64
}

// Pair makes a channel. Both ends are close-on-exec and non-blocking.
func Pair() (ours, theirs int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, -1, os.NewSyscallError("socketpair", err)
	}
	return fds[0], fds[1], nil
}

// Open takes over a descriptor of a stream socket, which becomes close-on-exec and
// non-blocking. It cannot fail: what is wrong with the descriptor shows in Send and
// Receive. Close ends it.
func Open(fd int, o Options) *Conn {
	if o.FrameMax == 0 {
		o.FrameMax = FrameMax
	}
	if o.QueueMax == 0 {
		o.QueueMax = QueueMax
	}
	if fd < 0 {
		fd = math.MaxInt32 // no less bad, but os.NewFile makes a file of it
	}
	unix.CloseOnExec(fd)
	_ = unix.SetNonblock(fd, true) // a bad descriptor shows at its first use
	c := &Conn{o: o, closing: make(chan struct{})}
	if o.Driven {
		c.file = unpolled(fd)
	} else {
		c.file = os.NewFile(uintptr(fd), "channel")
	}
	c.raw, _ = c.file.SyscallConn() // fails only for a nil file
	if o.Driven {
		c.drive()
	}
	c.in.oob = make([]byte, unix.CmsgSpace(4*FDsMax))
	c.mark.tell = o.Torn
	return c
}

// Waiting is how many frames wait to be sent, and how many bytes of them are left.
func (c *Conn) Waiting() (frames, bytes int) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return len(c.out.queue), c.out.bytes
}

// Lend calls use with the file of this end, for it to be duplicated: into a Store,
// for a successor. It stays the Conn's: use must not close it.
func (c *Conn) Lend(use func(*os.File) error) error {
	select {
	case <-c.closing:
		return ErrClosed
	default:
		return use(c.file)
	}
}

// Skipped counts the empty lines that were received, and passed over.
func (c *Conn) Skipped() uint64 { return c.skipped.Load() }

// Close ends both directions at once: what waits to be sent is dropped (see Flush),
// descriptors that nobody received are closed. Safe to call again.
func (c *Conn) Close() error {
	var err error
	c.closeOnce.Do(func() {
		close(c.closing)
		if c.o.Driven {
			err = c.letGo()
		} else {
			err = c.file.Close() // wakes Receive and the goroutine
		}
		c.out.mu.Lock()
		_ = c.out.end(ErrClosed)
		c.out.mu.Unlock()
	})
	c.done.Wait()
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.end(ErrClosed)
	return err
}

// mark is the state told to Options.Torn: set while any frame is torn, in either
// direction.
type mark struct {
	mu   sync.Mutex
	torn int
	tell func(bool)
}

func (m *mark) set(torn bool) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.torn > 0
	if torn {
		m.torn++
	} else {
		m.torn--
	}
	if now := m.torn > 0; now != before {
		m.tell(now)
	}
}

// closeAll closes descriptors.
func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
