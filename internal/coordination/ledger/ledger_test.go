package ledger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// store keeps duplicates, as the one of package process does.
type store struct {
	t     testing.TB
	files map[string]*os.File
	err   error // of the next calls
}

func newStore(t testing.TB) *store {
	s := &store{t: t, files: map[string]*os.File{}}
	t.Cleanup(func() {
		for _, f := range s.files {
			f.Close()
		}
	})
	return s
}

func duplicate(t testing.TB, f *os.File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

func (s *store) Put(name string, f *os.File) error {
	if s.err != nil {
		return s.err
	}
	if old := s.files[name]; old != nil {
		old.Close()
	}
	s.files[name] = duplicate(s.t, f)
	return nil
}

func (s *store) Get(name string) (*os.File, error) {
	if s.err != nil || s.files[name] == nil {
		return nil, s.err
	}
	return duplicate(s.t, s.files[name]), nil
}

// text is all that the store's file holds.
func (s *store) text() []byte {
	f := s.files["x"]
	info, err := f.Stat()
	if err != nil {
		s.t.Fatal(err)
	}
	b := make([]byte, info.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		s.t.Fatal(err)
	}
	return b
}

// with makes a store of a file with a text.
func with(t testing.TB, text []byte) *store {
	t.Helper()
	s := newStore(t)
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	s.files["x"] = os.NewFile(uintptr(fd), "x")
	if _, err := s.files["x"].Write(text); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, s *store) *Ledger {
	t.Helper()
	l, err := Open(s, "x")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func all(t rapid.TB, l *Ledger) []string {
	t.Helper()
	var recs []string
	if err := l.Each(func(rec []byte) error { recs = append(recs, string(rec)); return nil }); err != nil {
		t.Fatal(err)
	}
	return recs
}

func add(t rapid.TB, l *Ledger, recs ...string) {
	t.Helper()
	for _, rec := range recs {
		if err := l.Append([]byte(rec)); err != nil {
			t.Fatal(err)
		}
	}
}

// What was appended and what a snapshot has left is there, in order, for whoever opens it
// next; the one before needs not have closed it.
func TestKept(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newStore(t)
		l := open(t, s)
		var want []string
		for range rapid.IntRange(1, 20).Draw(rt, "steps") {
			switch rapid.IntRange(0, 5).Draw(rt, "what") {
			case 0:
				l = open(t, s)
			case 1:
				want = rapid.SliceOfN(rapid.String(), 0, 4).Draw(rt, "snapshot")
				err := l.Snapshot(func(add func([]byte)) {
					for _, rec := range want {
						add([]byte(rec))
					}
				})
				if err != nil {
					rt.Fatal(err)
				}
			default:
				rec := rapid.String().Draw(rt, "record")
				add(rt, l, rec)
				want = append(slices.Clip(want), rec)
			}
			if got := all(rt, l); !slices.Equal(got, want) {
				rt.Fatalf("%q, want %q", got, want)
			}
		}
		if l.Dropped() != 0 {
			rt.Fatalf("%d dropped", l.Dropped())
		}
	})
}

// Wherever a kill cuts the file off, whole records are there, and it goes on after them.
func TestTorn(t *testing.T) {
	s := newStore(t)
	l := open(t, s)
	recs := []string{"one", "", "three is longer", strings.Repeat("4", 300)}
	ends := []int{len(mark)}
	for _, rec := range recs {
		add(t, l, rec)
		ends = append(ends, len(s.text()))
	}
	text := s.text()
	for cut := range len(text) + 1 {
		whole := 0
		for whole < len(recs) && ends[whole+1] <= cut {
			whole++
		}
		torn := with(t, text[:cut])
		l := open(t, torn)
		if got := all(t, l); !slices.Equal(got, recs[:whole]) {
			t.Fatalf("cut at %d: %q", cut, got)
		}
		lost := cut - ends[whole]
		if cut < len(mark) {
			lost = cut // no ledger at all
		}
		if l.Dropped() != int64(lost) {
			t.Fatalf("cut at %d: %d dropped", cut, l.Dropped())
		}
		add(t, l, "next")
		after := open(t, torn)
		if got := all(t, after); !slices.Equal(got, append(slices.Clip(recs[:whole]), "next")) || after.Dropped() != 0 {
			t.Fatalf("cut at %d, then: %q, %d dropped", cut, got, after.Dropped())
		}
		after.Close()
		l.Close()
	}
}

// A bit that is wrong anywhere ends the file there.
func TestDamaged(t *testing.T) {
	s := newStore(t)
	recs := []string{"one", "two", "three"}
	add(t, open(t, s), recs...)
	text := s.text()
	for at := range text {
		b := bytes.Clone(text)
		b[at] ^= 1
		l := open(t, with(t, b))
		got := all(t, l)
		if len(got) >= len(recs) || !slices.Equal(got, recs[:len(got)]) || l.Dropped() == 0 {
			t.Fatalf("damaged at %d: %q, %d dropped", at, got, l.Dropped())
		}
		l.Close()
	}
}

// What is appended while a snapshot is written is in it, in its place; a snapshot that fails
// has lost none of it.
func TestAppendMeanwhile(t *testing.T) {
	s := newStore(t)
	l := open(t, s)
	add(t, l, "old")
	write := func(put func([]byte)) {
		put([]byte("one"))
		add(t, l, "two")
		put([]byte("three"))
		add(t, l, "four")
	}
	if err := l.Snapshot(write); err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "two", "three", "four"}
	for _, l := range []*Ledger{l, open(t, s)} {
		if got := all(t, l); !slices.Equal(got, want) {
			t.Fatalf("%q", got)
		}
	}
	s.err = errStore
	if err := l.Snapshot(write); err == nil {
		t.Fatal("no error")
	}
	s.err = nil
	add(t, l, "five")
	if got := all(t, open(t, s)); !slices.Equal(got, append(want, "two", "four", "five")) {
		t.Fatalf("%q", got)
	}
}

func TestGrown(t *testing.T) {
	s := newStore(t)
	l := open(t, s)
	rec := strings.Repeat("x", 1<<16)
	for l.size <= grownMin {
		if l.Grown() {
			t.Fatalf("grown at %d", l.size)
		}
		add(t, l, rec)
	}
	if !l.Grown() {
		t.Fatal("not grown")
	}
	if open(t, s).Grown() != true {
		t.Fatal("not grown for a successor")
	}
	write := func(add func([]byte)) {
		for range 5 { // four times that is above 1 MiB
			add([]byte(rec))
		}
	}
	if err := l.Snapshot(write); err != nil {
		t.Fatal(err)
	}
	if int64(len(s.text())) != l.size || l.Grown() {
		t.Fatalf("%d in the store, %d here", len(s.text()), l.size)
	}
	snapshot := l.size
	for !l.Grown() {
		add(t, l, rec)
	}
	if l.size <= 4*snapshot || l.size > 4*snapshot+1<<17 {
		t.Fatalf("grown at %d, the snapshot had %d", l.size, snapshot)
	}
}

var errStore = errors.New("the store is away")

// What fails leaves all as it was.
func TestFailures(t *testing.T) {
	s := newStore(t)
	s.err = errStore
	if _, err := Open(s, "x"); !errors.Is(err, errStore) {
		t.Fatal(err)
	}
	s.err = nil
	l := open(t, s)
	add(t, l, "one")
	for l.size <= grownMin {
		add(t, l, strings.Repeat("x", 1<<18))
	}
	before := len(all(t, l))
	s.err = errStore
	if err := l.Snapshot(func(add func([]byte)) { add([]byte("two")) }); !errors.Is(err, errStore) {
		t.Fatal(err)
	}
	if l.Grown() {
		t.Fatal("tried again at once")
	}
	s.err = nil
	if err := l.Snapshot(func(add func([]byte)) { add(make([]byte, RecordMax+1)); add([]byte("two")) }); err == nil {
		t.Fatal("too large")
	}
	if err := l.Append(make([]byte, RecordMax+1)); err == nil {
		t.Fatal("too large")
	}
	add(t, l, "three")
	for _, l := range []*Ledger{l, open(t, s)} {
		if got := all(t, l); len(got) != before+1 || got[0] != "one" || got[before] != "three" {
			t.Fatalf("%d records", len(got))
		}
	}
	wrong := errors.New("stop")
	if err := l.Each(func([]byte) error { return wrong }); !errors.Is(err, wrong) {
		t.Fatal(err)
	}
	l.Close()
	if err := l.Append(nil); err == nil {
		t.Fatal("appended after Close")
	}
}

// A file that has no room for a record is as before, and takes one that fits.
func TestNoRoom(t *testing.T) {
	s := newStore(t)
	l := open(t, s)
	add(t, l, "one")
	if _, err := unix.FcntlInt(l.file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err == nil {
		t.Fatal("the file of a ledger can be sealed: it is made without MFD_ALLOW_SEALING")
	}
	// A limit of the process would hit all tests: a file of a kind that is small at once.
	full, err := os.OpenFile("/dev/full", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	kept := l.file
	l.file = full
	if err := l.Append([]byte("two")); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	full.Close()
	l.file = kept
	add(t, l, "three")
	if got := all(t, l); !slices.Equal(got, []string{"one", "three"}) {
		t.Fatalf("%q", got)
	}
}

func TestNone(t *testing.T) {
	var l *Ledger
	err := errors.Join(l.Append([]byte("x")), l.Each(func([]byte) error { return errStore }),
		l.Snapshot(func(func([]byte)) { t.Error("written") }), l.Close())
	if err != nil || l.Grown() || l.Dropped() != 0 {
		t.Fatal(err)
	}
}

func TestConcurrent(t *testing.T) {
	s := newStore(t)
	l := open(t, s)
	var done sync.WaitGroup
	for w := range 8 {
		done.Go(func() {
			for i := range 50 {
				if err := l.Append([]byte(fmt.Sprint(w, " ", i))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done.Wait()
	next := map[string]int{}
	for _, rec := range all(t, open(t, s)) {
		var w string
		var i int
		if _, err := fmt.Sscan(rec, &w, &i); err != nil || next[w] != i {
			t.Fatalf("%q, of which %d were before", rec, next[w])
		}
		next[w]++
	}
	if len(next) != 8 {
		t.Fatalf("%v", next)
	}
}

// FuzzScan: whatever a file holds, what is read of it is at most as much, and reading it
// again yields the same.
func FuzzScan(f *testing.F) {
	whole := appendRecord(appendRecord([]byte(mark), []byte("one")), nil)
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add(binary.LittleEndian.AppendUint32([]byte(mark), 0xffffffff))
	f.Add(append([]byte(mark), make([]byte, 20)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(b []byte) (recs []string, end int64) {
			end, err := scan(bytes.NewReader(b), int64(len(b)), func(rec []byte) error { recs = append(recs, string(rec)); return nil })
			if err != nil || end > int64(len(b)) {
				t.Fatalf("%d of %d, %v", end, len(b), err)
			}
			return recs, end
		}
		recs, end := read(text)
		again, _ := read(text[:end])
		written := []byte(mark)
		for _, rec := range recs {
			written = appendRecord(written, []byte(rec))
		}
		if !slices.Equal(recs, again) || end > 0 && !bytes.Equal(written, text[:end]) {
			t.Fatalf("%q, then %q", recs, again)
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	s := newStore(b)
	l, err := Open(s, "x")
	if err != nil {
		b.Fatal(err)
	}
	rec := make([]byte, 100)
	for b.Loop() {
		if err := l.Append(rec); err != nil {
			b.Fatal(err)
		}
		if l.Grown() {
			_ = l.Snapshot(func(add func([]byte)) { add(rec) })
		}
	}
}
