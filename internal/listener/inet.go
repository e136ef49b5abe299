package listener

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// lookupTimeout bounds the resolution of a host name.
const lookupTimeout = 5 * time.Second

// endpoint is a resolved inet address.
type endpoint struct {
	addr     netip.Addr
	port     int
	zone     uint32
	dual     bool // an IPv6 wildcard that takes IPv4 as well
	datagram bool
	reuse    bool // SO_REUSEADDR for a datagram socket as well
}

// bindInet binds a tcp or udp listener.
func bindInet(l spec.Listener) (*os.File, error) {
	at, err := resolve(l)
	if err != nil {
		return nil, err
	}
	f, err := at.open(l)
	if at.dual && errors.Is(err, unix.EAFNOSUPPORT) {
		// A host without IPv6: the dual-stack wildcard is the IPv4 one.
		at.addr, at.dual = netip.IPv4Unspecified(), false
		f, err = at.open(l)
	}
	if err != nil {
		return nil, at.explain(err)
	}
	return f, nil
}

// open makes, binds and listens.
func (at endpoint) open(l spec.Listener) (*os.File, error) {
	f, err := at.bound(l.Key(), false)
	if err != nil {
		return nil, err
	}
	if err := at.listen(f, l); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// bound makes and binds; it does not listen yet. A group's socket can be bound
// beside others of the group, and beside nobody else's.
func (at endpoint) bound(name string, group bool) (*os.File, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if at.addr.Is6() {
		family = unix.AF_INET6
	}
	if at.datagram {
		kind = unix.SOCK_DGRAM
	}
	fd, err := newSocket(family, kind)
	if err != nil {
		return nil, err
	}
	if err := at.attach(fd, group); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

func (at endpoint) attach(fd int, group bool) error {
	set := func(level, option, value int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, option, value))
	}
	if at.addr.Is6() {
		only := 1
		if at.dual {
			only = 0
		}
		if err := set(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
			return err
		}
	}
	if !at.datagram || at.reuse {
		if err := set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
	}
	if group {
		if err := set(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return err
		}
	}
	return os.NewSyscallError("bind", unix.Bind(fd, at.sockaddr()))
}

// listen begins to listen; a datagram socket has nothing to begin. Between bind
// and listen another socket may have begun to listen, so "in use" comes from here,
// too.
func (at endpoint) listen(f *os.File, l spec.Listener) error {
	if at.datagram {
		return nil
	}
	return control(f, func(fd int) error {
		return os.NewSyscallError("listen", unix.Listen(fd, backlogOf(l)))
	})
}

func (at endpoint) sockaddr() unix.Sockaddr {
	if at.addr.Is4() {
		return &unix.SockaddrInet4{Port: at.port, Addr: at.addr.As4()}
	}
	return &unix.SockaddrInet6{Port: at.port, Addr: at.addr.As16(), ZoneId: at.zone}
}

// text is the address as people write it.
func (at endpoint) text() string {
	if at.dual {
		return ":" + strconv.Itoa(at.port)
	}
	return netip.AddrPortFrom(at.addr, uint16(at.port)).String()
}

// explain turns the system's refusal into a fault.
func (at endpoint) explain(err error) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fault.New(fault.PortInUse, "%s is already in use%s: %w", at.text(), ownerOf(at.conflicts()), err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fault.New(fault.Bind, "%s is no address of this host: %w", at.addr, err).
			WithFix("use an address that `ip addr` lists, or leave the host out for every address")
	case errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM):
		return fault.New(fault.Bind, "port %d needs the capability CAP_NET_BIND_SERVICE: %w", at.port, err).
			WithFix("choose a port above 1023, run muster as root or with AmbientCapabilities=CAP_NET_BIND_SERVICE, or lower the sysctl net.ipv4.ip_unprivileged_port_start")
	case errors.Is(err, unix.EAFNOSUPPORT):
		return fault.New(fault.Bind, "this host has no IPv6, which %s needs: %w", at.text(), err).
			WithFix("use tcp4 or udp4, or an IPv4 address")
	}
	return fault.New(fault.Bind, "cannot listen on %s: %w", at.text(), err)
}

// resolve reads host:port. Names are looked up; IPv4 wins where the network
// leaves the choice, as in the standard library.
func resolve(l spec.Listener) (endpoint, error) {
	host, service, err := net.SplitHostPort(l.Address)
	if err != nil {
		return endpoint{}, fault.New(fault.Bind, "%q is no host:port: %w", l.Address, err).
			WithFix("write :8000, 127.0.0.1:8000 or [::1]:8000")
	}
	port, err := net.LookupPort(l.Network, service)
	if err != nil {
		return endpoint{}, fault.New(fault.Bind, "%q is no port: %w", service, err).
			WithFix("write a number from 0 (any free port) to 65535")
	}
	at := endpoint{port: port, datagram: strings.HasPrefix(l.Network, "udp")}
	version := strings.TrimLeft(l.Network, "tcpud")
	if host == "" {
		at.addr, at.dual = netip.IPv6Unspecified(), version == ""
		if version == "4" {
			at.addr = netip.IPv4Unspecified()
		}
		return at, nil
	}
	return at.withHost(host, version)
}

// withHost fills in a host that was written.
func (at endpoint) withHost(host, version string) (endpoint, error) {
	addr, err := lookup(host, version)
	if err != nil {
		return endpoint{}, err
	}
	if zone := addr.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return endpoint{}, fault.New(fault.Bind, "%s names no network interface of this host: %w", host, err).
				WithFix("use an interface that `ip link` lists")
		}
		at.zone = uint32(link.Index)
	}
	at.addr = addr.WithZone("")
	at.dual = version == "" && at.addr == netip.IPv6Unspecified()
	return at, nil
}

// lookup finds the address of a host for an IP version ("4", "6" or "": any).
func lookup(host, version string) (netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		if version == "4" && !addr.Is4() || version == "6" && !addr.Is6() {
			return addr, fault.New(fault.Bind, "%s is no IPv%s address", host, version).
				WithFix("use tcp (or udp) without a version, or an address of that version")
		}
		return addr, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookupTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+version, host)
	if err != nil {
		return netip.Addr{}, fault.New(fault.Bind, "host %q is not known: %w", host, err).
			WithFix("write an IP address, or add the name to /etc/hosts")
	}
	for _, addr := range found {
		if addr.Unmap().Is4() {
			return addr.Unmap(), nil
		}
	}
	return found[0], nil
}
