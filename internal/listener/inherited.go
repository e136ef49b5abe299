package listener

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// firstInherited is the first descriptor of the LISTEN_FDS protocol.
const firstInherited = 3

// Named is a socket that muster inherited, and its name in LISTEN_FDNAMES
// ("unknown" when it has none, as systemd says).
type Named struct {
	Name string
	File *os.File
	fd   int // the number it was inherited as
}

// Inherited returns duplicates of the sockets that were passed to muster itself
// by LISTEN_FDS; the caller closes them. There are none when LISTEN_PID names
// another process. The originals become close-on-exec, so that workers get only
// what they are meant to get, and stay open, so that it can be called again.
func Inherited() ([]Named, error) {
	if os.Getenv("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	count, err := strconv.Atoi(os.Getenv("LISTEN_FDS"))
	if err != nil || count < 0 {
		return nil, fault.New(fault.Bind, "LISTEN_FDS is no number: %q", os.Getenv("LISTEN_FDS"))
	}
	names := strings.Split(os.Getenv("LISTEN_FDNAMES"), ":")
	found := make([]Named, 0, min(count, 64))
	for i := range count {
		name := "unknown"
		if i < len(names) && names[i] != "" {
			name = names[i]
		}
		file, err := adopt(firstInherited+i, name)
		if err != nil {
			closeAll(found)
			return nil, fault.New(fault.Bind, "LISTEN_FDS promises descriptor %d: %w", firstInherited+i, err)
		}
		found = append(found, Named{Name: name, File: file, fd: firstInherited + i})
	}
	return found, nil
}

func closeAll(files []Named) {
	for _, n := range files {
		n.File.Close()
	}
}

// adopt duplicates an inherited descriptor into a blocking, close-on-exec file.
func adopt(fd int, name string) (*os.File, error) {
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	// In blocking mode os.NewFile leaves it alone; otherwise every connection
	// would wake muster's own poller.
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, firstInherited)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(dup), name), nil
}

// bindInherited finds an inherited socket by LISTEN_FDNAMES name or by number.
func bindInherited(address string) (*os.File, error) {
	found, err := Inherited()
	if err != nil {
		return nil, err
	}
	defer closeAll(found)
	for _, n := range found {
		if n.Name == address {
			return checked(n.fd, address)
		}
	}
	fd, err := strconv.Atoi(address)
	if err != nil || fd < 0 {
		return nil, fault.New(fault.Bind, "no inherited socket is called %q (inherited: %s)", address, namesOf(found)).
			WithFix("pass it to muster by LISTEN_FDS and LISTEN_FDNAMES (systemd: FileDescriptorName=), or write its number")
	}
	return checked(fd, address)
}

func namesOf(found []Named) string {
	if len(found) == 0 {
		return "none"
	}
	var all []string
	for _, n := range found {
		all = append(all, fmt.Sprintf("%s (%d)", n.Name, n.fd))
	}
	return strings.Join(all, ", ")
}

// checked duplicates a descriptor that must be a socket ready to serve.
func checked(fd int, address string) (*os.File, error) {
	if err := serving(fd); err != nil {
		return nil, fault.New(fault.Bind, "descriptor %d is no socket that can be listened on: %w", fd, err).
			WithFix("pass a listening socket to muster (systemd: a .socket unit) and write its name or number")
	}
	file, err := adopt(fd, "fd://"+address)
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot use descriptor %d: %w", fd, err)
	}
	return file, nil
}

// errNotListening marks a socket that nobody can connect to.
var errNotListening = errors.New("it is a socket, but neither listening nor a bound datagram socket")

// serving says whether fd is a listening socket or a bound datagram socket.
func serving(fd int) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	if kind == unix.SOCK_DGRAM {
		if sa, err := unix.Getsockname(fd); err == nil && addrText(sa) != "" {
			return nil
		}
		return errNotListening
	}
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || listening == 0 {
		return errNotListening
	}
	return nil
}
