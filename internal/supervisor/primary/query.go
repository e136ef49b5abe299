package primary

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
)

// The flags of a query, as libuv has them.
const (
	flagOnly6 = 1
	flagReuse = 4 // of a datagram socket
)

// firstFD is the descriptor of the first inherited listener.
const firstFD = 3

// path is the type of a query for a UNIX socket.
const path = "-1"

func datagram(q nodejs.Query) bool { return strings.HasPrefix(q.Type, "udp") }

// keyOf names what is asked for as Node does since 22: the index counts only where
// the system chooses the port.
func keyOf(q nodejs.Query) string {
	key := fmt.Sprintf("%s:%d:%s", q.Address, q.Port, q.Type)
	if q.Port == 0 {
		key += fmt.Sprintf(":%d", q.Index)
	}
	return key
}

// name is the key of what is asked for. found is a declared listener, nil when it is
// none. The error is for a descriptor that is not the worker's business.
func name(q nodejs.Query, offered []Offered) (key string, found *Offered, err error) {
	if q.FD >= 0 {
		i := q.FD - firstFD
		if i < 0 || i >= len(offered) || datagram(q) != strings.HasPrefix(offered[i].Spec.Network, "udp") {
			return "", nil, fault.New(fault.Bind, "it asks to listen on descriptor %d: %w", q.FD, unix.EINVAL).
				WithFix(inheritedFix(len(offered)))
		}
		return offered[i].Spec.Key(), &offered[i], nil
	}
	if found = matching(q, offered); found != nil {
		return found.Spec.Key(), found, nil
	}
	return keyOf(q), nil, nil
}

func inheritedFix(n int) string {
	if n == 0 {
		return "listen on a port, or declare the listener under listen:"
	}
	return fmt.Sprintf("the listeners under listen: are the descriptors %d to %d", firstFD, firstFD+n-1)
}

// matching is the declared listener that serves what is asked for: the same address;
// else one for every address; else, where every address is asked for, the only one on
// that port. What is declared may thus be narrower than what the program says.
func matching(q nodejs.Query, offered []Offered) *Offered {
	var best *Offered
	rank, same := 0, 0
	for i := range offered {
		switch r := fit(q, offered[i]); {
		case r > rank:
			best, rank, same = &offered[i], r, 1
		case r == rank && r > 0:
			same++
		}
	}
	if rank == narrow && same > 1 {
		return nil
	}
	return best
}

// How well a declared listener fits.
const (
	narrow = 1 + iota // every address is asked for, one is declared
	wide              // one is asked for, every one is declared
	exact
)

func fit(q nodejs.Query, o Offered) int {
	if q.Type == path {
		if q.Address != "" && (o.Addr == q.Address || o.Spec.Network == "unix" && o.Spec.Address == q.Address) {
			return exact
		}
		return 0
	}
	has, err := netip.ParseAddrPort(o.Addr)
	if err != nil || datagram(q) != strings.HasPrefix(o.Spec.Network, "udp") || int(has.Port()) != q.Port || q.Port == 0 {
		return 0
	}
	asks, err := netip.ParseAddr(q.Address)
	everywhere := q.Address == "" || err == nil && asks.IsUnspecified()
	switch all := has.Addr().IsUnspecified(); {
	case q.Address != "" && err != nil:
		return 0
	case everywhere && all, asks == has.Addr():
		return exact
	case everywhere:
		return narrow
	case all && (asks.Is4() == has.Addr().Is4() || dual(o)):
		return wide
	}
	return 0
}

// dual: it takes IPv4 beside IPv6.
func dual(o Offered) bool {
	return !strings.HasSuffix(o.Spec.Network, "6") && strings.HasPrefix(o.Addr, "[::]")
}

// askedFor is a query as the listener room wants it.
func (p *Primary) askedFor(q nodejs.Query) listener.Asked {
	a := listener.Asked{Kind: q.Type, Address: q.Address, Port: q.Port, Backlog: q.Backlog, Only6: q.Flags&flagOnly6 != 0}
	switch {
	case q.Type == path:
		a.Kind, a.Owner, a.Readable, a.Writable = "unix", p.o.User, q.Readable, q.Writable
	case datagram(q):
		a.Reuse = q.Flags&flagReuse != 0
	}
	return a
}

// serve finds or makes the server for a query; m must not have it yet.
func (p *Primary) serve(m *Member, q nodejs.Query) (*server, error) {
	key, found, err := name(q, m.j.Offered)
	if err != nil {
		return nil, err
	}
	if pl := m.servers[key]; pl != nil && !m.lost(pl) {
		return nil, fault.New(fault.PortInUse, "it listens on %s already: %w", pl.server.text(), unix.EADDRINUSE).
			WithFix("close the first server of the program before another listens there")
	}
	if found != nil {
		if s := p.declared[key]; s != nil {
			return s, nil
		}
		return nil, fault.New(fault.Bind, "the listener %s is not there any more: %w", key, unix.EADDRNOTAVAIL)
	}
	for _, s := range p.asked {
		if s.was.Key == key && (p.reachable(s) || s.users > 0) {
			return s, nil
		}
		if s.was.Key == key {
			p.closed(s) // and made anew below
			break
		}
	}
	if len(p.asked) >= maxAsked {
		return nil, fault.New(fault.Bind, "the workers of %s have asked for %d listeners, which is enough: %w", p.o.App, maxAsked, unix.EMFILE).
			WithFix("close those that are not used any more; look for a loop around listen()")
	}
	s, err := p.bind(key, p.askedFor(q), q.Index)
	if err != nil {
		return nil, err
	}
	p.asked = append(p.asked, s)
	return s, nil
}

// maxAsked is how many listeners the workers of an app have at most: each costs the
// agent and the keeper descriptors that others need, too.
const maxAsked = 256

// errno is what a worker is told.
func errno(err error) int {
	if n := listener.Errno(err); n != 0 {
		return int(n)
	}
	return int(syscall.EINVAL)
}

// closed is told that a member has closed a server of its own accord.
func (p *Primary) closed(s *server) {
	if s.users > 0 || s.declared {
		return
	}
	for i, other := range p.asked {
		if other == s {
			p.asked = append(p.asked[:i:i], p.asked[i+1:]...)
			s.release()
			return
		}
	}
}
