package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// eventually waits for a condition that another goroutine or process brings about.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); <-time.After(2 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

// piped is a spool with one pipe whose other end the test has.
func piped(t *testing.T, dir string, limit int64) (*Spool, *os.File) {
	t.Helper()
	s, err := Open(dir, limit, NewBuffers())
	if err != nil {
		t.Fatal(err)
	}
	w, start, err := s.Pipe(1, -1)
	if err != nil {
		t.Fatal(err)
	}
	start()
	t.Cleanup(func() {
		w.Close()
		s.Finish()
		s.Close(true)
	})
	return s, w
}

func open(t *testing.T, s *Spool) *Reader {
	t.Helper()
	out, err := s.Reader()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	return out
}

// rest reads to the end without committing.
func rest(t *testing.T, out *Reader) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var text strings.Builder
	for {
		_, data, _, err := out.Next(ctx)
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		text.Write(data)
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"+segmentSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestSpoolPermissions(t *testing.T) {
	dir := t.TempDir() + "/deep/spool"
	s, w := piped(t, dir, DefaultMax)
	fmt.Fprint(w, "x")
	eventually(t, "a segment", func() bool { return len(files(t, dir)) == 1 })
	for path, want := range map[string]os.FileMode{dir: 0o700, files(t, dir)[0]: 0o600, dir + "/" + positionFile: 0o600} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	w.Close()
	s.Finish()
	s.Close(true)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("after close: %v", err)
	}
}

// Back-pressure: the writer waits, nothing is lost, consumed segments go.
func TestSpoolIsBounded(t *testing.T) {
	dir := t.TempDir()
	const limit = 2 << 20
	s, w := piped(t, dir, limit)
	line := bytes.Repeat([]byte("0123456789abcdef"), 64) // 1 KiB
	const total = 8 << 10                                // 8 MiB
	var written atomic.Int64
	go func() {
		defer w.Close()
		for range total {
			if _, err := w.Write(line); err != nil {
				return
			}
			written.Add(1)
		}
	}()
	held := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.end-s.committed >= limit
	}
	eventually(t, "the writer is held up", held)
	if n := written.Load() << 10; n > limit+chunkMax+128<<10 {
		t.Errorf("%d bytes were taken, the limit is %d", n, limit)
	}
	out := open(t, s)
	got := 0
	for {
		_, data, _, err := out.Next(t.Context())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got += len(data)
		if err := commit(out); err != nil {
			t.Fatal(err)
		}
	}
	if got != total<<10 {
		t.Errorf("%d bytes of %d", got, total<<10)
	}
	if left := files(t, dir); len(left) > 1 {
		t.Errorf("consumed segments stay: %v", left)
	}
}

// A later agent reads on where the earlier one committed, over segments.
func TestSpoolContinues(t *testing.T) {
	dir := t.TempDir()
	s, w := piped(t, dir, DefaultMax)
	var all strings.Builder
	for i := range 60_000 { // several segments
		line := fmt.Sprintf("line %d of many, many lines\n", i)
		all.WriteString(line)
	}
	if _, err := io.WriteString(w, all.String()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	<-s.over
	out := open(t, s)
	_, data, _, err := out.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	first := string(data)
	if err := commit(out); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := out.Next(t.Context()); err != nil { // read, not committed
		t.Fatal(err)
	}
	s.Close(false)

	later, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer later.Close()
	if got := rest(t, later); first+got != all.String() {
		t.Errorf("%d + %d bytes of %d", len(first), len(got), all.Len())
	}
	if err := commit(later); err != nil {
		t.Fatal(err)
	}
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("all is committed, but %v", left)
	}
}

// A second writer in a directory goes on after what the first left there.
func TestSpoolSecondWriter(t *testing.T) {
	dir := t.TempDir()
	s, w := piped(t, dir, DefaultMax)
	fmt.Fprint(w, "one ")
	w.Close()
	<-s.over
	s.Close(false)
	s, w = piped(t, dir, DefaultMax)
	fmt.Fprint(w, "two")
	w.Close()
	if got := rest(t, open(t, s)); got != "one two" {
		t.Errorf("%q", got)
	}
}

// kill -9 in the middle of a write leaves a part of a chunk: what is whole is read.
func TestSpoolTornTail(t *testing.T) {
	whole := func() (dir, path string) {
		dir = t.TempDir()
		s, w := piped(t, dir, DefaultMax)
		fmt.Fprint(w, "first")
		eventually(t, "the first chunk", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.end > 0 })
		fmt.Fprint(w, "second")
		w.Close()
		<-s.over
		s.Close(false)
		return dir, files(t, dir)[0]
	}
	size := 2*chunkHead + len("firstsecond")
	for cut := range size + 1 {
		dir, path := whole()
		if err := os.Truncate(path, int64(cut)); err != nil {
			t.Fatal(err)
		}
		want := ""
		if cut >= chunkHead+len("first") {
			want = "first"
		}
		if cut == size {
			want += "second"
		}
		out, err := left(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got := rest(t, out); got != want {
			t.Errorf("cut at %d: %q", cut, got)
		}
		out.Close()
		s, w := piped(t, dir, DefaultMax) // and a new writer goes on there
		fmt.Fprint(w, "third")
		w.Close()
		if got := rest(t, open(t, s)); got != want+"third" {
			t.Errorf("cut at %d, then written: %q", cut, got)
		}
	}
}

// A disk that refuses: the reader is served from memory, and what nobody reads
// is written later.
func TestSpoolDiskRefuses(t *testing.T) {
	dir := t.TempDir() + "/spool"
	s, w := piped(t, dir, DefaultMax)
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	queued := func() int64 { s.mu.Lock(); defer s.mu.Unlock(); return s.queued }
	fmt.Fprint(w, "one ")
	eventually(t, "the chunk is in memory", func() bool { return queued() > 0 })
	out := open(t, s)
	if _, data, _, err := out.Next(t.Context()); err != nil || string(data) != "one " {
		t.Fatalf("%q, %v", data, err)
	}
	if err := commit(out); err == nil {
		t.Error("a position that cannot be saved is no error")
	}
	fmt.Fprint(w, "two ")
	eventually(t, "the next is in memory", func() bool { return queued() > 0 })
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is written", func() bool { return queued() == 0 && len(files(t, dir)) == 1 })
	fmt.Fprint(w, "three")
	w.Close()
	if got := rest(t, out); got != "two three" {
		t.Errorf("%q", got)
	}
	out.Close()
	if got := rest(t, open(t, s)); got != "two three" {
		t.Errorf("again, from the committed position: %q", got)
	}
}

// Memory is bounded while the disk refuses; nothing is lost.
func TestSpoolDiskRefusesLong(t *testing.T) {
	dir := t.TempDir() + "/spool"
	s, w := piped(t, dir, DefaultMax)
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	block := bytes.Repeat([]byte("x"), 1000)
	go func() {
		defer w.Close()
		for range 2000 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}()
	eventually(t, "memory is used up", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.queued >= queueMax })
	s.mu.Lock()
	if s.queued > queueMax+chunkMax+chunkHead {
		t.Errorf("%d bytes in memory", s.queued)
	}
	s.mu.Unlock()
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if got := rest(t, open(t, s)); len(got) != 2_000_000 {
		t.Errorf("%d bytes", len(got))
	}
}

// A stranger that holds the pipe does not hold up the end.
func TestSpoolFinish(t *testing.T) {
	s, w := piped(t, t.TempDir(), DefaultMax)
	fmt.Fprint(w, "before")
	s.Finish()
	s.Finish()
	if got := rest(t, open(t, s)); got != "before" {
		t.Errorf("%q", got)
	}
	if _, err := w.WriteString("after"); err == nil {
		t.Error("the read end is still open")
	}
}

func TestSpoolForgottenWhileRead(t *testing.T) {
	dir := t.TempDir() + "/spool"
	s, w := piped(t, dir, DefaultMax)
	fmt.Fprint(w, "text")
	out, err := s.Reader()
	if err != nil {
		t.Fatal(err)
	}
	s.Finish()
	s.Close(true)
	if got := rest(t, out); got != "text" {
		t.Errorf("%q", got)
	}
	if err := commit(out); err != nil {
		t.Error(err)
	}
	if err := errors.Join(out.Close(), out.Close()); err != nil {
		t.Error(err)
	}
	if _, _, _, err := out.Next(t.Context()); !errors.Is(err, os.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the files stay: %v", err)
	}
}

func TestSpoolNextEndsWithContext(t *testing.T) {
	s, _ := piped(t, t.TempDir(), DefaultMax)
	out := open(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, _, _, err := out.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Whatever stands in a segment, the reader comes to an end, and returns only
// chunks whose sum is right.
func FuzzRead(f *testing.F) {
	c := chunk{stream: 2, at: time.Unix(5, 0), data: []byte("hello")}
	head := c.head()
	good := append(head[:], c.data...)
	f.Add(good, []byte("0000000000000000\n"))
	f.Add(append(bytes.Clone(good), good[:7]...), []byte("0000000000000019\n"))
	f.Add([]byte{chunkMark, 1, 0, 0, 255, 255, 255, 255}, []byte("ffffffffffffffff"))
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, segment, position []byte) {
		dir := t.TempDir()
		for name, text := range map[string][]byte{"0000000000000000" + segmentSuffix: segment, positionFile: position} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		out, err := left(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		read := 0
		for {
			stream, data, at, err := out.Next(t.Context())
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			c := chunk{stream: stream, at: at, data: data}
			head := c.head()
			if !bytes.Contains(segment, data) || !bytes.Contains(segment, head[16:]) {
				t.Fatalf("read %d %q, which is not there", stream, data)
			}
			if read += chunkHead + len(data); read > len(segment) {
				t.Fatal("read more than there is")
			}
		}
		if err := commit(out); err != nil {
			t.Fatal(err)
		}
	})
}

// commit commits all that was read.
func commit(r *Reader) error {
	_, next, _ := r.Where()
	return r.Commit(next, [2]int64{})
}

// Strangers that never stop writing do not hold up the end either.
func TestSpoolFinishBesideWriters(t *testing.T) {
	const limit, pipe = 1 << 20, 1 << 20
	s, w := piped(t, t.TempDir(), limit)
	raw, err := w.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) { _, err = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipe) })
	if err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			block := bytes.Repeat([]byte("y\n"), 128<<10)
			for {
				if _, err := w.Write(block); err != nil {
					return // the read end is closed
				}
			}
		})
	}
	eventually(t, "the writers are held up", func() bool { return s.State(-1).End >= limit && s.piped(s.pipes[0]) >= pipe-chunkMax })
	before := s.State(-1).End
	s.Finish()
	if more := s.State(-1).End - before; more < pipe-chunkMax || more > pipe+2*chunkMax {
		t.Errorf("the pipe held %d bytes, %d were taken", pipe, more)
	}
	writers.Wait()
}

// Whoever watches is told of data, of commits and of the end.
func TestSpoolWatch(t *testing.T) {
	s, w := piped(t, t.TempDir(), DefaultMax)
	var changes atomic.Int64
	s.Watch(func() { changes.Add(1) })
	fmt.Fprint(w, "x")
	eventually(t, "told of data", func() bool { return changes.Load() == 1 })
	if err := s.Commit(s.State(-1).End, [2]int64{}); err != nil || changes.Load() != 2 {
		t.Errorf("%v, told %d times", err, changes.Load())
	}
	w.Close()
	eventually(t, "told of the end", func() bool { return changes.Load() == 3 && s.State(-1).Over })
	s.Watch(nil)
	s.Finish()
	if n := changes.Load(); n != 3 {
		t.Errorf("told %d times", n)
	}
}
