package listener

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener/rights"
	"github.com/muster-run/muster/spec"
)

// Asked is what a Node.js worker asks its primary to listen on. A program can ask
// for anything, so every value is checked when it is bound.
type Asked struct {
	// Kind of address: "4", "6", "udp4", "udp6", or "unix". "4" without an address is
	// every address of both families, as in Node.
	Kind string
	// Address is an IP address, the absolute path of a "unix" socket, or "".
	Address string
	// Port of an IP address; 0: any free one.
	Port int
	// Only6: no IPv4 on an IPv6 wildcard. Reuse: SO_REUSEADDR for a datagram socket
	// (TCP has it in any case). SO_REUSEPORT is never set because a worker asks for
	// it: the socket could be joined by others.
	Only6, Reuse bool
	// Backlog as in spec.Listener.
	Backlog int
	// Readable, Writable open a UNIX socket's file to everybody. Owner is whom it
	// belongs to, and who must be let to make it; "": this process.
	Readable, Writable bool
	Owner              string
}

// Spec is the listener as a record, the Store, Restore and Unlink need it. Its Key
// is that of a declared listener on the same address.
func (a Asked) Spec() spec.Listener {
	l := spec.Listener{Network: "unix", Address: a.Address, Backlog: a.Backlog}
	if a.Kind == "unix" {
		l.Owner, l.Mode = a.Owner, defaultMode
		if a.Readable {
			l.Mode |= 0o444
		}
		if a.Writable {
			l.Mode |= 0o222
		}
		return l
	}
	l.Network, l.Address = a.network(), net.JoinHostPort(a.host(), strconv.Itoa(a.Port))
	return l
}

// network is a word of spec.Listener. tcp and udp on an IPv6 wildcard take IPv4,
// too.
func (a Asked) network() string {
	network, version := "tcp", strings.TrimPrefix(a.Kind, "udp")
	if version != a.Kind {
		network = "udp"
	}
	switch {
	case version == "6" && a.Only6, network == "udp" && version == "4":
		return network + version
	}
	return network
}

func (a Asked) host() string {
	if a.Address != "" {
		return a.Address
	}
	switch a.Kind {
	case "udp4":
		return "0.0.0.0"
	case "udp6", "6":
		return "::"
	}
	return "" // both families
}

// BindAsked makes the sockets that a worker asks for, with libuv's rules: every
// address means IPv6 with IPv4, and IPv4 alone where that cannot be had. slots is 0
// for one socket, else how many a group shall have (TCP only). All listen, but for
// datagram sockets. The caller closes the files. Errors are faults as those of
// BindGroup; Errno says what the worker is to be told.
func BindAsked(a Asked, slots int) ([]*os.File, error) {
	l := a.Spec()
	if err := a.check(); err != nil {
		return nil, asFault(l, err)
	}
	if a.Kind == "unix" {
		if slots > 0 {
			return nil, noGroup(l)
		}
		return a.bindUnix(l)
	}
	files, err := a.bindInet(l, slots)
	if err != nil && a.Kind == "4" && a.Address == "" {
		a.Address = "0.0.0.0"
		files, err = a.bindInet(a.Spec(), slots)
	}
	return files, err
}

// bindUnix lets root make no file where the owner could not.
func (a Asked) bindUnix(l spec.Listener) (files []*os.File, err error) {
	if a.Owner == "" || os.Geteuid() != 0 {
		return single(Bind(l))
	}
	who, err := rights.Of(a.Owner)
	if err != nil {
		return nil, asFault(l, err)
	}
	l.Owner = "" // it is the owner who makes it
	err = who.Do(func() error {
		files, err = single(Bind(l))
		return err
	})
	return files, err
}

func (a Asked) bindInet(l spec.Listener, slots int) ([]*os.File, error) {
	switch {
	case slots > 0:
		return BindGroup(l, slots)
	case !a.Reuse:
		return single(Bind(l))
	}
	at, err := resolve(l)
	if err != nil {
		return nil, asFault(l, err)
	}
	at.reuse = true
	f, err := at.open(l)
	if err != nil {
		return nil, asFault(l, at.explain(err))
	}
	return []*os.File{f}, nil
}

func single(f *os.File, err error) ([]*os.File, error) {
	if err != nil {
		return nil, err
	}
	return []*os.File{f}, nil
}

// check refuses what would be looked up, or is nonsense.
func (a Asked) check() error {
	switch a.Kind {
	case "unix":
		return nil // checked when bound
	case "4", "6", "udp4", "udp6":
	default:
		return fault.New(fault.Bind, "a Node.js worker asks for an address of the kind %q: %w", a.Kind, unix.EINVAL)
	}
	if a.Port < 0 || a.Port > 65535 {
		return fault.New(fault.Bind, "a Node.js worker asks for port %d: %w", a.Port, unix.EINVAL)
	}
	if _, err := netip.ParseAddr(a.Address); a.Address != "" && err != nil {
		return fault.New(fault.Bind, "a Node.js worker asks for the address %q: %w", a.Address, unix.EINVAL)
	}
	return nil
}

// Errno is the number of an error of this package as a Node.js worker expects it
// (there with a minus sign); 0 of none, EINVAL where nothing better is known.
func Errno(err error) syscall.Errno {
	var number syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &number):
		return number
	}
	switch fault.From(err).Code {
	case fault.SocketPath:
		return unix.ENAMETOOLONG
	case fault.PortInUse:
		return unix.EADDRINUSE
	case fault.Permission:
		return unix.EACCES
	}
	return unix.EINVAL
}
