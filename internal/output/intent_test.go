package output

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/internal/output/intent"
	"github.com/muster-run/muster/internal/process/spool"
)

// memory is the intent of a test; each call returns another duplicate of it.
func memory(t *testing.T) func() *os.File {
	t.Helper()
	f, err := NewIntent()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return func() *os.File {
		fd, err := syscall.Dup(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "intent")
	}
}

// copied is a copy of an intent: what a kill at this moment would leave.
func copied(t *testing.T, f *os.File) *os.File {
	t.Helper()
	defer f.Close()
	to, err := NewIntent()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(to, io.NewSectionReader(f, 0, 1<<30)); err != nil {
		t.Fatal(err)
	}
	return to
}

// deaf is a Source whose commits go nowhere: its reader is killed before them.
type deaf struct{ Source }

func (deaf) Commit(int64, [2]int64) error { return nil }

// pipes is a spool with the writers of both its pipes.
func pipes(t *testing.T) (*spool.Spool, [2]*os.File) {
	t.Helper()
	s, writers, _ := pipesIn(t)
	return s, writers
}

// pipesIn tells the spool's directory, too.
func pipesIn(t *testing.T) (*spool.Spool, [2]*os.File, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "spool")
	s, err := spool.Open(dir, spool.DefaultMax, spool.NewBuffers())
	if err != nil {
		t.Fatal(err)
	}
	var writers [2]*os.File
	for i := range writers {
		w, start, err := s.Pipe(i+1, -1)
		if err != nil {
			t.Fatal(err)
		}
		start()
		writers[i] = w
	}
	t.Cleanup(func() {
		writers[0].Close()
		writers[1].Close()
		s.Finish()
		s.Close(true)
	})
	return s, writers, dir
}

func reader(t *testing.T, s *spool.Spool) *spool.Reader {
	t.Helper()
	r, err := s.Reader()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inFile says whether the log file holds a text already.
func inFile(o Options, text string) bool {
	b, err := os.ReadFile(o.File)
	return err == nil && bytes.Contains(b, []byte(text))
}

// TestPartOfALineSpansAgents: the beginning is read by one, the end by the next.
func TestPartOfALineSpansAgents(t *testing.T) {
	for _, orderly := range []bool{true, false} {
		o, mem := options(t), memory(t)
		o.Intent = mem()
		l := open(t, o)
		s, w := pipes(t)
		var src Source = reader(t, s)
		if !orderly {
			src = deaf{src}
		}
		l.Attach(t.Context(), Worker{ID: "a", Slot: 1, PID: 7}, src, nil)
		io.WriteString(w[0], "whole\nhal")
		io.WriteString(w[1], "error")
		waitFor(t, "the first line", func() bool { return inFile(o, "whole") })
		left := copied(t, mem())
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if orderly {
			left.Close()
			left = mem()
			if st := s.State(0); st.Committed == 0 && st.Skip == [2]int64{} {
				t.Errorf("what is written is not committed: %+v", st)
			}
		}

		o.Intent = left
		l = open(t, o)
		a := l.Attach(t.Context(), Worker{ID: "a", Slot: 1, PID: 7, Adopted: true}, reader(t, s), nil)
		if got := a.Last(); !cmp.Equal(got, []string{"whole"}) {
			t.Errorf("%v: last lines of the adopted one: %q", orderly, got)
		}
		io.WriteString(w[1], " message\n")
		w[1].Close()
		waitFor(t, "the message", func() bool { return inFile(o, "error message") })
		io.WriteString(w[0], "f\nend")
		w[0].Close()
		done(t, a)
		want := []string{"whole", "error message", "half", "end"}
		if got := lines(tail(t, l, Filter{}, -1)); !cmp.Equal(got, want) {
			t.Errorf("%v: %q", orderly, got)
		}
		if got := a.Last(); !cmp.Equal(got, want) {
			t.Errorf("%v: last lines %q", orderly, got)
		}
		if st := s.State(0); st.Committed != st.End || st.Skip != [2]int64{} {
			t.Errorf("%v: not all is committed: %+v", orderly, st)
		}
	}
}

// TestKilledAtEachByte: the file holds each possible part of the last write.
func TestKilledAtEachByte(t *testing.T) {
	o, mem := options(t), memory(t)
	o.Log.Format = "text"
	o.Intent = mem()
	l := open(t, o)
	s, w, dir := pipesIn(t)
	l.Attach(t.Context(), Worker{ID: "a"}, deaf{reader(t, s)}, nil)
	io.WriteString(w[0], "one\ntwo\n")
	waitFor(t, "the first write", func() bool { b, _ := os.ReadFile(o.File); return bytes.Count(b, []byte("\n")) == 2 })
	before := len(read(t, o.File))
	io.WriteString(w[0], "three\nfour\nfi")
	waitFor(t, "the second write", func() bool { return strings.Count(read(t, o.File), "\n") == 4 })
	text := read(t, o.File)
	left := copied(t, mem())
	defer left.Close()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	io.WriteString(w[0], "ve\n")
	w[0].Close()
	w[1].Close()
	waitFor(t, "the end", s.Done)
	for size := before; size <= len(text); size++ {
		// The same file: a note knows it by its inode.
		if err := os.WriteFile(o.File, []byte(text[:size]), 0o600); err != nil {
			t.Fatal(err)
		}
		o.Intent = copied(t, mustDup(t, left))
		l := open(t, o)
		done(t, l.Attach(t.Context(), Worker{ID: "a"}, spool.Follow(dir, still{s}, spool.NewBuffers()), nil))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var got []string
		for line := range strings.Lines(read(t, o.File)) {
			got = append(got, strings.TrimSpace(line[strings.LastIndex(line, " "):]))
		}
		if want := []string{"one", "two", "three", "four", "five"}; !cmp.Equal(got, want) {
			t.Fatalf("%d bytes of %d were written: %q", size-before, len(text)-before, got)
		}
	}
}

func mustDup(t *testing.T, f *os.File) *os.File {
	t.Helper()
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), f.Name())
}

// still is a Tail that commits nothing, so that the spool can be read again.
type still struct{ *spool.Spool }

// Commit implements spool.Tail.
func (still) Commit(int64, [2]int64) error { return nil }

// Close implements spool.Tail.
func (still) Close() error { return nil }

// TestWrittenAndCommittedThenTorn: of two sources in one write that the disk has
// cut, one is in the file and committed; it must not be cut off.
func TestWrittenAndCommittedThenTorn(t *testing.T) {
	o, mem := options(t), memory(t)
	o.File = filepath.Join(smallDisk(t, 64<<10), "web.log")
	o.Intent = mem()
	l := open(t, o)
	a, b := intent.NewProgress("a"), intent.NewProgress("b")
	var batch []item
	add := func(p *intent.Progress, line string) {
		p.Add(intent.Chunk{Next: int64(len(line)) + 1, Size: len(line) + 1})
		r := l.notice(line)
		r.Slot = 0
		batch = append(batch, item{entry{0, r}, intent.Mark{Source: p, End: int64(len(line)) + 1}})
	}
	add(a, "written")
	add(b, strings.Repeat("x", 100<<10))
	l.record(t.Context(), batch)
	waitFor(t, "the failure", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.queue.err != nil })
	r := intent.Ruler{To: [2]int64{8, 0}}
	a.Place(&r)
	a.Commit(&r)
	left := copied(t, mem())
	o.Intent = left
	next := intent.Open(left, nil)
	defer next.Close()
	if p, ok := next.Take("b"); ok {
		t.Errorf("nothing of b is written, but it is at %+v", p)
	}
	if text := read(t, o.File); !strings.Contains(text, "written") || strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		t.Errorf("%.200q", text)
	}
}

// TestLinesFromBefore: memory is filled from the file, so that Last and Read agree
// with it, in both formats.
func TestLinesFromBefore(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		o, mem := options(t), memory(t)
		o.Log.Format, o.Log.Lines, o.Intent = format, 100, mem()
		l := open(t, o)
		printed(t, l, Worker{ID: "a", Slot: 0, PID: 5}, numbered("line", 0, 50_000)) // more than is read back
		printed(t, l, Worker{ID: "b", Slot: 2, PID: 6}, numbered("other", 0, 30))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		o.Intent = mem()
		l = open(t, o)
		if diff := cmp.Diff(want(49_900, 50_000), l.Last(0, -1)); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if got := l.Last(2, 2); !cmp.Equal(got, []string{"other 28", "other 29"}) {
			t.Errorf("%s: %q", format, got)
		}
		if c := l.Counts(); c != (Counts{}) {
			t.Errorf("%+v", c)
		}
		s := newScript()
		a := l.Attach(t.Context(), Worker{ID: "c", Slot: 2, PID: 7}, s, nil)
		if got := a.Last(); len(got) > 0 {
			t.Errorf("%s: a new process has lines: %q", format, got)
		}
		s.out("new\n")
		s.end()
		done(t, a)
		if got := lines(tail(t, l, Filter{Slots: []int{2}}, 3)); !cmp.Equal(got, []string{"other 28", "other 29", "new"}) {
			t.Errorf("%s: %q", format, got)
		}
		if got := len(tail(t, l, Filter{}, -1)); got != 50_031 {
			t.Errorf("%s: %d records", format, got)
		}
	}
}

// TestALongPromptDoesNotHoldTheSource: an unfinished line is recorded as far as it
// goes when too much waits behind it.
func TestALongPromptDoesNotHoldTheSource(t *testing.T) {
	o := options(t)
	l := open(t, o)
	s, w := pipes(t)
	a := l.Attach(t.Context(), Worker{ID: "a"}, reader(t, s), nil)
	io.WriteString(w[1], "password: \xc3") // the beginning of a character
	line := strings.Repeat("x", 999) + "\n"
	for range 3 * heldBytes / len(line) {
		if _, err := io.WriteString(w[0], line); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, "the commit", func() bool { st := s.State(0); return st.End-st.Committed < heldBytes })
	io.WriteString(w[1], "\xa4\n")
	w[0].Close()
	w[1].Close()
	done(t, a)
	got := ""
	for _, r := range tail(t, l, Filter{Streams: []string{stderr}}, -1) {
		got += r.Line
		if !r.Cut {
			got += "|"
		}
	}
	if got != "password: \xc3\xa4|" && got != "password: \ufffd\ufffd|" {
		t.Errorf("%q", got)
	}
}

// TestLineLongerThanTheSpool: LineMax allows more than a spool holds.
func TestLineLongerThanTheSpool(t *testing.T) {
	o := options(t)
	o.Log.LineMax = lineMaxMost
	l := open(t, o)
	s, w := pipes(t)
	a := l.Attach(t.Context(), Worker{ID: "a"}, reader(t, s), nil)
	const size = 12 << 20
	text := bytes.Repeat([]byte("ä"), size/2)
	if _, err := w[0].Write(text); err != nil {
		t.Fatal(err)
	}
	w[0].Close()
	w[1].Close()
	done(t, a)
	total := 0
	for _, r := range tail(t, l, Filter{}, -1) {
		total += len(r.Line)
		if strings.Contains(r.Line, "\ufffd") {
			t.Error("a character is torn")
		}
	}
	if total != size {
		t.Errorf("%d bytes of %d", total, size)
	}
}

// TestOtherTargetInMidFlight: what waits goes to the new file; nothing twice.
func TestOtherTargetInMidFlight(t *testing.T) {
	o, mem := options(t), memory(t)
	o.Intent = mem()
	l := open(t, o)
	s, w := pipes(t)
	a := l.Attach(t.Context(), Worker{ID: "a"}, reader(t, s), nil)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer w[1].Close()
		defer w[0].Close()
		for i := 0; i < 20_000 && ctx.Err() == nil; i++ {
			io.WriteString(w[0], numbered("line", i, i+1))
		}
	}()
	other := o.File + ".other"
	for i := range 20 {
		file := o.File
		if i%2 == 0 {
			file = other
		}
		if err := l.Reconfigure(o.Log, file); err != nil {
			t.Fatal(err)
		}
	}
	done(t, a)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, file := range []string{o.File, other} {
		if b, err := os.ReadFile(file); err == nil && len(b) > 0 {
			for _, line := range checkJSON(t, file) {
				seen[line]++
			}
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if len(seen) != 20_000 {
		t.Errorf("%d lines", len(seen))
	}
	for line, n := range seen {
		if n != 1 {
			t.Fatalf("%q is there %d times", line, n)
		}
	}
}
