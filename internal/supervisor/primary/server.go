package primary

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// server is a listener as workers know it.
type server struct {
	p        *Primary
	was      record.Asked // what it is
	declared bool
	// file is the socket of a slot. Of one that was asked for it is among files,
	// which are ours.
	file  func(slot int) *os.File
	files []*os.File
	door  *handoff.Door // nil: nothing is dealt
	users int           // members that have it
}

// offer fits a declared one to its listener.
func (s *server) offer(o Offered) {
	s.was.Listener = record.Listener{Spec: o.Spec, Addr: o.Addr, Balance: o.Balance}
	s.file, s.door = o.File, o.Door
}

// hands says whether workers get the socket itself.
func (s *server) hands() bool {
	switch s.was.Listener.Balance {
	case spec.BalanceRoundRobin, spec.BalanceLeast:
		return s.door == nil
	}
	return true
}

// sockname is its address for a worker that does not get the socket; nil for a UNIX
// socket, whose path the worker knows.
func (s *server) sockname() *nodejs.Sockname {
	addr, err := netip.ParseAddrPort(s.was.Listener.Addr)
	if err != nil {
		return nil
	}
	family := "IPv6"
	if addr.Addr().Is4() {
		family = "IPv4"
	}
	return &nodejs.Sockname{Address: addr.Addr().String(), Family: family, Port: int(addr.Port())}
}

// text is the server for people: "tcp://:8000 (slots)".
func (s *server) text() string {
	l := s.was.Listener
	address := l.Spec.Key()
	if _, port, err := net.SplitHostPort(l.Addr); err == nil {
		if head, ok := strings.CutSuffix(address, ":0"); ok {
			address = head + ":" + port
		}
	}
	return address + " (" + string(l.Balance) + ")"
}

// storeName is where the Store has the socket of a slot.
func (s *server) storeName(slot int) string {
	name := askedPrefix + s.p.o.App + "/" + s.was.Listener.Spec.Key()
	if s.was.Index > 0 {
		name += "," + strconv.Itoa(s.was.Index)
	}
	if slot > 0 {
		name += "#" + strconv.Itoa(slot)
	}
	return name
}

// bind makes what a worker asks for. Nothing is left of it on an error.
func (p *Primary) bind(key string, a listener.Asked, index int) (*server, error) {
	l := a.Spec()
	balance := p.balance(l)
	slots := 0
	if balance == spec.BalanceSlots {
		slots = max(1, p.o.Slots())
	}
	files, err := p.o.Bind(a, slots)
	if err != nil {
		return nil, p.otherApp(l, fault.From(err))
	}
	s := &server{p: p, files: files, was: record.Asked{
		Key: key, Index: index,
		Listener: record.Listener{Spec: l, Addr: listener.Addr(files[0]), Balance: balance, Slots: slots},
	}}
	s.was.Listener.Inode, err = listener.Inode(files[0])
	for i := 0; i < len(files) && err == nil; i++ {
		err = p.o.Store.Put(s.storeName(i), files[i])
	}
	if err == nil {
		err = s.open()
	}
	if err != nil {
		s.release()
		return nil, fault.New(fault.Bind, "cannot keep the listener %s: %w", l.Key(), err)
	}
	return s, nil
}

// balance of a listener: without a loop there is but one.
func (p *Primary) balance(l spec.Listener) spec.Balance {
	if p.o.Loop == nil || strings.HasPrefix(l.Network, "udp") {
		return spec.BalanceShared
	}
	return p.o.Balance(l)
}

// open has a Door deal the connections, where one is needed.
func (s *server) open() error {
	s.file = func(slot int) *os.File { return s.files[slot%len(s.files)] }
	balance, key := s.was.Listener.Balance, s.was.Listener.Spec.Key()
	if balance == spec.BalanceShared || s.p.o.Loop == nil {
		return nil
	}
	door, err := s.p.o.Loop.Open(handoff.DoorOptions{
		Policy: balance, Sockets: s.files,
		Stuck: func(slot int, stuck bool, waiting int) {
			s.p.o.Blocked(slot, handoff.Blocked(key, stuck, waiting), !stuck)
		},
		Warn: func(err error) {
			s.p.o.Warn("", fault.New(fault.Bind, "%s: connections wait: %w", key, err).At(s.p.o.App))
		},
	})
	if err == nil {
		s.door = door
	}
	return err
}

// otherApp adds which app of the project has the address that is in use.
func (p *Primary) otherApp(l spec.Listener, f *fault.Fault) *fault.Fault {
	if f.Code != fault.PortInUse {
		return f
	}
	for _, h := range record.Holders(p.o.Store.List(), l.Key()) {
		if h.App != p.o.App {
			return f.WithFix("the app " + h.App + " has it: have this one listen on another port, or make both one app")
		}
	}
	return f.WithFix("stop that process, or have the program listen elsewhere")
}

// restore finds a listener of an earlier Primary. nil: it is lost.
func (p *Primary) restore(a record.Asked) (*server, *fault.Fault) {
	s := &server{p: p, was: a}
	for i := range max(1, a.Listener.Slots) {
		f, err := p.o.Store.Get(s.storeName(i))
		if f == nil || err != nil {
			break
		}
		file, err := listener.Unpolled(f)
		f.Close()
		if err != nil {
			break
		}
		s.files = append(s.files, file)
	}
	if len(s.files) == 0 {
		return nil, fault.New(fault.Bind, "the listener %s is lost", a.Listener.Spec.Key()).At(p.o.App)
	}
	var f *fault.Fault
	if n := len(s.files); n < a.Listener.Slots {
		f = fault.New(fault.Bind, "the listener %s has lost %d of its sockets", a.Listener.Spec.Key(), a.Listener.Slots-n).At(p.o.App)
		s.was.Listener.Slots = n
	}
	if err := s.open(); err != nil {
		f = fault.New(fault.Bind, "the connections of %s cannot be dealt: %w", a.Listener.Spec.Key(), err).At(p.o.App)
	}
	return s, f
}

// grow adds sockets up to n.
func (s *server) grow(n int) error {
	more, err := listener.GrowGroup(s.was.Listener.Spec, s.files, n)
	if err != nil {
		return err
	}
	for i, f := range more {
		if err := s.p.o.Store.Put(s.storeName(len(s.files)+i), f); err != nil {
			s.forget(len(s.files), len(s.files)+i)
			for _, f := range more {
				f.Close()
			}
			return fault.New(fault.Bind, "cannot keep the listener %s: %w", s.was.Listener.Spec.Key(), err)
		}
	}
	return s.resized(append(s.files, more...))
}

// shrink closes sockets down to n; what waits in them is dealt to others first.
func (s *server) shrink(n int) {
	if n >= len(s.files) {
		return
	}
	gone := s.files[n:]
	if err := s.resized(s.files[:n:n]); err != nil {
		s.p.o.Warn("", fault.New(fault.Bind, "%s has fewer sockets now, and what waited behind them may be lost: %w", s.text(), err).At(s.p.o.App))
	}
	s.forget(n, n+len(gone))
	for _, f := range slices.Backward(gone) { // a group closes from its end
		f.Close()
	}
}

func (s *server) resized(files []*os.File) error {
	s.files, s.was.Listener.Slots = files, len(files)
	if s.door == nil {
		return nil
	}
	return s.door.Resize(files)
}

// forget takes the sockets of slots out of the Store.
func (s *server) forget(from, to int) {
	for i := from; i < to; i++ {
		if f, err := s.p.o.Store.Take(s.storeName(i)); err == nil && f != nil {
			f.Close()
		}
	}
}

// close leaves the sockets to a successor.
func (s *server) close() {
	if s.door != nil {
		s.door.Close()
	}
	for _, f := range s.files {
		f.Close()
	}
	s.files, s.door = nil, nil
}

// release closes the listener for good.
func (s *server) release() {
	if len(s.files) > 0 {
		_ = listener.Unlink(s.was.Listener.Spec, s.files[0]) // its directory may be gone
	}
	s.forget(0, len(s.files))
	s.close()
}
