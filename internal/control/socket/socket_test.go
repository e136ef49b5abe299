package socket

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func listen(t *testing.T, path, group string, mode spec.FileMode) net.Listener {
	t.Helper()
	l, err := Listen(path, group, mode)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func wantMode(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, mode)
	}
}

func TestListenModes(t *testing.T) {
	path := filepath.Join(tempDir(t), "a", "b", "c.sock")
	listen(t, path, "", 0)
	wantMode(t, path, 0o600)
	wantMode(t, filepath.Dir(path), 0o700)
	wantMode(t, filepath.Dir(filepath.Dir(path)), 0o700)
	other := filepath.Join(tempDir(t), "c.sock")
	listen(t, other, "", 0o660)
	wantMode(t, other, 0o660)
}

// With a group, the socket and the way to it are the group's; nobody else's.
func TestListenForGroup(t *testing.T) {
	gid, name := aGroup()
	path := filepath.Join(tempDir(t), "run", "c.sock")
	listen(t, path, name, 0)
	wantMode(t, path, 0o660)
	wantMode(t, filepath.Dir(path), 0o710)
	for _, p := range []string{path, filepath.Dir(path)} {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := ownerOf(info); got != gid {
			t.Errorf("%s belongs to group %d, want %d", p, got, gid)
		}
	}
	_, err := Listen(path+"2", "no-such-group", 0)
	wantCode(t, err, fault.UserUnknown)
}

// The socket is at no moment more open than 0600, whatever the umask says.
func TestListenHasNoWindow(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0))
	path := filepath.Join(tempDir(t), "c.sock")
	stop, wide := make(chan bool), make(chan os.FileMode, 1)
	go func() {
		defer close(wide)
		for {
			select {
			case <-stop:
				return
			default:
			}
			if info, err := os.Lstat(path); err == nil && info.Mode().Perm() != 0o600 {
				wide <- info.Mode().Perm()
				return
			}
		}
	}()
	for range 300 {
		l, err := Listen(path, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
	close(stop)
	if mode, seen := <-wide; seen {
		t.Errorf("the socket was %v for a moment", mode)
	}
}

func TestListenPathLength(t *testing.T) {
	dir := tempDir(t)
	fits := filepath.Join(dir, strings.Repeat("x", maxSocketPath-len(dir)-1))
	listen(t, fits, "", 0)
	_, err := Listen(fits+"x", "", 0)
	f := wantCode(t, err, fault.SocketPath)
	if !strings.Contains(f.Text, "104") || f.Where != fits+"x" {
		t.Errorf("got %v", f)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	old, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	old.(*net.UnixListener).SetUnlinkOnClose(false)
	old.Close()
	l := listen(t, path, "", 0)
	go func() {
		if c, err := l.Accept(); err == nil {
			c.Close()
		}
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A second agent is refused (S1.1), also when the first is too busy to accept.
func TestListenRefusesSecondAgent(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	listen(t, path, "", 0)
	_, err := Listen(path, "", 0)
	wantCode(t, err, fault.AgentRunning)
	if _, err := net.Dial("unix", path); err != nil {
		t.Errorf("the first agent's socket is gone: %v", err)
	}
}

func TestListenTouchesNoFile(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(path, "", 0)
	wantCode(t, err, fault.StateDir)
	if text, _ := os.ReadFile(path); string(text) != "precious" {
		t.Errorf("the file is now %q", text)
	}
}

func TestListenChecksDirectory(t *testing.T) {
	dir := tempDir(t)
	if err := os.Chmod(dir, 0o770); err != nil {
		t.Fatal(err)
	}
	_, err := Listen(filepath.Join(dir, "c.sock"), "", 0)
	f := wantCode(t, err, fault.StateDir)
	if f.Where != dir || !strings.Contains(f.Text, "0770") {
		t.Errorf("got %v", f)
	}
	file := filepath.Join(tempDir(t), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Listen(filepath.Join(file, "c.sock"), "", 0)
	wantCode(t, err, fault.StateDir)
	// A directory of another user: /proc/1 for a plain user, one we gave away
	// as root.
	foreign := "/proc"
	if os.Geteuid() == 0 {
		foreign = tempDir(t)
		if err := os.Chown(foreign, 4711, -1); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Listen(filepath.Join(foreign, "c.sock"), "", 0)
	f = wantCode(t, err, fault.StateDir)
	if !strings.Contains(f.Text, "belongs to uid") {
		t.Errorf("got %v", f)
	}
}

func TestCloseRemovesOnlyItsOwn(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	first := listen(t, path, "", 0)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listen(t, path, "", 0)
	first.Close()
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the second socket is gone: %v", err)
	}
	second.Close()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	second.Close() // may be done twice
}
