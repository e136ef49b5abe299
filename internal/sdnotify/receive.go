package sdnotify

import (
	"encoding/binary"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// read takes datagrams until the socket is closed.
func (s *Socket) read() {
	defer s.done.Done()
	defer close(s.more)
	text, oob := make([]byte, DatagramMax+1), make([]byte, controlMax)
	for {
		n, oobn, flags, _, err := s.conn.ReadMsgUnix(text, oob)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if !s.pause() {
				return
			}
			continue
		}
		s.take(text[:n], oob[:oobn], flags)
	}
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

// take queues one datagram and then closes what came with it, which is what a
// BARRIER=1 waits for.
func (s *Socket) take(text, oob []byte, flags int) {
	from := readControl(oob)
	defer from.close()
	if flags&unix.MSG_TRUNC != 0 || len(text) > DatagramMax || !from.known || (from.uid != s.uid && from.uid != 0) {
		s.dropped.Add(1)
		return
	}
	m, ok := Parse(string(text))
	if !ok {
		s.dropped.Add(1)
		return
	}
	if m.empty() {
		return
	}
	m.UID, m.PID = from.uid, from.pid
	s.push(m)
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
