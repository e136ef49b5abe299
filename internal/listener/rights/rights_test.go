package rights

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// As root another user is let to do what that user may, and makes files of its own;
// without root nobody can act for another.
func TestDo(t *testing.T) {
	dir, err := os.MkdirTemp("", "rights")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	open, closed := filepath.Join(dir, "open"), filepath.Join(dir, "closed")
	for path, mode := range map[string]os.FileMode{dir: 0o711, open: 0o777, closed: 0o755} {
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	who := Who{uid: 4321, gid: 1234, groups: []uint32{77}}
	try := func(path string) error { return who.Do(func() error { return os.Mkdir(path, 0o700) }) }
	if os.Geteuid() != 0 {
		if err := try(filepath.Join(open, "x")); err == nil {
			t.Error("acted for another without being root")
		}
		return
	}
	if err := try(filepath.Join(closed, "x")); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("in a directory of root's: %v", err)
	}
	if err := try(filepath.Join(open, "x")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(open, "x"))
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 4321 || st.Gid != 1234 {
		t.Errorf("it belongs to %d:%d", st.Uid, st.Gid)
	}
	if uid, _ := unix.SetfsuidRetUid(-1); uid != 0 {
		t.Errorf("this thread is %d now", uid)
	}
	if err := os.Mkdir(filepath.Join(closed, "y"), 0o700); err != nil {
		t.Errorf("root afterwards: %v", err)
	}
}

// A group that may, may.
func TestGroups(t *testing.T) {
	dir := t.TempDir()
	for path := dir; path != "/" && path != os.TempDir(); path = filepath.Dir(path) {
		if err := os.Chmod(path, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	if os.Geteuid() != 0 {
		dir = "" // a plain call of the user that this is
		if err := (Who{uid: os.Geteuid()}).Do(func() error { return nil }); err != nil {
			t.Error(err)
		}
		return
	}
	if err := errors.Join(os.Chown(dir, 0, 77), os.Chmod(dir, 0o770)); err != nil {
		t.Fatal(err)
	}
	create := func() error { return os.Mkdir(filepath.Join(dir, "x"), 0o700) }
	if err := (Who{uid: 4321, gid: 1234}).Do(create); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("without the group: %v", err)
	}
	if err := (Who{uid: 4321, gid: 1234, groups: []uint32{77}}).Do(create); err != nil {
		t.Errorf("with the group: %v", err)
	}
}

func TestOf(t *testing.T) {
	if who, err := Of("root"); err != nil || who.uid != 0 || who.gid != 0 {
		t.Errorf("root: %+v, %v", who, err)
	}
	if who, err := Of("987654321"); err != nil || who.uid != 987654321 || who.gid != nobody {
		t.Errorf("a number: %+v, %v", who, err)
	}
	for _, name := range []string{"no such user", "-1", ""} {
		if who, err := Of(name); fault.CodeOf(err) != fault.UserUnknown {
			t.Errorf("%q: %+v, %v", name, who, err)
		}
	}
}
