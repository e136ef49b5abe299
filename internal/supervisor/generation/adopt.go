package generation

import (
	"cmp"
	"os"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Record is the release as a successor needs it.
func (r *Release) Record() record.Release {
	return record.Release{Name: r.Name, App: r.App, Environ: record.JoinEnviron(r.Environ), Dir: r.Dir}
}

// RestoreRelease is the inverse of Record.
func RestoreRelease(was record.Release) *Release {
	return &Release{Name: was.Name, App: was.App, Environ: record.SplitEnviron(was.Environ), Dir: was.Dir}
}

// Restore makes a generation again. A listener that cannot be had is a fault, and
// has no socket: no worker can be started with it.
func Restore(s *Sockets, was record.Generation, rel *Release) (*Generation, []*fault.Fault) {
	gen, err := newGeneration(was.Number, rel)
	if err != nil { // a pattern that an older release understood
		gen = &Generation{Number: was.Number, Release: rel}
		gen.live.Store(rel.App.Health)
		return gen, []*fault.Fault{fault.From(err)}
	}
	var faults []*fault.Fault
	gen.Listeners, faults = s.Restore(rel.App.Name, was.Listeners)
	return gen, faults
}

// Restore finds the listeners of an app again.
func (s *Sockets) Restore(pool string, were []record.Listener) (list []*Listener, faults []*fault.Fault) {
	for _, was := range were {
		b, f := s.restore(pool, was)
		if f != nil {
			faults = append(faults, f.At(pool))
		}
		list = append(list, b)
	}
	return list, faults
}

func (s *Sockets) restore(pool string, was record.Listener) (*Listener, *fault.Fault) {
	b := &Listener{Spec: was.Spec, inode: was.Inode, Addr: was.Addr, fresh: was.Fresh}
	name := storeName(pool, was.Spec)
	if b.at = s.opened(name); b.at == nil {
		a := s.get(name)
		if a == nil {
			return b, fault.New(fault.Bind, "the listener %s is lost", was.Spec.Key())
		}
		b.at = s.sharedBy(name, a)
	}
	var f *fault.Fault
	if _, inode := b.For(0); inode != was.Inode {
		// What workers that run have is not what new ones get.
		f = fault.New(fault.Bind, "the listener %s is another socket than before", was.Spec.Key())
		b.inode = inode
	}
	if err := s.resume(pool, b, was); err != nil && f == nil {
		f = fault.From(err)
	}
	return b, f
}

// resume brings back how connections get to the workers. Records of earlier
// versions do not name it.
func (s *Sockets) resume(pool string, b *Listener, was record.Listener) error {
	b.at.mu.Lock()
	if b.at.balance == "" {
		b.at.balance = cmp.Or(was.Balance, spec.BalanceShared)
	}
	err := s.openDoor(b.at, b.Spec)
	b.at.mu.Unlock()
	if err != nil {
		return err
	}
	return s.grow(pool, b, was.Slots) // the earlier agent was about to close some
}

// opened is what is open under a name, nil for nothing.
func (s *Sockets) opened(name string) *address {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[name]
}

// sharedBy opens an address under a name: what is open for its socket already,
// else a. Two apps that have one socket have one address.
func (s *Sockets) sharedBy(name string, a *address) *address {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, other := range s.open {
		if list := other.list(); len(list) > 0 && list[0].inode == a.sockets[0].inode {
			a.close()
			a = other
			break
		}
	}
	s.holds(name, a)
	return a
}

// kept finds an address that is in the Store, but not open here: an earlier agent
// has bound it and died before it was told of.
func (s *Sockets) kept(name string, l spec.Listener) *address {
	for _, other := range s.Store.List() {
		if other == name || strings.HasPrefix(other, listenPrefix) && sameSocket(other, l) {
			if a := s.get(other); a != nil {
				return a
			}
		}
	}
	return nil
}

// get is what the Store has of a listener, nil when there is nothing: its first
// socket and those of the slots after it without a gap.
func (s *Sockets) get(name string) *address {
	var files []*os.File
	for {
		f, err := s.Store.Get(slotName(name, len(files)))
		if f == nil || err != nil {
			break
		}
		file, err := listener.Unpolled(f)
		f.Close()
		if err != nil {
			break
		}
		files = append(files, file)
		if !mayHaveSlots(name) {
			break
		}
	}
	a, err := newAddress(files)
	if err != nil || len(files) == 0 {
		closeAll(files)
		return nil
	}
	return a
}

// KeepRest takes over what is in the Store and belongs to no listener that was
// restored: an earlier agent had bound it for what it was about to start. What
// pending says is still to be started uses it; the rest is closed by
// DropPrebound, at once where pending says no.
func (s *Sockets) KeepRest(pending func(app string) bool) {
	for _, name := range s.Store.List() {
		if !strings.HasPrefix(name, listenPrefix) || !isFirst(name) || s.opened(name) != nil {
			continue
		}
		a := s.get(name)
		if a == nil {
			continue
		}
		app, key := nameParts(name)
		network, at, _ := strings.Cut(key, "://")
		b := newListener(spec.Listener{Network: network, Address: at}, s.sharedBy(name, a))
		s.keepPrebound(name, b)
		if !pending(app) {
			s.Release(app, []*Listener{s.takePrebound(name)})
		}
	}
}

// Leave leaves the sockets in the Store, where a successor finds them: from now
// on nothing is released, and nothing is accepted here. Call it while the workers'
// channels are still read.
func (s *Sockets) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
	for _, a := range s.open {
		a.shut()
	}
}

// gone: Leave was called.
func (s *Sockets) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// Close closes what is open here after Leave.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.open {
		a.close()
	}
	s.open, s.prebound = nil, nil
}
