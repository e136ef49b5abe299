package generation

import (
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

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

// Record is the listener as a successor needs it.
func (b *Listener) Record() record.Listener {
	return record.Listener{Spec: b.Spec, Inode: b.Inode, Addr: b.Addr, Fresh: b.fresh}
}

// Restore makes a generation again. A listener that cannot be had is a fault, and
// its File is nil: no worker can be started with it.
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
	b := &Listener{Spec: was.Spec, Inode: was.Inode, Addr: was.Addr, fresh: was.Fresh}
	name := storeName(pool, was.Spec)
	s.mu.Lock()
	defer s.mu.Unlock()
	file := s.open[name]
	if file == nil {
		file = s.get(name)
	}
	if file == nil {
		return b, fault.New(fault.Bind, "the listener %s is lost", was.Spec.Key())
	}
	var f *fault.Fault
	inode, err := listener.Inode(file)
	if err != nil {
		f = fault.From(err)
	} else if inode != was.Inode {
		// What workers that run have is not what new ones get.
		f = fault.New(fault.Bind, "the listener %s is another socket than before", was.Spec.Key())
		b.Inode = inode
	}
	b.File = s.sharedBy(file, inode)
	s.holds(name, b.File)
	return b, f
}

// sharedBy is the file that is open for a socket already, else file; mu is held.
// Two apps that have one socket have one file.
func (s *Sockets) sharedBy(file *os.File, inode uint64) *os.File {
	for _, other := range s.open {
		if other == file {
			return file
		}
		if n, err := listener.Inode(other); err == nil && n == inode {
			file.Close()
			return other
		}
	}
	return file
}

// kept finds a socket that is in the Store, but not open here: an earlier agent
// has bound it and died before it was told of.
func (s *Sockets) kept(name string, l spec.Listener) *os.File {
	for _, other := range s.Store.List() {
		if other == name || strings.HasPrefix(other, listenPrefix) && sameSocket(other, l) {
			if file := s.get(other); file != nil {
				return file
			}
		}
	}
	return nil
}

// get is a file over a socket in the Store, nil when there is none.
func (s *Sockets) get(name string) *os.File {
	f, err := s.Store.Get(name)
	if f == nil || err != nil {
		return nil
	}
	defer f.Close()
	file, err := unpolled(f)
	if err != nil {
		return nil
	}
	return file
}

// unpolled is another file over the same socket, which the runtime's poller does
// not watch whatever its mode: workers may have made it non-blocking for all, and
// then every connection would wake the agent. The mode is left alone: it is
// theirs, too.
func unpolled(f *os.File) (*os.File, error) {
	fd, err := unix.MemfdCreate(f.Name(), unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	file := os.NewFile(uintptr(fd), f.Name()) // a blocking file: not polled, for good
	raw, err := f.SyscallConn()
	if err == nil {
		inner := error(nil)
		err = raw.Control(func(socket uintptr) { inner = unix.Dup3(int(socket), fd, syscall.O_CLOEXEC) })
		if err == nil {
			err = os.NewSyscallError("dup3", inner)
		}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// KeepRest takes over what is in the Store and belongs to no listener that was
// restored: an earlier agent had bound it for what it was about to start. What
// pending says is still to be started uses it; the rest is closed by
// DropPrebound, at once where pending says no.
func (s *Sockets) KeepRest(pending func(app string) bool) {
	for _, name := range s.Store.List() {
		s.mu.Lock()
		known := s.open[name] != nil
		s.mu.Unlock()
		if known || !strings.HasPrefix(name, listenPrefix) {
			continue
		}
		app, key := nameParts(name)
		network, address, _ := strings.Cut(key, "://")
		file := s.get(name)
		if file == nil {
			continue
		}
		s.keepRest(name, &Listener{Spec: spec.Listener{Network: network, Address: address}, File: file, fresh: true})
		if !pending(app) {
			s.Release(app, []*Listener{s.takePrebound(name)})
		}
	}
}

func (s *Sockets) keepRest(name string, b *Listener) {
	b.Inode, _ = listener.Inode(b.File)
	b.Addr = listener.Addr(b.File)
	s.mu.Lock()
	defer s.mu.Unlock()
	b.File = s.sharedBy(b.File, b.Inode)
	s.holds(name, b.File)
	if s.prebound == nil {
		s.prebound = map[string]*Listener{}
	}
	s.prebound[name] = b
}

// Leave leaves the sockets in the Store, where a successor finds them: from now
// on nothing is released.
func (s *Sockets) Leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left = true
}

// Close closes what is open here after Leave.
func (s *Sockets) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var closed []*os.File
	for _, file := range s.open {
		if !slices.Contains(closed, file) {
			file.Close()
			closed = append(closed, file)
		}
	}
	s.open, s.prebound = nil, nil
}
