package process

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// recordPrefix keeps the names of records apart from those of sockets.
const recordPrefix = "record/"

// Records keeps small texts in a Store, each in a sealed memory file: they need
// no disk, and live as long as the processes they are about. Safe for concurrent
// use, as the Store is.
type Records struct{ Store Store }

// Save replaces the record of a name in one step: whoever loads it sees the old
// text or the new one.
func (r Records) Save(name string, text []byte) error {
	f, err := memoryFile(name, text)
	if err != nil {
		return err
	}
	defer f.Close()
	return r.Store.Put(recordPrefix+name, f)
}

// Load returns the record of a name, nil when there is none.
func (r Records) Load(name string) ([]byte, error) {
	f, err := r.Store.Get(recordPrefix + name)
	if f == nil || err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// The place in the file is shared with every other copy of it: not Read.
	return io.ReadAll(io.NewSectionReader(f, 0, info.Size()))
}

// Forget removes a record; one that is not there is no error.
func (r Records) Forget(name string) error {
	f, err := r.Store.Take(recordPrefix + name)
	if f != nil {
		f.Close()
	}
	return err
}

// Names lists the records whose names begin with prefix, sorted.
func (r Records) Names(prefix string) []string {
	var names []string
	for _, name := range r.Store.List() {
		if name, ok := strings.CutPrefix(name, recordPrefix+prefix); ok {
			names = append(names, prefix+name)
		}
	}
	return names
}

// memoryFile makes a file without a name that holds a text and cannot be changed.
func memoryFile(name string, text []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("muster "+name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.Write(text)
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS,
			unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot keep the record %s: %w", name, err)
	}
	return f, nil
}
