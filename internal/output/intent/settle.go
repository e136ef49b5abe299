package intent

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// settle finds out what became of the write that a note announced, undoes one
// that was not completed, and returns the sources with their places after it.
func (n *note) settle(warn func(*fault.Fault)) []noted {
	list := n.list
	if !n.undo(warn) {
		return list
	}
	for i := range list {
		list[i].after = list[i].before
	}
	return list
}

// undo returns whether the write was not completed; what it has left is removed.
// A file that is gone, or shorter than before, was moved or truncated since
// then: what it held was complete.
func (n *note) undo(warn func(*fault.Fault)) bool {
	f := n.open()
	if f == nil {
		return false
	}
	defer f.Close()
	st, err := statOf(f)
	if err != nil || st.Size < n.Before || st.Size >= n.After {
		return false
	}
	if st.Size == n.Before {
		return true
	}
	if err := f.Truncate(n.Before); err != nil {
		// The next writer closes the torn line.
		warn(fault.New(fault.LogWrite, "a torn line in the log %s cannot be removed: %w", n.Path, err))
	}
	return true
}

// open returns the file that a note is about, also when it was moved within its
// directory; nil: it is not there.
func (n *note) open() *os.File {
	if n.Path == "" {
		return nil
	}
	if f := n.openAs(n.Path); f != nil {
		return f
	}
	dir, err := os.ReadDir(filepath.Dir(n.Path))
	if err != nil {
		return nil
	}
	for _, e := range dir {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && IDOf(st) == n.File {
			return n.openAs(filepath.Join(filepath.Dir(n.Path), e.Name()))
		}
	}
	return nil
}

func (n *note) openAs(path string) *os.File {
	f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	if st, err := statOf(f); err == nil && st.Mode&syscall.S_IFMT == syscall.S_IFREG && IDOf(st) == n.File {
		return f
	}
	f.Close()
	return nil
}

func statOf(f *os.File) (*syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return info.Sys().(*syscall.Stat_t), nil
}
