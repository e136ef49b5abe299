package step

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// Most of the step is proved by package process, which starts programs by it.

func TestReports(t *testing.T) {
	note, _ := json.Marshal(Report{Stage: StageCgroup, Errno: syscall.EBUSY})
	fatal, _ := json.Marshal(Report{Stage: StageExec, Errno: syscall.ENOENT, Detail: "x\ny", Fatal: true})
	text := slices.Concat(note, []byte("\n"), fatal, []byte("\n"))
	r, notes := Reports(text)
	if r == nil || r.Stage != StageExec || r.Errno != syscall.ENOENT || r.Detail != "x\ny" || len(notes) != 1 {
		t.Errorf("%+v, %+v", r, notes)
	}
	if r, notes := Reports(nil); r != nil || notes != nil {
		t.Errorf("success: %+v, %+v", r, notes)
	}
	if r, _ := Reports(text[:len(text)-5]); r == nil || !r.Fatal || r.Errno != syscall.EIO {
		t.Errorf("torn: %+v", r)
	}
}

func TestPlanKeepsBytes(t *testing.T) {
	list := []string{"a", "", "\xff\xfe", "ü\n"}
	f, err := (&Plan{Argv: Join(list)}).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var back Plan
	if err := json.NewDecoder(f).Decode(&back); err != nil || !slices.Equal(splitZero(back.Argv), list) {
		t.Errorf("%q, %v", back.Argv, err)
	}
	if got := splitZero(Join(nil)); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

func TestFindProgram(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"run": 0o700, "plain": 0o600} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(dir+"/folder", 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/first", "PATH=/nowhere:" + dir} // the last one counts, as in a shell
	if got, err := findProgram("run", env); err != nil || got != dir+"/run" {
		t.Errorf("%q, %v", got, err)
	}
	for name, want := range map[string]syscall.Errno{"plain": syscall.EACCES, "folder": syscall.EACCES, "none": syscall.ENOENT, "./none": syscall.ENOENT} {
		if _, err := findProgram(name, env); errnoIn(err) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func errnoIn(err error) syscall.Errno {
	if e, ok := err.(*stepError); ok {
		return e.errno
	}
	return 0
}
