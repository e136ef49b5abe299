package dealt

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
)

// firstFD is the descriptor of the first inherited listener.
const firstFD = 3

// Declared is the listener that this process has inherited as descriptor 3+index, which
// is at addr. Nothing is said to muster before the first Accept. alone opens what was
// inherited: when the channel ends the Listener goes on with it. It may be nil.
func (m *Member) Declared(index int, addr net.Addr, alone func() (net.Listener, error)) (*Listener, error) {
	fd := firstFD + index
	q := query{FD: &fd, Type: 4}
	switch at := addr.(type) {
	case *net.TCPAddr:
		q = at4or6(q, at.AddrPort().Addr().Unmap(), at.Port)
	case *net.UnixAddr:
		q.Address, q.Port, q.Type = &at.Name, -1, -1
	}
	l := m.newListener(q, fd, addr)
	l.alone = alone
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.taken[fd] {
		return nil, l.failed("listen", os.NewSyscallError("bind", syscall.EADDRINUSE))
	}
	m.taken[fd] = true
	return l, nil
}

// at4or6 is a query for an IP address.
func at4or6(q query, ip netip.Addr, port int) query {
	q.Port, q.Type = port, 4
	if !ip.IsValid() {
		return q
	}
	text := ip.String()
	q.Address = &text
	if !ip.Is4() {
		q.Type = 6
	}
	return q
}

// Listen asks muster for a listener that was not declared: it is bound by muster, kept
// over reloads, and dealt like the others. The networks are tcp, tcp4, tcp6 and unix,
// the addresses those of net.Listen. ctx ends the waiting for muster's answer.
func (m *Member) Listen(ctx context.Context, network, address string) (*Listener, error) {
	q, addr, err := asking(ctx, network, address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: addr, Err: err}
	}
	m.mu.Lock()
	name := fmt.Sprint(addr, " ", q.Type)
	q.Index = m.indexes[name]
	m.indexes[name]++
	m.mu.Unlock()
	l := m.newListener(q, -1, addr)
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	l.begin.Lock()
	defer l.begin.Unlock()
	err = l.request()
	if !stop() && err != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = l.Close()
		return nil, l.failed("listen", err)
	}
	return l, nil
}

// asking is the query for an address.
func asking(ctx context.Context, network, address string) (query, net.Addr, error) {
	if network == "unix" {
		path, err := filepath.Abs(address)
		return query{Address: &path, Port: -1, Type: -1}, &net.UnixAddr{Net: network, Name: path}, err
	}
	var none query
	switch network {
	case "tcp", "tcp4", "tcp6":
	default:
		return none, nil, net.UnknownNetworkError(network)
	}
	addr, err := resolve(ctx, network, address)
	if err != nil {
		return none, nil, err
	}
	ip := addr.AddrPort().Addr().Unmap()
	switch {
	case addr.IP == nil && network == "tcp4":
		ip = netip.IPv4Unspecified()
	case addr.IP == nil && network == "tcp6":
		ip = netip.IPv6Unspecified()
	}
	q := at4or6(none, ip, addr.Port)
	if network == "tcp6" {
		q.Flags = only6
	}
	return q, addr, nil
}

// resolve looks a name up, as net.Listen does.
func resolve(ctx context.Context, network, address string) (*net.TCPAddr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	number, err := net.DefaultResolver.LookupPort(ctx, network, port)
	if err != nil {
		return nil, err
	}
	if host == "" {
		return &net.TCPAddr{Port: number}, nil
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip"+network[len("tcp"):], host)
	if err != nil {
		return nil, err
	}
	best := ips[0].Unmap()
	for _, ip := range ips { // as net.Listen: IPv4 is the better choice of a name
		if ip = ip.Unmap(); ip.Is4() {
			best = ip
			break
		}
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(best, uint16(number))), nil
}
