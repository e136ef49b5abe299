package sdnotify

import (
	"encoding/binary"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a message stays in the socket for a consumer that does not
// come, or does not say that it is Done.
const patience = time.Second

// receipt tells the reader that a message is dealt with.
type receipt struct {
	once sync.Once
	done chan struct{}
}

// Done says that the message is dealt with, and recorded if it has to be: only then
// does it leave the socket, so that a consumer that is killed leaves it to its
// successor. It is called once or more, from anywhere. A message that Parse made
// has nothing to be done.
func (m Message) Done() {
	if m.receipt != nil {
		m.receipt.once.Do(func() { close(m.receipt.done) })
	}
}

// read looks at datagrams and takes them when they are dealt with, until the socket
// is closed.
func (s *Socket) read() {
	defer s.done.Done()
	defer close(s.more)
	text := make([]byte, DatagramMax+1)
	oob := make([]byte, max(controlMax, unix.CmsgSpace(unix.SizeofUcred)))
	// Room for credentials only: no descriptor is received by looking.
	look := oob[:unix.CmsgSpace(unix.SizeofUcred)]
	for {
		n, oobn, flags, err := s.recvmsg(text, look, unix.MSG_PEEK)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || !s.pause() {
				return
			}
			continue
		}
		if m, ok := s.take(text[:n], look[:oobn], flags); ok && !s.pass(m) {
			return
		}
		if err := s.consume(text, oob); err != nil && !s.pause() {
			return
		}
	}
}

// recvmsg receives a datagram; with MSG_PEEK it waits for one.
func (s *Socket) recvmsg(text, oob []byte, how int) (n, oobn, flags int, err error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return 0, 0, 0, err
	}
	var failed error
	err = raw.Read(func(fd uintptr) (done bool) {
		for {
			n, oobn, flags, _, failed = unix.Recvmsg(int(fd), text, oob, how|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(failed, unix.EINTR) {
				return how&unix.MSG_PEEK == 0 || !errors.Is(failed, unix.EAGAIN)
			}
		}
	})
	if err == nil {
		err = failed
	}
	return n, oobn, flags, err
}

// consume takes the first datagram out of the socket and closes what came with it,
// which is what a BARRIER=1 waits for.
func (s *Socket) consume(text, oob []byte) error {
	_, oobn, _, err := s.recvmsg(text, oob, 0)
	if err == nil {
		readControl(oob[:oobn]).close()
	}
	return err
}

// pass gives a message to the consumer and returns when it may leave the socket:
// it is dealt with, or the consumer has lost the right to that. It returns false
// when the socket is being closed: the message stays.
func (s *Socket) pass(m Message) bool {
	if s.behind() {
		s.push(m)
		return true
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	held := m
	held.receipt = &receipt{done: make(chan struct{})}
	select {
	case s.out <- held:
	case <-late.C:
		s.push(m)
		return true
	case <-s.closing:
		return false
	}
	late.Reset(patience)
	select {
	case <-held.receipt.done:
	case <-late.C:
	case <-s.closing:
		return false
	}
	return true
}

// pause waits a moment after an error of the system, such as ENOBUFS, so that it
// cannot become a hot loop. It returns false when the socket is being closed.
func (s *Socket) pause() bool {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.closing:
		return false
	}
}

// take reads one datagram; false: it says nothing, or nothing that counts.
func (s *Socket) take(text, oob []byte, flags int) (m Message, ok bool) {
	from := readControl(oob)
	defer from.close()
	if flags&unix.MSG_TRUNC != 0 || len(text) > DatagramMax || !from.known || (from.uid != s.uid && from.uid != 0) {
		s.dropped.Add(1)
		return Message{}, false
	}
	if m, ok = Parse(string(text)); !ok {
		s.dropped.Add(1)
		return Message{}, false
	}
	m.UID, m.PID = from.uid, from.pid
	return m, !m.empty()
}

// sender is what the kernel attached to a datagram.
type sender struct {
	known bool
	uid   uint32
	pid   int
	fds   []int
}

// close closes every descriptor that came along.
func (s sender) close() {
	for _, fd := range s.fds {
		_ = unix.Close(fd)
	}
}

// readControl reads the control messages. It goes as far as they are well formed
// and never drops a descriptor it has seen: a truncated list keeps its head.
func readControl(oob []byte) (s sender) {
	for len(oob) >= unix.CmsgLen(0) {
		header, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return s
		}
		oob = rest
		if header.Level != unix.SOL_SOCKET {
			continue
		}
		switch header.Type {
		case unix.SCM_RIGHTS:
			for ; len(data) >= 4; data = data[4:] {
				s.fds = append(s.fds, int(int32(binary.NativeEndian.Uint32(data))))
			}
		case unix.SCM_CREDENTIALS:
			if len(data) >= unix.SizeofUcred {
				s.known = true
				s.pid = int(int32(binary.NativeEndian.Uint32(data)))
				s.uid = binary.NativeEndian.Uint32(data[4:])
			}
		}
	}
	return s
}
