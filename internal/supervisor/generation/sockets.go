package generation

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Sockets are the listeners of all apps of one agent. Safe for concurrent use; the
// fields are set before its first use.
type Sockets struct {
	Store process.Store
	// Bind makes a listening socket.
	Bind func(spec.Listener) (*os.File, error)
	// Loop deals connections. nil: every listener is shared.
	Loop *handoff.Loop
	// Balance resolves how the connections of a listener get to the workers; nil:
	// shared.
	Balance func(spec.App, spec.Listener) spec.Balance
	// Warn is told what a Door notices, of the worker of a slot or (-1) of the app, and
	// (over) that it has ended. May be nil.
	Warn func(app string, slot int, f *fault.Fault, over bool)

	mu       sync.Mutex           // taken before that of an address
	prebound map[string]*Listener // by Store name; see Prebind
	open     map[string]*address  // by Store name of the first socket
	left     bool                 // a successor has the sockets
}

// Prebind binds every listener of the apps that is new, before anything is
// touched; on a fault none of them stays bound.
func (s *Sockets) Prebind(apps []spec.App) *fault.Fault {
	kept := s.Store.List()
	for _, app := range apps {
		for _, l := range owned(app) {
			name := storeName(app.Name, l)
			if slices.Contains(kept, name) {
				continue
			}
			b, err := s.bind(app, l)
			if err != nil {
				s.DropPrebound(none)
				return fault.From(err)
			}
			s.keepPrebound(name, b)
		}
	}
	return nil
}

func (s *Sockets) keepPrebound(name string, b *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.prebound == nil {
		s.prebound = map[string]*Listener{}
	}
	s.prebound[name] = b
}

// takePrebound hands a listener bound in advance to the generation that uses it.
func (s *Sockets) takePrebound(name string) *Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.prebound[name]
	delete(s.prebound, name)
	return b
}

// DropPrebound closes what no generation has taken, but for the apps that keep
// names (a start that still waits for a dependency binds again).
func (s *Sockets) DropPrebound(keep func(app string) bool) {
	left := map[string]*Listener{}
	s.mu.Lock()
	for name, b := range s.prebound {
		if app, _ := nameParts(name); !keep(app) {
			left[name] = b
			delete(s.prebound, name)
		}
	}
	s.mu.Unlock()
	for name, b := range left {
		app, _ := nameParts(name)
		s.Release(app, []*Listener{b})
	}
}

func none(string) bool { return false }

// bind makes a listener and puts copies of its sockets into the Store, where they
// stay until its app is stopped or removed. What another app still holds, and
// gives up in the same Apply, is shared, so that its backlog is kept.
func (s *Sockets) bind(app spec.App, l spec.Listener) (*Listener, error) {
	b := s.takePrebound(storeName(app.Name, l))
	if b == nil {
		a, err := s.find(app, l)
		if err != nil {
			return nil, fault.From(err).At(app.Name)
		}
		b = newListener(l, a)
	}
	b.Spec = l
	err := s.settle(b.at, app, l)
	if err == nil {
		err = s.grow(app.Name, b, app.Workers)
	}
	if err != nil {
		s.Release(app.Name, []*Listener{b})
		return nil, fault.From(err).At(app.Name)
	}
	return b, nil
}

// find is the address of a listener: another app's, one that an earlier agent has
// bound, or a new one. It is in the Store, and open under its name.
func (s *Sockets) find(app spec.App, l spec.Listener) (*address, error) {
	name := storeName(app.Name, l)
	a := s.inherit(l)
	if a == nil {
		a = s.kept(name, l)
	}
	if a == nil {
		made, err := s.make(app, l)
		if err != nil {
			return nil, s.heldBy(app.Name, l, fault.From(err))
		}
		a = made
	}
	err := s.putAll([]string{name}, a.files(), 0)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.discard(l, a)
		return nil, fault.New(fault.Bind, "cannot keep the listener %s: %w", l.Key(), err)
	}
	s.holds(name, a)
	return a, nil
}

// heldBy adds who of the project has an address that is in use, and what to do.
func (s *Sockets) heldBy(app string, l spec.Listener, f *fault.Fault) *fault.Fault {
	if f.Code != fault.PortInUse {
		return f
	}
	for _, h := range record.Holders(s.Store.List(), l.Key()) {
		switch {
		case h.App != app:
			return f.WithFix("the app " + h.App + " has it: choose another address, or make both one app")
		case h.Asked:
			return f.WithFix(fmt.Sprintf("muster holds it for the workers of %s, which have asked for it themselves: `muster stop %s`, then `muster up`", app, app))
		}
	}
	return f
}

// make binds a listener that is nowhere yet.
func (s *Sockets) make(app spec.App, l spec.Listener) (*address, error) {
	balance := s.balanceOf(app, l)
	var files []*os.File
	if balance == spec.BalanceSlots {
		group, err := listener.BindGroup(l, max(1, app.Workers))
		if err != nil {
			return nil, err
		}
		files = group
	} else {
		file, err := s.Bind(l)
		if err != nil {
			return nil, err
		}
		files = []*os.File{file}
	}
	a, err := newAddress(files)
	if err != nil {
		closeAll(files)
		return nil, err
	}
	a.balance = balance
	return a, nil
}

// putAll keeps copies of sockets under the names, the first as that of a slot. On
// an error none of them stays.
func (s *Sockets) putAll(names []string, files []*os.File, first int) error {
	for n, name := range names {
		for k, f := range files {
			err := s.Store.Put(slotName(name, first+k), f)
			if err == nil {
				continue
			}
			for _, put := range names[:n+1] {
				s.forgetSlots(put, first)
			}
			return err
		}
	}
	return nil
}

// forgetSlots takes the sockets from a slot on out of the Store, the last first, so
// that a successor never finds one without those before it.
func (s *Sockets) forgetSlots(name string, from int) {
	names := s.Store.List()
	for k := from; ; k++ {
		if slices.Contains(names, slotName(name, k)) {
			continue
		}
		for k--; k >= from; k-- {
			s.forget(slotName(name, k))
		}
		return
	}
}

func (s *Sockets) forget(name string) {
	if kept, err := s.Store.Take(name); err == nil && kept != nil {
		kept.Close()
	}
}

// inherit finds the address that another app holds. It is the same *os.File: a
// second one over a socket that workers have made non-blocking would be watched
// by the runtime's poller, and every connection would wake the agent.
func (s *Sockets) inherit(l spec.Listener) *address {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, a := range s.open {
		if sameSocket(name, l) {
			return a
		}
	}
	return nil
}

// sameSocket: a name in the Store stands for the listener's address. A port
// chosen by the system (0) is never the same.
func sameSocket(name string, l spec.Listener) bool {
	_, key := nameParts(name)
	return key == l.Key() && !strings.HasSuffix(key, ":0")
}

// discard closes an address that no app holds any more; mu is held.
func (s *Sockets) discard(l spec.Listener, a *address) {
	for _, other := range s.open {
		if other == a {
			return
		}
	}
	for _, f := range a.files() {
		_ = listener.Unlink(l, f)
	}
	a.close()
}

// Release closes listeners for good. An address that another app has taken over
// stays.
func (s *Sockets) Release(pool string, listeners []*Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return
	}
	for _, b := range listeners {
		if len(b.at.list()) == 0 {
			continue
		}
		name := storeName(pool, b.Spec)
		s.forgetSlots(name, 0)
		delete(s.open, name)
		s.discard(b.Spec, b.at)
	}
}

// holds notes an address that is open here; mu is held.
func (s *Sockets) holds(name string, a *address) {
	if s.open == nil {
		s.open = map[string]*address{}
	}
	s.open[name] = a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.app, _ = nameParts(name)
}

// namesOf are the names under which an address is open, one for each app.
func (s *Sockets) namesOf(a *address) (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, other := range s.open {
		if other == a {
			names = append(names, name)
		}
	}
	return names
}

// listenPrefix of the names of listeners in the Store.
const listenPrefix = record.Declared

// storeName is a listener's name in the Store, that of its first socket. It derives
// from the address, so that a later agent finds it.
func storeName(pool string, l spec.Listener) string { return listenPrefix + pool + "/" + l.Key() }

// slotName is the name of a listener's socket of a slot.
func slotName(name string, slot int) string {
	if slot == 0 {
		return name
	}
	return fmt.Sprintf("%s#%d", name, slot)
}

// isFirst: a name is not that of a slot above 0.
func isFirst(name string) bool { return !mayHaveSlots(name) || !strings.Contains(name, "#") }

// mayHaveSlots: only TCP has them; its addresses have no "#" of their own, nor have
// names of apps.
func mayHaveSlots(name string) bool {
	_, key := nameParts(name)
	return strings.HasPrefix(key, "tcp")
}

// nameParts are the app and the listener's key in a name in the Store.
func nameParts(name string) (app, key string) {
	app, key, _ = strings.Cut(strings.TrimPrefix(name, listenPrefix), "/")
	return app, key
}

// owned are an app's listeners; a unix socket belongs to the app's user unless
// something else is written.
func owned(app spec.App) []spec.Listener {
	list := slices.Clone(app.Listen)
	for i := range list {
		if list[i].Network == "unix" && list[i].Owner == "" {
			list[i].Owner = app.User
		}
	}
	return list
}
