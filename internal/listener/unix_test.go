package listener

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func unixSpec(path string) spec.Listener {
	return spec.Listener{Name: "web", Network: "unix", Address: path}
}

func TestUnixMode(t *testing.T) {
	dir := t.TempDir()
	for _, mode := range []spec.FileMode{0, 0o600, 0o660, 0o666, 0o777, 0o400} {
		l := unixSpec(fmt.Sprintf("%s/%o", dir, mode))
		l.Mode = mode
		f, err := Bind(l)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Lstat(l.Address)
		if err != nil {
			t.Fatal(err)
		}
		want := os.FileMode(mode)
		if mode == 0 {
			want = 0o600
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode %o, want %o", got, want)
		}
		if got := Addr(f); got != l.Address {
			t.Errorf("Addr = %q", got)
		}
		if want&0o200 != 0 { // connecting is writing
			if err := reach(t, f, "unix", l.Address); err != nil {
				t.Errorf("mode %o: %v", mode, err)
			}
		}
		f.Close()
	}
}

// The file is never more open than asked, whatever the umask: only its maker may
// use it until it has its owner.
func TestUnixNoWindow(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	l := unixSpec(t.TempDir() + "/s")
	l.Mode, l.Group = 0o666, "4321"
	if os.Geteuid() != 0 {
		l.Group = strconv.Itoa(os.Getegid())
	}
	stop, seen := make(chan struct{}), make(chan []string)
	go func() { seen <- watchMode(l, stop) }()
	for range 300 {
		f, err := Bind(l)
		if err != nil {
			t.Error(err)
			break
		}
		f.Close()
	}
	close(stop)
	if bad := <-seen; len(bad) > 0 {
		t.Errorf("too open: %v", bad)
	}
}

// watchMode looks at the file all the time and tells when it was too open. The
// kernel reads mode and group one after the other, so a single look may show the
// group from before the hand-over with the mode from after it: what is seen counts
// when the same file shows it twice.
func watchMode(l spec.Listener, stop <-chan struct{}) (bad []string) {
	for {
		select {
		case <-stop:
			return bad
		default:
		}
		first, open := tooOpen(l)
		again, still := tooOpen(l)
		if open && still && first.Ino == again.Ino {
			bad = append(bad, fmt.Sprintf("%o of group %d", again.Mode&0o777, again.Gid))
		}
	}
}

func tooOpen(l spec.Listener) (st syscall.Stat_t, open bool) {
	if err := syscall.Lstat(l.Address, &st); err != nil {
		return st, false
	}
	return st, st.Mode&0o777 != 0o600 && strconv.Itoa(int(st.Gid)) != l.Group
}

// What was made is removed again when it cannot be finished.
func TestUnixFailureLeavesNothing(t *testing.T) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(fd)
	l := unixSpec(t.TempDir() + "/s")
	if err := attachUnix(fd, l, ids{-1, -1}); err == nil {
		t.Error("a datagram socket listens")
	}
	if _, err := os.Lstat(l.Address); err == nil {
		t.Error("the file was left behind")
	}
}

func TestUnixOwner(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	l.Owner, l.Group, l.Mode = "1234", "4321", 0o660
	if os.Geteuid() != 0 {
		_, err := Bind(l)
		if fault.CodeOf(err) != fault.Permission {
			t.Errorf("not root: %v", err)
		}
		return
	}
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := os.Lstat(l.Address)
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	if st.Uid != 1234 || st.Gid != 4321 || info.Mode().Perm() != 0o660 {
		t.Errorf("uid %d gid %d mode %o", st.Uid, st.Gid, info.Mode().Perm())
	}
}

func TestUnixOwnerByName(t *testing.T) {
	l := unixSpec("/x")
	l.Owner, l.Group = "root", "root"
	if got, err := ownerIDs(l); err != nil || got != (ids{0, 0}) {
		t.Errorf("ownerIDs = %v, %v", got, err)
	}
	for _, l := range []spec.Listener{{Owner: "no such user"}, {Group: "no such group"}, {Owner: "-1"}} {
		l.Network, l.Address = "unix", t.TempDir()+"/s"
		_, err := Bind(l)
		if fault.CodeOf(err) != fault.UserUnknown {
			t.Errorf("%v: %v", l, err)
		}
		if _, err := os.Lstat(l.Address); err == nil {
			t.Error("a file was made")
		}
	}
}

func TestUnixPathLength(t *testing.T) {
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	fits := dir + "/" + strings.Repeat("x", PathMax-len(dir)-2)
	f, err := Bind(unixSpec(fits))
	if err != nil {
		t.Fatalf("%d bytes: %v", len(fits), err)
	}
	f.Close()
	for _, long := range []string{fits + "x", dir + strings.Repeat("/x", 4096/2) + "/s"} {
		if _, err = Bind(unixSpec(long)); fault.CodeOf(err) != fault.SocketPath {
			t.Errorf("%d bytes: %v", len(long), err)
		}
	}
}

// A socket deep down is reached from its directory; its file comes and goes as others.
func TestUnixDeepPath(t *testing.T) {
	dir := t.TempDir() + "/" + strings.Repeat("d", 120)
	l := unixSpec(dir + "/s")
	if _, err := Bind(l); fault.CodeOf(err) != fault.Bind {
		t.Errorf("without its directory: %v", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	reached := func(when string) {
		t.Helper()
		c, err := net.Dial("unix", "s")
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		c.Close()
	}
	reached("bound")
	if _, err := Bind(l); fault.CodeOf(err) != fault.PortInUse {
		t.Errorf("a second time: %v", err)
	}
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	if restored, err := Restore(l); !restored || err != nil {
		t.Errorf("%v, %v", restored, err)
	}
	reached("restored")
	f.Close()
	if f, err = Bind(l); err != nil {
		t.Fatalf("over what a dead one has left: %v", err)
	}
	defer f.Close()
	reached("bound again")
	if err := Unlink(l, f); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestUnixStaleFileIsReplaced(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	first, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	first.Close() // the file stays, as after a crash
	second, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := reach(t, second, "unix", l.Address); err != nil {
		t.Error(err)
	}
}

func TestUnixLiveSocketIsKept(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	c := self(t, "hold", f)
	f.Close()
	_, err = Bind(l)
	if fault.CodeOf(err) != fault.PortInUse {
		t.Fatalf("second bind: %v", err)
	}
	wantText(t, err.Error(), fmt.Sprintf("pid %d (", c.pid), l.Address)
	if _, err := os.Lstat(l.Address); err != nil {
		t.Error("its file is gone")
	}
}

// A live socket whose backlog is full, or of another type, is alive as well.
func TestUnixLiveInOtherWays(t *testing.T) {
	full := unixSpec(t.TempDir() + "/full")
	full.Backlog = 1
	f, err := Bind(full)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for range 3 {
		if c, err := net.DialTimeout("unix", full.Address, 1); err == nil {
			defer c.Close()
		}
	}
	if _, err := Bind(full); fault.CodeOf(err) != fault.PortInUse {
		t.Errorf("full: %v", err)
	}
	path := t.TempDir() + "/dgram"
	d, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := Bind(unixSpec(path)); fault.CodeOf(err) != fault.PortInUse {
		t.Errorf("datagram: %v", err)
	}
}

func TestUnixOtherFilesAreKept(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, sub} {
		_, err := Bind(unixSpec(path))
		if fault.CodeOf(err) != fault.Bind {
			t.Errorf("%s: %v", path, err)
			continue
		}
		wantText(t, err.Error(), "no socket")
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("%s is gone", path)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "precious" {
		t.Errorf("file: %q, %v", text, err)
	}
}

func TestUnixDirectoryMissing(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{t.TempDir() + "/no/s", exe + "/s"} {
		_, err := Bind(unixSpec(path))
		if fault.CodeOf(err) != fault.Bind {
			t.Errorf("%v", err)
			continue
		}
		wantText(t, err.Error(), "does not exist")
		wantText(t, fault.From(err).Fix, filepath.Dir(path))
	}
}

func TestUnlink(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	f, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := Unlink(spec.Listener{Network: "tcp", Address: l.Address}, f); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(l.Address); err != nil {
		t.Fatal("removed for tcp")
	}
	for range 2 { // the second time it is gone already
		if err := Unlink(l, f); err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(l.Address); err == nil {
			t.Error("still there")
		}
	}
}

// The path may belong to another socket by now: that file stays.
func TestUnlinkLeavesOthers(t *testing.T) {
	l := unixSpec(t.TempDir() + "/s")
	old, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	fresh, err := Bind(l)
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Close()
	if err := Unlink(l, old); err != nil {
		t.Error(err)
	}
	if err := reach(t, fresh, "unix", l.Address); err != nil {
		t.Errorf("the new socket's file is gone: %v", err)
	}
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(l.Address, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	fresh.Close()
	if err := Unlink(l, old); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(l.Address); err != nil {
		t.Error("a file that is no socket was removed")
	}
}
