package process

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// DirectStore is a Store in this process's own descriptor table. It holds raw
// descriptors: an os.File would make this process's poller wake up for every
// connection to a listener that is only kept here.
type DirectStore struct {
	mu  sync.Mutex
	fds map[string]int
}

// NewDirectStore makes an empty one.
func NewDirectStore() *DirectStore { return &DirectStore{fds: map[string]int{}} }

// Put implements Store.
func (s *DirectStore) Put(name string, f *os.File) error {
	return WithFDs([]*os.File{f}, func(fds []int) error {
		fd, err := duplicate(fds[0])
		if err == nil {
			s.Hold(name, fd)
		}
		return err
	})
}

// Hold is Put of a descriptor that it takes over.
func (s *DirectStore) Hold(name string, fd int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.fds[name]; ok {
		unix.Close(old)
	}
	s.fds[name] = fd
}

// Get implements Store.
func (s *DirectStore) Get(name string) (f *os.File, err error) {
	s.Lend(name, func(fd int) {
		if fd, err = duplicate(fd); err == nil {
			f = os.NewFile(uintptr(fd), name)
		}
	})
	return f, err
}

// Lend calls use with a descriptor that stays the Store's own; false: there is
// none of that name.
func (s *DirectStore) Lend(name string, use func(fd int)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := s.fds[name]
	if ok {
		use(fd)
	}
	return ok
}

// Take implements Store.
func (s *DirectStore) Take(name string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fd, ok := s.fds[name]
	if !ok {
		return nil, nil
	}
	delete(s.fds, name)
	return os.NewFile(uintptr(fd), name), nil
}

// Forget closes what is held by a name, if anything is.
func (s *DirectStore) Forget(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fd, ok := s.fds[name]; ok {
		unix.Close(fd)
		delete(s.fds, name)
	}
}

// List implements Store; it is sorted.
func (s *DirectStore) List() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.fds))
	for name := range s.fds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Close closes what it holds.
func (s *DirectStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	clear(s.fds)
	return nil
}

// duplicate copies a descriptor with CLOEXEC.
func duplicate(fd int) (int, error) {
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
	return fd, os.NewSyscallError("fcntl", err)
}
