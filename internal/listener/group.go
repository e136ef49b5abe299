package listener

import (
	"errors"
	"net/netip"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// BindGroup makes n ≥ 1 sockets on the one address of l, a SO_REUSEPORT group
// among which the kernel spreads connections. All are bound before the first
// listens, and all listen when it returns. Port 0 is one free port for all. A
// socket's place in the slice is its index in the group, which Steer names: only
// the last one may be closed. Only TCP has groups. The caller closes the files.
// Errors as those of Bind: an address that somebody else's socket has is
// PortInUse, also when that one would share it.
func BindGroup(l spec.Listener, n int) ([]*os.File, error) {
	if !strings.HasPrefix(l.Network, "tcp") {
		return nil, noGroup(l)
	}
	at, err := resolve(l)
	if err != nil {
		return nil, asFault(l, err)
	}
	files, at, err := at.group(l, n)
	if at.dual && errors.Is(err, unix.EAFNOSUPPORT) {
		at.addr, at.dual = netip.IPv4Unspecified(), false
		files, at, err = at.group(l, n)
	}
	if err != nil {
		return nil, asFault(l, at.explain(err))
	}
	return files, nil
}

// GrowGroup makes the sockets that a group lacks to have n, and returns only
// these. have are its sockets in their order, one at least. A single socket that
// Bind has made, or that was inherited, becomes the first of a group. Errors as
// those of BindGroup; the group is then as it was.
func GrowGroup(l spec.Listener, have []*os.File, n int) ([]*os.File, error) {
	at, err := endpointOf(have[0])
	if err != nil {
		return nil, asFault(l, err)
	}
	if err := shareAddress(have[0]); err != nil {
		return nil, asFault(l, err)
	}
	more, err := at.more(l, have, n)
	if err != nil {
		return nil, asFault(l, at.explain(err))
	}
	return more, nil
}

// group binds the first socket without SO_REUSEPORT: so the system refuses an
// address that somebody listens on, even one who would share it.
func (at endpoint) group(l spec.Listener, n int) ([]*os.File, endpoint, error) {
	first, err := at.bound(l.Key(), false)
	if err != nil {
		return nil, at, err
	}
	own, err := endpointOf(first)
	if err == nil {
		at.port = own.port
		err = shareAddress(first)
	}
	have := []*os.File{first}
	for len(have) < n && err == nil {
		var f *os.File
		if f, err = at.bound(l.Key(), true); err == nil {
			have = append(have, f)
		}
	}
	if err == nil {
		err = at.begin(l, have, have)
	}
	if err != nil {
		closeFiles(have)
		return nil, at, err
	}
	return have, at, nil
}

// more are the sockets from the length of have on to n.
func (at endpoint) more(l spec.Listener, have []*os.File, n int) ([]*os.File, error) {
	var added []*os.File
	for len(have)+len(added) < n {
		f, err := at.bound(l.Key(), true)
		if err != nil {
			closeFiles(added)
			return nil, err
		}
		added = append(added, f)
	}
	if err := at.begin(l, added, append(have[:len(have):len(have)], added...)); err != nil {
		closeFiles(added)
		return nil, err
	}
	return added, nil
}

// begin has sockets listen, in their order, and then makes sure that only those of
// the group do: another program of the same user could have joined it, and would
// take connections and shift the indexes.
func (at endpoint) begin(l spec.Listener, files, all []*os.File) error {
	for _, f := range files {
		if err := at.listen(f, l); err != nil {
			return err
		}
	}
	if len(files) > 0 && len(at.strangers(all)) > 0 {
		return os.NewSyscallError("listen", unix.EADDRINUSE)
	}
	return nil
}

// strangers are the listening sockets on exactly this address that are not ours.
func (at endpoint) strangers(ours []*os.File) []row {
	mine := map[uint64]bool{}
	for _, f := range ours {
		if inode, err := Inode(f); err == nil {
			mine[inode] = true
		}
	}
	table := "tcp"
	if at.addr.Is6() {
		table = "tcp6"
	}
	var found []row
	for _, r := range socketsAt(table, at.port) {
		if r.local.Addr() == at.addr && !mine[r.inode] {
			found = append(found, r)
		}
	}
	return found
}

// shareAddress lets others be bound beside f; it may listen already.
func shareAddress(f *os.File) error {
	return control(f, func(fd int) error {
		return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
}

// endpointOf is what a TCP socket is bound to.
func endpointOf(f *os.File) (at endpoint, err error) {
	err = control(f, func(fd int) error {
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return os.NewSyscallError("getsockname", err)
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			at.addr, at.port = netip.AddrFrom4(sa.Addr), sa.Port
		case *unix.SockaddrInet6:
			only, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			if err != nil {
				return os.NewSyscallError("getsockopt", err)
			}
			at.addr, at.port, at.zone, at.dual = netip.AddrFrom16(sa.Addr), sa.Port, sa.ZoneId, only == 0
		default:
			return os.NewSyscallError("getsockname", unix.EAFNOSUPPORT)
		}
		return nil
	})
	return at, err
}

func noGroup(l spec.Listener) error {
	return fault.New(fault.Bind, "%s cannot have a socket for each slot: the system has groups of sockets for TCP only", l.Key()).
		WithFix("write balance: shared, or listen on a TCP port").At(place(l))
}

func closeFiles(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
