package output

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output/zst"
	"github.com/muster-run/muster/spec"
)

// small is a setting that rotates all the time.
func small(t *testing.T) Options {
	o := options(t)
	o.Log.MaxSize, o.Log.MaxFiles = 20_000, 0
	return o
}

// files lists the names in the log's directory by kind.
func files(t *testing.T, o Options) (packedOnes, plain []string) {
	t.Helper()
	dir, err := os.ReadDir(filepath.Dir(o.File))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range dir {
		info, err := e.Info()
		if err != nil {
			continue // just compressed
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", e.Name(), info.Mode())
		}
		if strings.HasSuffix(e.Name(), ".zst") {
			packedOnes = append(packedOnes, e.Name())
		} else {
			plain = append(plain, e.Name())
		}
	}
	return packedOnes, plain
}

func TestModes(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	o := small(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 1000))
	if info, err := os.Stat(filepath.Dir(o.File)); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
	files(t, o)
}

// TestRotation: nothing is lost or doubled by rotation and compression.
func TestRotation(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) {
			o := small(t)
			o.Log.Format = format
			l := open(t, o)
			for i := range 20 {
				printed(t, l, Worker{PID: i}, numbered("line", i*200, (i+1)*200))
			}
			waitFor(t, "compression", func() bool { packed, plain := files(t, o); return len(plain) == 1 && len(packed) > 5 })
			got := lines(tail(t, l, Filter{}, -1))
			if diff := cmp.Diff(strings.Split(strings.TrimSpace(numbered("line", 0, 4000)), "\n"), got); diff != "" {
				t.Error(diff)
			}
			for _, b := range backups(o.File, zst.Packing{}) {
				if info, err := os.Stat(b.path); err == nil && info.Size() > 20_000 {
					t.Errorf("%s has %d bytes", b.path, info.Size())
				}
			}
		})
	}
}

func TestMaxFiles(t *testing.T) {
	for _, most := range []int{1, 3} {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			o := small(t)
			o.Log.MaxFiles = most
			l := open(t, o)
			printed(t, l, Worker{}, numbered("line", 0, 5000))
			waitFor(t, "deletion", func() bool { packed, plain := files(t, o); return len(packed) == most-1 && len(plain) == 1 })
			got := tail(t, l, Filter{}, 2000)
			if got[len(got)-1].Line != "line 4999" {
				t.Error(got[len(got)-1])
			}
		})
	}
}

func TestNoLimitOfSize(t *testing.T) {
	o := options(t)
	o.Log.MaxSize = 0
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 20_000))
	if _, plain := files(t, o); len(plain) != 1 {
		t.Error(plain)
	}
}

// TestRecordLargerThanTheFile is written whole all the same.
func TestRecordLargerThanTheFile(t *testing.T) {
	o := small(t)
	l := open(t, o)
	printed(t, l, Worker{}, "a\n"+strings.Repeat("x", 50_000)+"\nb\n")
	got := tail(t, l, Filter{}, -1)
	if len(got) != 3 || len(got[1].Line) != 50_000 {
		t.Error(len(got))
	}
	if n := len(backups(o.File, zst.Packing{})); n != 2 {
		t.Error(n, "rotated files")
	}
}

// TestEarlierAgent: torn lines, half-made archives and its records.
func TestEarlierAgent(t *testing.T) {
	o := small(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 1000))
	waitFor(t, "compression", func() bool { _, plain := files(t, o); return len(plain) == 1 })
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, o.File, `{"time":"2026-11-22T05:03:54Z","app":"web","slot":0,"li`)
	list := backups(o.File, zst.Packing{})
	last := list[len(list)-1].path
	if err := os.WriteFile(last+".zst.tmp", []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Killed between the rename and the removal: both forms are there.
	if err := os.WriteFile(last, []byte("already compressed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l = open(t, o)
	printed(t, l, Worker{}, numbered("line", 1000, 1010))
	waitFor(t, "tidiness", func() bool { _, err := os.Stat(last); return os.IsNotExist(err) })
	got := lines(tail(t, l, Filter{}, -1))
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(numbered("line", 0, 1010)), "\n"), got); diff != "" {
		t.Error(diff)
	}
}

func appendTo(t *testing.T, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

// checkJSON wants every line of a file to be a record and returns their lines.
func checkJSON(t *testing.T, path string) (got []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var r api.Record
		if err := json.Unmarshal(in.Bytes(), &r); err != nil {
			t.Errorf("%s: %q: %v", path, in.Text(), err)
		}
		got = append(got, r.Line)
	}
	return got
}

func TestMovedAndDeleted(t *testing.T) {
	o := options(t)
	l := open(t, o)
	printed(t, l, Worker{}, "1\n")
	if err := os.Rename(o.File, o.File+".moved"); err != nil {
		t.Fatal(err)
	}
	printed(t, l, Worker{}, "2\n")
	if got := checkJSON(t, o.File); !cmp.Equal(got, []string{"2"}) {
		t.Error("after a move:", got)
	}
	if got := checkJSON(t, o.File+".moved"); !cmp.Equal(got, []string{"1"}) {
		t.Error("moved:", got)
	}
	if err := os.RemoveAll(filepath.Dir(o.File)); err != nil {
		t.Fatal(err)
	}
	printed(t, l, Worker{}, "3\n")
	if got := checkJSON(t, o.File); !cmp.Equal(got, []string{"3"}) {
		t.Error("after a removal:", got)
	}
	files(t, o)
}

// TestCopyTruncate: logrotate's way; also a second writer at the same file.
func TestCopyTruncate(t *testing.T) {
	o := options(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("x", 0, 100))
	if err := os.Truncate(o.File, 0); err != nil {
		t.Fatal(err)
	}
	printed(t, l, Worker{}, "after\n")
	appendTo(t, o.File, `{"app":"web","slot":-1,"line":"foreign"}`+"\n")
	printed(t, l, Worker{}, "after that\n")
	if got := checkJSON(t, o.File); !cmp.Equal(got, []string{"after", "foreign", "after that"}) {
		t.Errorf("%q", got)
	}
}

func TestReopen(t *testing.T) {
	o := options(t)
	l := open(t, o)
	printed(t, l, Worker{}, "1\n")
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	printed(t, l, Worker{}, "2\n")
	if got := checkJSON(t, o.File); !cmp.Equal(got, []string{"1", "2"}) {
		t.Error(got)
	}
}

// TestUnwritable: the directory cannot be made at first; a file is in its way.
func TestUnwritable(t *testing.T) {
	var warned faults
	o := options(t)
	o.Warn = warned.add
	block := filepath.Dir(o.File)
	if err := os.WriteFile(block, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	s.out("while broken\n")
	waitFor(t, "the warning", func() bool { return warned.len() == 1 })
	if f := warned.all()[0]; f.Code != fault.LogWrite || f.Fix == "" {
		t.Errorf("%+v", f)
	}
	if got := lines(tail(t, l, Filter{}, 10)); !cmp.Equal(got, []string{"while broken"}) {
		t.Error(got)
	}
	waitFor(t, "hopelessness", func() bool { _, hopeless := l.waitWritten(t.Context(), 1); return hopeless })
	if _, c, _ := s.state(); c != 0 {
		t.Error("committed, and in no file: a kill would lose it")
	}
	for range heldBytes >> 16 {
		s.out(strings.Repeat("x", 1<<16-1) + "\n")
	}
	waitFor(t, "a commit although it fails", func() bool { g, c, _ := s.state(); return g == c })
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	lines := 1 + heldBytes>>16
	count := func() bool { b, _ := os.ReadFile(o.File); return strings.Count(string(b), "\n") == lines }
	waitFor(t, "the file", count)
	s.out("works again\n")
	s.end()
	done(t, a)
	lines++
	waitFor(t, "the file", count)
	if got := checkJSON(t, o.File); got[0] != "while broken" || got[lines-1] != "works again" || l.Counts().Lost != 0 {
		t.Errorf("%q … %q, %d lost", got[0], got[lines-1], l.Counts().Lost)
	}
	if warned.len() != 1 {
		t.Error(warned.all())
	}
}

func TestReconfigure(t *testing.T) {
	o := options(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("json", 0, 10))
	other := filepath.Join(filepath.Dir(o.File), "other.log")
	s := spec.DefaultLog()
	s.Format, s.Lines, s.LineMax = "text", 3, 20
	if err := l.Reconfigure(s, other); err != nil {
		t.Fatal(err)
	}
	if got := l.Last(0, -1); !cmp.Equal(got, []string{"json 7", "json 8", "json 9"}) {
		t.Error(got)
	}
	printed(t, l, Worker{}, "text\n"+strings.Repeat("y", 25)+"\n")
	if got := read(t, other); strings.Count(got, "\n") != 3 || !strings.Contains(got, " out+ "+strings.Repeat("y", 20)+"\n") {
		t.Error(got)
	}
	if got := len(checkJSON(t, o.File)); got != 10 {
		t.Error(got, "lines in the first file")
	}
	s.Target = spec.LogNone
	if err := l.Reconfigure(s, ""); err != nil {
		t.Fatal(err)
	}
	printed(t, l, Worker{}, "nowhere\n")
	if got := lines(tail(t, l, Filter{}, 1)); !cmp.Equal(got, []string{"nowhere"}) {
		t.Error(got)
	}
	if strings.Contains(read(t, other), "nowhere") {
		t.Error("target none wrote")
	}
}

func TestBadSettings(t *testing.T) {
	l := open(t, options(t))
	for _, c := range []struct {
		change func(*spec.Log)
		file   string
	}{
		{func(s *spec.Log) { s.Target = "tape" }, "/x"},
		{func(s *spec.Log) { s.Format = "xml" }, "/x"},
		{func(*spec.Log) {}, "relative.log"},
		{func(*spec.Log) {}, ""},
	} {
		s := spec.DefaultLog()
		c.change(&s)
		if _, err := Open(Options{App: "web", Log: s, File: c.file}); fault.CodeOf(err) != fault.Config {
			t.Error(err)
		}
		if err := l.Reconfigure(s, c.file); fault.CodeOf(err) != fault.Config {
			t.Error(err)
		}
	}
}
