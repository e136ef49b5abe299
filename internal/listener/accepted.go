package listener

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// lookAccepted adds the sockets of which the process holds a connection. It has
// accepted that, though it may be too busy ever to be seen waiting for the next:
// gunicorn's sync workers poll only when nobody is in line.
//
// The tables of /proc/net would tell as well, but on a host with many
// connections they take seconds to read, and a connection lives for
// milliseconds. So the descriptors themselves are asked, through duplicates that
// live for an instant; where that is not possible nothing is added.
func (p process) lookAccepted(held []uint64, waits map[uint64]bool) {
	pidfd, err := unix.PidfdOpen(p.pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(pidfd)
	listeners := map[string]uint64{} // by address
	for fd, inode := range p.fds.sockets {
		if contains(held, inode) {
			if name, ok := p.socketName(pidfd, fd, true); ok {
				listeners[name] = inode
			}
		}
	}
	for fd, inode := range p.fds.sockets {
		if len(listeners) == 0 || all(waits, held) {
			return
		}
		if contains(held, inode) {
			continue
		}
		name, ok := p.socketName(pidfd, fd, false)
		if !ok {
			continue
		}
		for listening, of := range listeners {
			if listening == name || listening == wildcardOf(name) {
				waits[of] = true
			}
		}
	}
}

func contains(list []uint64, inode uint64) bool {
	for _, v := range list {
		if v == inode {
			return true
		}
	}
	return false
}

// socketName is the local address of a stream socket of the process that
// listens, or of one that is connected; "" is no name.
func (p process) socketName(pidfd, fd int, listens bool) (name string, ok bool) {
	dup, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(dup)
	accepts, err := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || (accepts != 0) != listens {
		return "", false
	}
	if kind, err := unix.GetsockoptInt(dup, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return "", false
	}
	sa, err := unix.Getsockname(dup)
	if err != nil {
		return "", false
	}
	name = plainAddr(sa)
	return name, name != ""
}

// plainAddr is a socket's address; the IPv4 side of an IPv6 socket reads as IPv4
// does, and every wildcard as [::].
func plainAddr(sa unix.Sockaddr) string {
	text := addrText(sa)
	addr, err := netip.ParseAddrPort(text)
	if err != nil {
		return text // unix
	}
	if addr.Addr().IsUnspecified() {
		return wildcardOf(text)
	}
	return netip.AddrPortFrom(addr.Addr().Unmap().WithZone(""), addr.Port()).String()
}

// wildcardOf is the wildcard with the port of an inet address, "" for others.
func wildcardOf(name string) string {
	addr, err := netip.ParseAddrPort(name)
	if err != nil {
		return ""
	}
	return netip.AddrPortFrom(netip.IPv6Unspecified(), addr.Port()).String()
}
