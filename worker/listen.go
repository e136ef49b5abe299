package worker

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// sockets are those that were inherited.
type sockets struct {
	mu  sync.Mutex
	all []socket
}

// socket is one of them.
type socket struct {
	fd      int
	name    string // by LISTEN_FDNAMES
	network string // tcp, udp, unix, unixgram, unixpacket
	address string
}

// look finds out what a socket is.
func (s *socket) look() error {
	if _, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	kind, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return os.NewSyscallError("getsockopt", err)
	}
	own, err := unix.Getsockname(s.fd)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	s.network, s.address = describe(own, kind)
	return nil
}

// describe says a socket's address as package net would.
func describe(own unix.Sockaddr, kind int) (network, address string) {
	internet := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp"}
	switch a := own.(type) {
	case *unix.SockaddrInet4:
		return internet[kind], (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrInet6:
		return internet[kind], (&net.TCPAddr{IP: a.Addr[:], Port: a.Port}).String()
	case *unix.SockaddrUnix:
		local := map[int]string{unix.SOCK_STREAM: "unix", unix.SOCK_DGRAM: "unixgram", unix.SOCK_SEQPACKET: "unixpacket"}
		return local[kind], a.Name
	}
	return fmt.Sprintf("%T", own), ""
}

// Listen gives the listener of an address: the one that muster holds for the app and
// this process has inherited; its share of the connections, where muster deals them
// (balance:); or, where none is declared, or the program runs alone, one that is bound
// here. "name:http" asks for a declared one by its name, "" for the only one. It is an
// error, which lists what there is, when none that was inherited has the address. Ports
// that the app has for itself (ports:) are bound here.
func (w *Worker) Listen(network, address string) (net.Listener, error) {
	if w.deal != nil {
		if l, ok, err := w.deal.listen(network, address); ok || err != nil {
			return l, err
		}
	}
	s, err := w.inheritedFor(network, address)
	if err != nil {
		return nil, err
	}
	if s == nil {
		l, err := net.Listen(network, address)
		return l, bindFault(address, err)
	}
	l, err := s.listener()
	return l, bindFault(address, err)
}

// listener is one on a copy of the socket.
func (s *socket) listener() (net.Listener, error) {
	f, err := s.file()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the file is muster's
	}
	return l, err
}

// ListenPacket is Listen for datagrams.
func (w *Worker) ListenPacket(network, address string) (net.PacketConn, error) {
	s, err := w.inheritedFor(network, address)
	if err != nil {
		return nil, err
	}
	if s == nil {
		c, err := net.ListenPacket(network, address)
		return c, bindFault(address, err)
	}
	f, err := s.file()
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := net.FilePacketConn(f)
	return c, bindFault(address, err)
}

func bindFault(address string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Bind, "cannot listen on %s: %w", address, err)
}

// file is a copy of the descriptor.
func (s *socket) file() (*os.File, error) {
	fd, err := unix.FcntlInt(uintptr(s.fd), unix.F_DUPFD_CLOEXEC, firstInherited)
	if err != nil {
		return nil, fault.New(fault.Bind, "cannot use descriptor %d: %w", s.fd, os.NewSyscallError("fcntl", err))
	}
	return os.NewFile(uintptr(fd), s.name), nil
}

// inheritedFor finds the socket of an address; nil: it is to be bound here.
func (w *Worker) inheritedFor(network, address string) (*socket, error) {
	w.sockets.mu.Lock()
	all := slices.Clone(w.sockets.all)
	w.sockets.mu.Unlock()
	name, named := strings.CutPrefix(address, "name:")
	fit := slices.DeleteFunc(slices.Clone(all), func(s socket) bool {
		switch {
		case !s.is(network):
			return true
		case named:
			return s.name != name
		}
		return address != "" && !s.has(address)
	})
	switch {
	case len(fit) > 0 && (address != "" || len(fit) == 1):
		return &fit[0], nil
	case named, address == "" && len(all) > 0, len(all) > 0 && !w.env.ownPort(address):
		return nil, fault.New(fault.Bind, "nothing inherited is %s %s (inherited: %s)", network, orAny(address), listed(all)).
			WithFix("listen on one of those, or correct listen: in muster.yaml")
	}
	return nil, nil
}

func orAny(address string) string {
	if address == "" {
		return "alone"
	}
	return address
}

func listed(all []socket) string {
	if len(all) == 0 {
		return "none"
	}
	var list []string
	for _, s := range all {
		list = append(list, fmt.Sprintf("%s is %s %s", s.name, s.network, s.address))
	}
	return strings.Join(list, ", ")
}

// is says whether a socket is of a network; "tcp4" and "tcp6" are tcp.
func (s *socket) is(network string) bool {
	return s.network == strings.TrimRight(network, "46")
}

// has says whether a socket has an address.
func (s *socket) has(address string) bool {
	if !strings.HasPrefix(s.network, "tcp") && s.network != "udp" {
		return s.address == address
	}
	host, port, err := net.SplitHostPort(address)
	ownHost, ownPort, err2 := net.SplitHostPort(s.address)
	if err != nil || err2 != nil {
		return false
	}
	if n, err := net.LookupPort(s.network, port); err != nil || fmt.Sprint(n) != ownPort {
		return false
	}
	return sameHost(host, ownHost)
}

// sameHost says whether two hosts are the same address; all wildcards are.
func sameHost(host, own string) bool {
	ownIP := net.ParseIP(own)
	if host == "" {
		return ownIP.IsUnspecified()
	}
	ips := []net.IP{net.ParseIP(host)}
	if ips[0] == nil {
		ips, _ = net.LookupIP(host) // a host that is not known is none of ours
	}
	return slices.ContainsFunc(ips, func(ip net.IP) bool {
		return ip.Equal(ownIP) || ip.IsUnspecified() && ownIP.IsUnspecified()
	})
}

// close closes what was inherited.
func (s *sockets) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.all {
		_ = unix.Close(one.fd)
	}
	s.all = nil
}
