package handoff

import (
	"os"

	"golang.org/x/sys/unix"
)

// watcher waits for a descriptor. ready is called on the thread, without l.mu, with
// what epoll found.
type watcher interface{ ready(found uint32) }

// ref names a watcher in events. Events that are on their way when a watcher is
// removed name one that is no more: generations tell it from its successor.
type ref struct{ index, generation int32 }

// set is who waits; guarded by Loop.mu.
type set struct {
	list []entry
	free []int32
}

type entry struct {
	watcher    watcher
	generation int32
}

func (s *set) add(w watcher) ref {
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		s.list[i].watcher = w
		return ref{i, s.list[i].generation}
	}
	s.list = append(s.list, entry{watcher: w})
	return ref{int32(len(s.list) - 1), 0}
}

func (s *set) remove(r ref) {
	e := &s.list[r.index]
	if e.generation == r.generation {
		e.watcher = nil
		e.generation++
		s.free = append(s.free, r.index)
	}
}

func (s *set) find(e *unix.EpollEvent) watcher {
	if found := s.list[e.Fd]; found.generation == e.Pad {
		return found.watcher
	}
	return nil
}

// control changes what the kernel waits for.
func (l *Loop) control(op, fd int, events uint32, r ref) error {
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: r.index, Pad: r.generation}))
}
