package sdnotify

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

const (
	// PathMax is the longest path of a socket, with its terminating zero.
	PathMax = 104
	// DatagramMax is the longest datagram that is read; systemd takes 4096.
	DatagramMax = 16 << 10
	// QueueMax is how many messages wait for a slow consumer.
	QueueMax = 256
	// controlMax holds credentials and the 253 descriptors a datagram may carry,
	// with room to spare. What does not fit is closed by the kernel itself.
	controlMax = 4 << 10
)

// Socket receives the messages of one worker. Safe for concurrent use.
type Socket struct {
	path    string
	uid     uint32
	conn    *net.UnixConn
	out     chan Message
	dropped atomic.Uint64

	mu      sync.Mutex
	queue   []Message     // what the consumer did not come for in time
	handing bool          // one that was in the queue is being delivered
	more    chan struct{} // holds a token while queue may not be empty; closed by the reader

	closing   chan struct{}
	closeOnce sync.Once
	closeErr  error
	done      sync.WaitGroup // reader and deliverer
}

// Listen makes the socket at an absolute path, 0600 and owned by uid, and begins
// to read. A file that a dead agent left there is replaced. Errors are faults:
// SocketPath, Permission (another owner cannot be set) or Bind.
func Listen(path string, uid int) (*Socket, error) {
	if n := len(path) + 1; n > PathMax {
		return nil, fault.New(fault.SocketPath, "socket path %s takes %d bytes with its terminating zero, at most %d are allowed", path, n, PathMax)
	}
	conn, err := bind(path, uid)
	if err != nil {
		return nil, err
	}
	return serve(conn, path, uid), nil
}

// serve begins to read.
func serve(conn *net.UnixConn, path string, uid int) *Socket {
	s := &Socket{
		path: path, uid: uint32(uid), conn: conn,
		out: make(chan Message), more: make(chan struct{}, 1), closing: make(chan struct{}),
	}
	s.done.Add(2)
	go s.read()
	go s.deliver()
	return s
}

// Messages delivers the messages in order. The consumer calls Done of each when it
// has dealt with it; the next one waits for that, for at most a second. It is closed
// after Close and Leave.
func (s *Socket) Messages() <-chan Message { return s.out }

// Path is the file of the socket, for NOTIFY_SOCKET.
func (s *Socket) Path() string { return s.path }

// Dropped counts the datagrams that were not delivered: malformed, too long, from
// another user, or beyond QueueMax.
func (s *Socket) Dropped() uint64 { return s.dropped.Load() }

// Close removes the file, stops reading and closes Messages. It waits for both
// goroutines, is safe to call again, and needs no reader of Messages.
func (s *Socket) Close() error {
	return s.stop(func() error {
		if err := os.Remove(s.path); !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return nil
	})
}

// stop ends both goroutines, and does first what is to be done once.
func (s *Socket) stop(first func() error) error {
	s.closeOnce.Do(func() {
		close(s.closing)
		s.closeErr = errors.Join(first(), s.conn.Close())
	})
	s.done.Wait()
	return s.closeErr
}

// bind makes the socket. The file takes the mode of the socket's own inode, so it
// is never more open than 0600, and gets its owner before anyone knows it.
func bind(path string, uid int) (*net.UnixConn, error) {
	if err := removeOld(path); err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot make a notify socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close() // FileConn duplicates it
	if err := errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PASSCRED, 1),
		unix.Fchmod(fd, 0o600),
	); err != nil {
		return nil, fault.New(fault.Bind, "cannot prepare a notify socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return nil, explain(path, err)
	}
	conn, err := give(file, path, uid)
	if err != nil {
		_ = os.Remove(path)
		return nil, err
	}
	return conn, nil
}

// give hands the file to its owner.
func give(file *os.File, path string, uid int) (*net.UnixConn, error) {
	if uid != os.Geteuid() {
		if err := os.Lchown(path, uid, -1); err != nil {
			return nil, fault.New(fault.Permission, "cannot give notify socket %s to uid %d: %w", path, uid, err)
		}
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot use notify socket %s: %w", path, err)
	}
	return conn.(*net.UnixConn), nil
}

// removeOld removes a socket left by an agent that died. The path is muster's own,
// but a file that is no socket is still left alone.
func removeOld(path string) error {
	info, err := os.Lstat(path)
	if err != nil || info.Mode().Type() != os.ModeSocket {
		return nil // bind says what is wrong
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return explain(path, err)
	}
	return nil
}

func explain(path string, err error) error {
	f := fault.New(fault.Bind, "cannot make notify socket %s: %w", path, err)
	if errors.Is(err, unix.EADDRINUSE) {
		return f.WithFix("remove that file: it is no socket, so it is left alone")
	}
	return f.WithFix("check that " + filepath.Dir(path) + " exists and is writable for this user")
}

// deliver passes the queue on. Messages is closed after the reader has ended, as
// that uses it too.
func (s *Socket) deliver() {
	defer s.done.Done()
	defer close(s.out)
	for {
		if m, ok := s.pop(); ok {
			select {
			case s.out <- m:
			case <-s.closing:
			}
			continue
		}
		if _, open := <-s.more; !open {
			return // the reader has ended
		}
	}
}

// pop is the next message of the queue; the one before has been delivered.
func (s *Socket) pop() (m Message, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handing = len(s.queue) > 0
	if !s.handing {
		return m, false
	}
	m = s.queue[0]
	s.queue = s.queue[1:]
	return m, true
}

// behind says that the consumer has not taken all of the queue.
func (s *Socket) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handing || len(s.queue) > 0
}

// push queues a message, or makes it one with the last.
func (s *Socket) push(m Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.queue); n > 0 && s.queue[n-1].absorb(m) {
		return
	}
	if len(s.queue) >= QueueMax {
		s.dropped.Add(1)
		return
	}
	s.queue = append(s.queue, m)
	select {
	case s.more <- struct{}{}:
	default:
	}
}
