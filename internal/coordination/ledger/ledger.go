package ledger

import (
	"fmt"
	"os"
	"sync"

	"github.com/muster-run/muster/fault"
)

// grownMin is the size in bytes below which no ledger has grown, grownTimes how much
// more than the last snapshot it has to be.
const (
	grownMin   = 1 << 20
	grownTimes = 4
)

// Files holds descriptors by name; process.Store does.
type Files interface {
	// Put keeps a duplicate of f; it replaces an earlier one.
	Put(name string, f *os.File) error
	// Get returns a new duplicate, nil when there is none.
	Get(name string) (*os.File, error)
}

// Ledger is a file of records.
type Ledger struct {
	files Files
	name  string

	one     sync.Mutex // around a Snapshot
	mu      sync.Mutex
	file    *os.File
	size    int64 // where the next record goes
	written int64 // by the last snapshot; 0: there was none
	dropped int64
	buf     []byte
	next    *snapshot // that is being written; nil: none
}

// Open finds the ledger of a name, or makes an empty one. Close ends it.
func Open(files Files, name string) (*Ledger, error) {
	l := &Ledger{files: files, name: name}
	if err := l.open(); err != nil {
		return nil, fault.New(fault.Internal, "cannot open the ledger %s: %w", name, err)
	}
	return l, nil
}

func (l *Ledger) open() error {
	f, err := l.files.Get(l.name)
	if err != nil {
		return err
	}
	if f != nil {
		if found, err := l.adopt(f); found || err != nil {
			return err
		}
	}
	if l.file, err = newFile(l.name); err != nil {
		return err
	}
	l.size = int64(len(mark))
	if err := l.files.Put(l.name, l.file); err != nil {
		l.file.Close()
		return err
	}
	return nil
}

// adopt takes over a file that an earlier agent has left, and cuts off what is damaged.
// One that is no ledger is closed.
func (l *Ledger) adopt(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return false, err
	}
	end, _ := scan(f, info.Size(), func([]byte) error { return nil }) // it does not fail
	l.dropped = info.Size() - end
	if end == 0 {
		f.Close()
		return false, nil
	}
	if err := f.Truncate(end); err != nil {
		f.Close()
		return false, err
	}
	l.file, l.size = f, end // all of it may be outdated
	return true, nil
}

// Dropped is how many bytes were damaged, or no ledger at all, when it was opened.
func (l *Ledger) Dropped() int64 {
	if l == nil {
		return 0
	}
	return l.dropped
}

// Each calls f with every record, in order; one is valid during the call. An error of f
// ends it and is returned. f must not use the Ledger.
func (l *Ledger) Each(f func(rec []byte) error) error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := scan(l.file, l.size, f)
	return err
}

// Append adds a record of up to RecordMax bytes.
func (l *Ledger) Append(rec []byte) error {
	switch {
	case l == nil:
		return nil
	case len(rec) > RecordMax:
		return fault.New(fault.Internal, "a record of %d bytes is too large for the ledger %s", len(rec), l.name)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = appendRecord(l.buf[:0], rec)
	n, err := l.file.WriteAt(l.buf, l.size)
	if cap(l.buf) > 64<<10 {
		l.buf = nil
	}
	if err != nil {
		if n > 0 { // a part of it; if that cannot be cut off, the next one overwrites it
			_ = l.file.Truncate(l.size)
		}
		return fault.New(fault.Internal, "cannot write to the ledger %s: %w", l.name, err)
	}
	l.size += int64(n)
	if l.next != nil {
		l.next.add(rec)
	}
	return nil
}

// Grown says that the file is large, and for the most part outdated: above 1 MiB, and
// above four times what the last Snapshot has written.
func (l *Ledger) Grown() bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size > grownMin && l.size > grownTimes*l.written
}

// Snapshot replaces all records by those that write adds. Meanwhile there may be Appends:
// such a record stands behind what was added before it, and before what is added later.
// write must not use the Ledger otherwise. After an error the records are as before.
func (l *Ledger) Snapshot(write func(add func(rec []byte))) error {
	if l == nil {
		return nil
	}
	l.one.Lock()
	defer l.one.Unlock()
	f, err := newFile(l.name)
	if err != nil {
		return fault.New(fault.Internal, "cannot write a snapshot of the ledger %s: %w", l.name, err)
	}
	s := &snapshot{file: f, size: int64(len(mark))}
	l.change(func() { l.next = s })
	write(func(rec []byte) { l.change(func() { s.add(rec) }) })
	l.change(func() { err = l.replace(s) })
	return err
}

func (l *Ledger) change(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// replace puts a snapshot in the place of the file.
func (l *Ledger) replace(s *snapshot) error {
	l.next = nil
	s.flush()
	if s.err == nil {
		s.err = l.files.Put(l.name, s.file)
	}
	if s.err != nil {
		s.file.Close()
		l.written = l.size / 2 // not again before there is twice as much
		return fault.New(fault.Internal, "cannot write a snapshot of the ledger %s: %w", l.name, s.err)
	}
	l.file.Close()
	l.file, l.size, l.written = s.file, s.size, s.size
	return nil
}

// Close gives the file up; the Store keeps its own copy.
func (l *Ledger) Close() error {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.file.Close()
}

// snapshot is a file that is being written, by large pieces.
type snapshot struct {
	file *os.File
	size int64 // of what is in the file
	buf  []byte
	err  error // the first one
}

func (s *snapshot) add(rec []byte) {
	if len(rec) > RecordMax && s.err == nil {
		s.err = fmt.Errorf("a record of %d bytes is too large", len(rec))
	}
	if s.err != nil {
		return
	}
	if s.buf = appendRecord(s.buf, rec); len(s.buf) >= 256<<10 {
		s.flush()
	}
}

func (s *snapshot) flush() {
	if s.err != nil {
		return
	}
	var n int
	n, s.err = s.file.WriteAt(s.buf, s.size)
	s.size += int64(n)
	s.buf = s.buf[:0]
}
