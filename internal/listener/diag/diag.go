package diag

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// States of a TCP socket, as bits of Query.States.
const (
	Established uint32 = 1 << 1
	CloseWait   uint32 = 1 << 8 // the client has said all it had to say
	Listen      uint32 = 1 << 10
	// All but those that have no owner any more (TIME_WAIT) or none yet (NEW_SYN_RECV).
	// Those that only have an address are among them since Linux 6.8.
	All = ^uint32(1<<6 | 1<<12)
)

// Query chooses sockets.
type Query struct {
	// IPv6 sockets, else IPv4; one that takes both is IPv6, and so are its connections.
	IPv6   bool
	Port   int // local; 0: any
	States uint32
	// Age: tell it, too.
	Age bool
}

// Socket is one of them.
type Socket struct {
	Local netip.AddrPort
	State uint32 // a bit
	UID   int
	// Inode is 0 of a socket that no process has: a connection that nobody has
	// accepted yet, or one that was given up.
	Inode uint64
	// Age, if it was asked for, is the time since this end has sent data: of a
	// connection that nobody has accepted, since it is there. In steps of some
	// milliseconds.
	Age time.Duration
}

// errShort says that the kernel's answer is not what we know.
var errShort = errors.New("the kernel's answer is not understood")

// TCP are the sockets that q chooses, in no order. Errors: those of the system.
func TCP(q Query) ([]Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Sendto(fd, q.request(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, os.NewSyscallError("sendto", err)
	}
	return receive(fd)
}

// Sizes and places in linux/inet_diag.h.
const (
	requestSize = 56
	messageSize = 72
	infoKind    = 2 // INET_DIAG_INFO: struct tcp_info
)

// request is the question: struct nlmsghdr, struct inet_diag_req_v2.
func (q Query) request() []byte {
	const size = unix.SizeofNlMsghdr + requestSize
	b := make([]byte, size)
	native := binary.NativeEndian
	native.PutUint32(b[0:], size)
	native.PutUint16(b[4:], unix.SOCK_DIAG_BY_FAMILY)
	native.PutUint16(b[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	r := b[unix.SizeofNlMsghdr:]
	r[0], r[1] = unix.AF_INET, unix.IPPROTO_TCP
	if q.IPv6 {
		r[0] = unix.AF_INET6
	}
	if q.Age {
		r[2] = 1 << (infoKind - 1)
	}
	native.PutUint32(r[4:], q.States)
	binary.BigEndian.PutUint16(r[8:], uint16(q.Port))
	return b
}

// receive reads the answer to its end.
func receive(fd int) ([]Socket, error) {
	var all []Socket
	buf := make([]byte, 64<<10)
	for {
		n, _, flags, _, err := unix.Recvmsg(fd, buf, nil, 0)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return nil, os.NewSyscallError("recvmsg", err)
		case flags&unix.MSG_TRUNC != 0:
			return nil, errShort
		}
		done, err := eachMessage(buf[:n], func(m []byte) error {
			s, err := parse(m)
			all = append(all, s)
			return err
		})
		if err != nil {
			return nil, err
		}
		if done {
			return all, nil
		}
	}
}

// eachMessage goes through the messages of a datagram; done says that the last one was
// among them.
func eachMessage(b []byte, do func([]byte) error) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return false, errShort
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch binary.NativeEndian.Uint16(b[4:]) {
		case unix.NLMSG_DONE:
			return true, errnoOf(body)
		case unix.NLMSG_ERROR:
			if err := errnoOf(body); err != nil {
				return false, err
			}
			return false, errShort
		case unix.SOCK_DIAG_BY_FAMILY:
			if err := do(body); err != nil {
				return false, err
			}
		}
		b = b[min(len(b), align(size)):]
	}
	return false, nil
}

// align is the length with which things follow each other.
func align(n int) int { return (n + 3) &^ 3 }

// errnoOf is the number at the start of an end, or of an error: 0, or negative.
func errnoOf(body []byte) error {
	if len(body) < 4 {
		return nil // an end without one
	}
	if n := int32(binary.NativeEndian.Uint32(body)); n < 0 {
		return fmt.Errorf("sock_diag: %w", unix.Errno(-n))
	}
	return nil
}

// parse reads struct inet_diag_msg and what follows it.
func parse(b []byte) (Socket, error) {
	if len(b) < messageSize {
		return Socket{}, errShort
	}
	addr := netip.AddrFrom4([4]byte(b[8:12]))
	if b[0] == unix.AF_INET6 {
		addr = netip.AddrFrom16([16]byte(b[8:24]))
	}
	s := Socket{
		Local: netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[4:])),
		State: 1 << b[1],
		UID:   int(binary.NativeEndian.Uint32(b[64:])),
		Inode: uint64(binary.NativeEndian.Uint32(b[68:])),
	}
	for rest := b[messageSize:]; len(rest) >= unix.SizeofRtAttr; {
		size := int(binary.NativeEndian.Uint16(rest))
		if size < unix.SizeofRtAttr || size > len(rest) {
			return s, errShort
		}
		if binary.NativeEndian.Uint16(rest[2:]) == infoKind {
			s.Age = age(rest[unix.SizeofRtAttr:size])
		}
		rest = rest[min(len(rest), align(size)):]
	}
	return s, nil
}

// age reads it from struct tcp_info, where it stands in milliseconds.
func age(info []byte) time.Duration {
	const at = int(unsafe.Offsetof(unix.TCPInfo{}.Last_data_sent))
	if len(info) < at+4 {
		return 0
	}
	return time.Duration(binary.NativeEndian.Uint32(info[at:])) * time.Millisecond
}
