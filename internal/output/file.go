package output

import (
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output/form"
	"github.com/muster-run/muster/internal/output/intent"
	"github.com/muster-run/muster/spec"
)

// writeBytes is about the most that one write(2) gets.
const writeBytes = 1 << 20

// fileTarget appends records to a file and rotates it. Why not a library: the
// file must be opened with O_APPEND also after a rotation (copytruncate, second
// openers), be noticed when it is moved, be 0600 in 0700, and never be replaced
// in the middle of a record that a full disk has torn.
type fileTarget struct {
	log  *Log
	set  spec.Log
	path string
	old  *archive

	file    *os.File // nil: to be opened
	id      intent.FileID
	size    int64 // of the file, when this target last looked
	special bool  // a pipe or device: not rotated, not read back
	newline bool  // an earlier agent left a torn line at the end
	torn    []byte
	tornLen int64  // bytes of the torn record that are in the file
	buf     []byte // reused
	ends    []int  // of the records in buf

	notBefore time.Time // no rotation, after one that failed
}

func newFileTarget(l *Log, s spec.Log, path string) *fileTarget {
	t := &fileTarget{log: l, set: s, path: path}
	t.old = newArchive(path, l.packing, s.MaxFiles, l.warns.warn)
	return t
}

func (t *fileTarget) view() view {
	if t.special {
		return view{}
	}
	return view{t.path, t.file, t.size - t.tornLen}
}

func (t *fileTarget) reopen() { t.change(func() { t.drop() }) }

func (t *fileTarget) close() {
	t.old.close()
	t.drop()
}

// change lets readers see the state before or after do, nothing between.
func (t *fileTarget) change(do func()) {
	t.log.replace(func() view { do(); return t.view() })
}

// drop forgets the open file. What is torn in it is written anew, as a whole
// record, to the next.
func (t *fileTarget) drop() {
	if t.file != nil {
		t.file.Close()
	}
	t.file, t.special, t.newline = nil, false, false
	t.torn, t.tornLen, t.size = nil, 0, 0
}

func (t *fileTarget) write(list []item) (int, error) {
	if err := t.ensure(); err != nil {
		return 0, err
	}
	t.encode(list)
	if len(t.ends) == 0 { // the first record does not fit any more
		t.rotate()
		if t.file == nil {
			return 0, t.ensure()
		}
		t.encode(list)
	}
	done, err := t.append(list[:len(t.ends)])
	if st, e := statOf(t.file); e == nil && !t.special {
		t.size = st.Size
		if st.Nlink == 0 { // deleted under our hands: write it again
			t.change(t.drop)
			return 0, nil
		}
	}
	return done, err
}

// append writes buf, which holds a list, and returns how many of it are written.
func (t *fileTarget) append(list []item) (int, error) {
	if t.special {
		n, err := t.file.Write(t.buf)
		return t.account(n), err
	}
	ledger := t.log.ledger
	for i := range list {
		ledger.Plan(list[i].Mark)
	}
	w := intent.Write{Path: t.path, File: t.id, Before: t.size - t.tornLen, After: t.size + int64(len(t.buf))}
	ledger.Begin(w)
	n, err := t.file.Write(t.buf)
	done := t.account(n)
	if n < len(t.buf) {
		for i := range list[:done] {
			ledger.Done(list[i].Mark)
		}
		w.Before = t.size - t.tornLen
		ledger.Fail(w)
	}
	return done, err
}

func statOf(f *os.File) (*syscall.Stat_t, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return info.Sys().(*syscall.Stat_t), nil
}

// account notes that n bytes of buf are in the file and returns how many records
// these are.
func (t *fileTarget) account(n int) int {
	t.size += int64(n)
	if n > 0 {
		t.newline = false
	}
	done, from := 0, 0
	for done < len(t.ends) && t.ends[done] <= n {
		from = t.ends[done]
		done++
	}
	if done > 0 {
		t.torn, t.tornLen = nil, 0
	}
	if done < len(t.ends) && n > from {
		t.tornLen += int64(n - from)
		t.torn = append([]byte(nil), t.buf[n:t.ends[done]]...)
	}
	return done
}

// encode fills buf with as many records as fit into the file and one write, and
// at least one when the file is empty or holds the head of a torn one.
func (t *fileTarget) encode(list []item) {
	t.buf, t.ends = t.buf[:0], t.ends[:0]
	if cap(t.buf) > 4*writeBytes {
		t.buf = nil
	}
	if t.newline {
		t.buf = append(t.buf, '\n')
	}
	for i := range list {
		before := len(t.buf)
		if i == 0 && t.torn != nil {
			t.buf = append(t.buf, t.torn...)
		} else {
			t.buf = form.Append(t.buf, &list[i].Record, t.set.Format)
		}
		first := t.torn != nil && i == 0 || t.size == 0 && i == 0
		if !first && t.full(len(t.buf)) {
			t.buf = t.buf[:before]
			return
		}
		t.ends = append(t.ends, len(t.buf))
		if len(t.buf) >= writeBytes {
			return
		}
	}
}

func (t *fileTarget) full(more int) bool {
	return !t.special && t.set.MaxSize > 0 && t.size+int64(more) > int64(t.set.MaxSize) &&
		time.Now().After(t.notBefore)
}

// ensure has the file open, and the one that the path names.
func (t *fileTarget) ensure() error {
	if t.file != nil {
		var st syscall.Stat_t
		err := syscall.Stat(t.path, &st)
		if err == nil && t.id == intent.IDOf(&st) {
			if !t.special && (st.Size < t.size || t.torn == nil) { // truncated from outside, or grown
				t.size, t.torn, t.tornLen = st.Size, nil, 0
			}
			return nil
		}
	}
	var err error
	t.change(func() {
		t.drop()
		err = t.open()
	})
	return err
}

func (t *fileTarget) open() error {
	if err := os.MkdirAll(filepath.Dir(t.path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(t.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NOCTTY|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return err
	}
	st, err := statOf(f)
	if err != nil {
		f.Close()
		return err
	}
	t.file, t.id, t.size = f, intent.IDOf(st), st.Size
	t.special = st.Mode&syscall.S_IFMT != syscall.S_IFREG
	t.newline = !t.special && t.size > 0 && !endsLine(t.path, t.size)
	return nil
}

// endsLine says whether a file's last byte is a newline (or cannot be read).
func endsLine(path string, size int64) bool {
	f, err := os.Open(path)
	if err != nil {
		return true
	}
	defer f.Close()
	var last [1]byte
	if _, err := f.ReadAt(last[:], size-1); err != nil {
		return true
	}
	return last[0] == '\n'
}

// rotate moves the file to the archive and opens a new one. Where that is not
// possible the old one grows on.
func (t *fileTarget) rotate() {
	var err error
	t.change(func() {
		if err = t.old.take(t.path); err == nil {
			t.drop()
			err = t.open()
		}
	})
	if err != nil {
		t.notBefore = time.Now().Add(time.Minute)
		t.log.warns.warn(fault.New(fault.LogWrite, "the log %s cannot be rotated: %w", t.path, err))
		return
	}
	t.old.tidy()
}
