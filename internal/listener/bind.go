package listener

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Bind makes the socket that l describes: bound, listening (but for udp),
// blocking and close-on-exec. The network fd yields a duplicate of a socket that
// muster inherited. The caller closes the file. Errors are faults: PortInUse,
// Bind, SocketPath, UserUnknown or Permission, with the listener as their place.
// Safe for concurrent use.
func Bind(l spec.Listener) (*os.File, error) {
	f, err := bind(l)
	if err != nil {
		return nil, asFault(l, err)
	}
	return f, nil
}

// asFault is an error of a listener as a fault with its place.
func asFault(l spec.Listener, err error) error {
	var known *fault.Fault
	if errors.As(err, &known) {
		return known.At(place(l))
	}
	return fault.New(fault.Bind, "cannot listen on %s: %w", l.Address, err).At(place(l))
}

func bind(l spec.Listener) (*os.File, error) {
	switch l.Network {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		return bindInet(l)
	case "unix":
		return bindUnix(l)
	case "fd":
		return bindInherited(l.Address)
	}
	return nil, fault.New(fault.Bind, "network %q is not known", l.Network).
		WithFix("use tcp, tcp4, tcp6, udp, udp4, udp6, unix or fd")
}

func place(l spec.Listener) string {
	if l.Name == "" {
		return "listener " + l.Key()
	}
	return fmt.Sprintf("listener %s (%s)", l.Name, l.Key())
}

// Inode is the number under which the kernel's tables list the socket.
func Inode(f *os.File) (uint64, error) {
	var st unix.Stat_t
	err := control(f, func(fd int) error { return unix.Fstat(fd, &st) })
	if err != nil {
		return 0, fmt.Errorf("cannot look at socket: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return 0, fmt.Errorf("cannot look at %s: %w", f.Name(), unix.ENOTSOCK)
	}
	return st.Ino, nil
}

// Addr is the address that the socket is really bound to, with port 0 resolved:
// host:port, an absolute path, or @name; "" when there is none.
func Addr(f *os.File) string {
	var sa unix.Sockaddr
	err := control(f, func(fd int) (err error) {
		sa, err = unix.Getsockname(fd)
		return err
	})
	if err != nil {
		return ""
	}
	return addrText(sa)
}

// control runs fn on the descriptor without changing its mode, as Fd might.
func control(f *os.File, fn func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) { inner = fn(int(fd)) })
	return errors.Join(err, inner)
}

// backlogOf is the listener's backlog, by default what the system allows.
func backlogOf(l spec.Listener) int {
	if l.Backlog > 0 {
		return l.Backlog
	}
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if n, bad := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && bad == nil && n > 0 {
		return n
	}
	return unix.SOMAXCONN
}

// newSocket makes a socket in blocking mode that no child inherits by accident.
func newSocket(family, kind int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	return fd, nil
}

// Unpolled is another file over the same socket, which the runtime's poller does
// not watch whatever its mode: workers may have made it non-blocking for all, and
// then every connection would wake the agent. The mode is left alone: it is
// theirs, too. The caller closes both.
func Unpolled(f *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate(f.Name(), unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), f.Name()) // a blocking file: not polled, for good
	err = control(f, func(socket int) error {
		return os.NewSyscallError("dup3", unix.Dup3(socket, fd, unix.O_CLOEXEC))
	})
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
