package generation

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// Sockets are the listeners of all apps of one agent. Safe for concurrent use.
type Sockets struct {
	Store process.Store
	// Bind makes a listening socket.
	Bind func(spec.Listener) (*os.File, error)

	mu       sync.Mutex
	prebound map[string]*Listener // by Store name; see Prebind
	open     map[string]*os.File  // by Store name
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
			b, err := s.bind(app.Name, l)
			if err != nil {
				s.DropPrebound(none)
				return fault.From(err)
			}
			s.mu.Lock()
			if s.prebound == nil {
				s.prebound = map[string]*Listener{}
			}
			s.prebound[name] = b
			s.mu.Unlock()
		}
	}
	return nil
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

// bind makes a listener and puts a copy into the Store, where it stays until
// its app is stopped or removed. A socket that another app still holds, and
// gives up in the same Apply, is shared, so that its backlog is kept.
func (s *Sockets) bind(pool string, l spec.Listener) (*Listener, error) {
	name := storeName(pool, l)
	if b := s.takePrebound(name); b != nil {
		b.Spec = l
		return b, nil
	}
	file := s.inherit(l)
	if file == nil {
		file = s.kept(name, l)
	}
	if file == nil {
		bound, err := s.Bind(l)
		if err != nil {
			return nil, fault.From(err).At(pool)
		}
		file = bound
	}
	inode, err := listener.Inode(file)
	if err == nil {
		err = s.Store.Put(name, file)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.discard(l, file)
		return nil, fault.New(fault.Bind, "cannot keep the listener %s: %w", l.Key(), err).At(pool)
	}
	s.holds(name, file)
	return &Listener{Spec: l, File: file, Inode: inode, Addr: listener.Addr(file), fresh: true}, nil
}

// inherit finds a socket that another app holds. It is the same *os.File: a
// second one over a socket that workers have made non-blocking would be watched
// by the runtime's poller, and every connection would wake the agent.
func (s *Sockets) inherit(l spec.Listener) *os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, file := range s.open {
		if sameSocket(name, l) {
			return file
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

// discard closes a socket that no app holds any more; mu is held.
func (s *Sockets) discard(l spec.Listener, file *os.File) {
	for _, f := range s.open {
		if f == file {
			return
		}
	}
	_ = listener.Unlink(l, file)
	file.Close()
}

// Release closes listeners for good. A socket that another app has taken over
// stays.
func (s *Sockets) Release(pool string, listeners []*Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return
	}
	for _, b := range listeners {
		if b.File == nil {
			continue
		}
		name := storeName(pool, b.Spec)
		if kept, err := s.Store.Take(name); err == nil && kept != nil {
			kept.Close()
		}
		delete(s.open, name)
		s.discard(b.Spec, b.File)
	}
}

// holds notes a socket that is open here; mu is held.
func (s *Sockets) holds(name string, file *os.File) {
	if s.open == nil {
		s.open = map[string]*os.File{}
	}
	s.open[name] = file
}

// listenPrefix of the names of listeners in the Store.
const listenPrefix = "listen/"

// storeName is a listener's name in the Store. It derives from the address, so that a later agent finds it.
func storeName(pool string, l spec.Listener) string { return listenPrefix + pool + "/" + l.Key() }

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
