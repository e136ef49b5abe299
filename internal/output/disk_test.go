package output

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
)

// TestDiskFull uses a real small file system.
func TestDiskFull(t *testing.T) {
	dir := smallDisk(t, 256<<10)
	var warned faults
	o := options(t)
	o.File, o.Warn = filepath.Join(dir, "web.log"), warned.add
	o.Log.Lines = 10
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	const total = 100_000 // 5 MB in memory and more as JSON, so that the queue is full too
	for from := 0; from < total; from += 1000 {
		s.out(numbered("the quick brown fox jumps over the lazy dog", from, from+1000))
	}
	waitFor(t, "the worker going on", func() bool { g, c, _ := s.state(); return l.Counts().Stdout == total && g-c < heldBytes })
	lost := l.Counts().Lost
	if lost == 0 || lost > total/2+total/4 {
		t.Error(lost, "lost")
	}
	if f := warned.all(); len(f) != 1 || f[0].Code != fault.LogWrite {
		t.Error(f)
	}
	if got := lines(tail(t, l, Filter{}, 3)); got[2] != fmt.Sprint("the quick brown fox jumps over the lazy dog ", total-1) {
		t.Error(got)
	}
	if got := lines(tail(t, l, Filter{}, 50)); len(got) != 50 || got[49] != fmt.Sprint("the quick brown fox jumps over the lazy dog ", total-1) {
		t.Error(got)
	}
	if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the notice", func() bool { return strings.Contains(read(t, o.File), "lines lost") })
	s.out("after\n")
	s.end()
	done(t, a)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := checkJSON(t, o.File)
	notice := ""
	for i, line := range got {
		if strings.HasPrefix(line, "muster: ") {
			notice += line
			continue
		}
		if notice == "" && line != fmt.Sprint("the quick brown fox jumps over the lazy dog ", i) {
			t.Fatalf("line %d: %q", i, line)
		}
	}
	if notice != fmt.Sprintf("muster: %d lines lost: no space left on device", lost) {
		t.Error(notice)
	}
	if got[len(got)-1] != "after" || len(got)-2 != total-int(lost) {
		t.Errorf("%d lines, %d lost, last %q", len(got), lost, got[len(got)-1])
	}
}

// smallDisk mounts a tmpfs for the test; it needs root or a user namespace.
func smallDisk(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("muster-test", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal("a tmpfs cannot be mounted: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// TestTornByFullDiskThenMoved: the head of a record is in the old file; the whole
// record must be in the new one.
func TestTornByFullDiskThenMoved(t *testing.T) {
	dir := smallDisk(t, 64<<10)
	var warned faults
	o := options(t)
	o.File, o.Warn = filepath.Join(dir, "web.log"), warned.add
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	s.out(numbered("the quick brown fox jumps over the lazy dog", 0, 1000))
	s.end()
	// Not the file's size: it is full in the middle of a write, which goes on.
	waitFor(t, "a full disk", func() bool { return warned.len() > 0 })
	if err := os.Rename(o.File, o.File+".moved"); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("", dir, "tmpfs", syscall.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	done(t, a)
	waitFor(t, "the rest", func() bool { b, _ := os.ReadFile(o.File); return strings.Contains(string(b), "dog 999") })
	old := strings.Split(read(t, o.File+".moved"), "\n")
	whole := len(old) - 1
	got := checkJSON(t, o.File)
	if whole+len(got) != 1000 || got[0] != fmt.Sprint("the quick brown fox jumps over the lazy dog ", whole) {
		t.Errorf("%d + %d, first %q", whole, len(got), got[0])
	}
}

// TestDevFull: not a regular file; nothing is read back from it.
func TestDevFull(t *testing.T) {
	var warned faults
	o := options(t)
	o.File, o.Warn = "/dev/full", warned.add
	l := open(t, o)
	printed(t, l, Worker{}, "one\ntwo\n")
	if got := lines(tail(t, l, Filter{}, 10)); !cmp.Equal(got, []string{"one", "two"}) {
		t.Error(got)
	}
	if warned.len() != 1 {
		t.Error(warned.all())
	}
	if err := l.Close(); fault.CodeOf(err) != fault.LogWrite {
		t.Error(err)
	}
}

// TestPipeTarget: log.file: /dev/stdout in a container.
func TestPipeTarget(t *testing.T) {
	o := options(t)
	o.File = filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(o.File, 0o600); err != nil {
		t.Fatal(err)
	}
	o.Log.Format, o.Log.MaxSize = "text", 10
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{Slot: 3}, s, nil)
	s.out("nobody reads yet\n")
	waitFor(t, "the record", func() bool { return l.Counts().Stdout == 1 })
	// A pipe without a writer reads as ended, so this end is a writer, too.
	f, err := os.OpenFile(o.File, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s.out("now\n")
	s.end()
	done(t, a)
	f.SetReadDeadline(time.Now().Add(10 * time.Second))
	in := bufio.NewScanner(f)
	for _, want := range []string{" web#3 out nobody reads yet", " web#3 out now"} {
		if !in.Scan() || !strings.HasSuffix(in.Text(), want) {
			t.Errorf("%q %v", in.Text(), in.Err())
		}
	}
}

// TestRotationNotPossible: the directory may not be changed, the file grows on.
func TestRotationNotPossible(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "web.log")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	// A mount point cannot be renamed, not even by root.
	if err := syscall.Mount(file, file, "", syscall.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(file, syscall.MNT_DETACH) })
	var warned faults
	o := small(t)
	o.File, o.Warn = file, warned.add
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 2000))
	if got := len(checkJSON(t, file)); got != 2000 {
		t.Error(got)
	}
	if warned.len() != 1 {
		t.Error(warned.all())
	}
}
