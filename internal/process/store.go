package process

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// DirectStore is a Store in this process's own descriptor table.
type DirectStore struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// NewDirectStore makes an empty one.
func NewDirectStore() *DirectStore { return &DirectStore{files: map[string]*os.File{}} }

// Put implements Store.
func (s *DirectStore) Put(name string, f *os.File) error {
	copied, err := duplicate(f)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.files[name]; old != nil {
		old.Close()
	}
	s.files[name] = copied
	return nil
}

// Get implements Store.
func (s *DirectStore) Get(name string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	if f == nil {
		return nil, nil
	}
	return duplicate(f)
}

// Take implements Store.
func (s *DirectStore) Take(name string) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[name]
	delete(s.files, name)
	return f, nil
}

// List implements Store; it is sorted.
func (s *DirectStore) List() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Close closes what it holds.
func (s *DirectStore) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		f.Close()
	}
	clear(s.files)
	return nil
}

// duplicate copies a descriptor with CLOEXEC and leaves the mode of f alone.
func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, inner := -1, error(nil)
	err = raw.Control(func(old uintptr) {
		fd, inner = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3)
	})
	if err == nil {
		err = os.NewSyscallError("fcntl", inner)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
