package socket

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/muster-run/muster/fault"
)

// The next agent goes on with the same socket: who waits in its queue is answered.
func TestAdopt(t *testing.T) {
	path := filepath.Join(tempDir(t), "c.sock")
	first, err := Listen(path, "", 0)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := first.File()
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	first.Keep()
	first.Close()
	waiting, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	second, err := Adopt(kept, path)
	if err != nil {
		t.Fatal(err)
	}
	c, err := second.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	second.Close()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Close has left the socket: %v", err)
	}
	_, err = Adopt(kept, path)
	wantCode(t, err, fault.SocketGone)
}

// tempDir has a short name: paths of sockets are short.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestAdoptWantsItsOwnSocket(t *testing.T) {
	dir := tempDir(t)
	listen(t, filepath.Join(dir, "a.sock"), "", 0)
	other, err := Listen(filepath.Join(dir, "b.sock"), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	f, err := other.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	_, err = Adopt(f, filepath.Join(dir, "a.sock"))
	wantCode(t, err, fault.Internal)
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = Adopt(f, filepath.Join(dir, "file"))
	wantCode(t, err, fault.SocketGone)
}

func wantCode(t *testing.T, err error, code fault.Code) *fault.Fault {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Fatalf("got %v, want a fault %s", err, code)
	}
	return fault.From(err)
}

// aGroup is a group that this process may give files to.
func aGroup() (gid int, name string) {
	gid = 4712
	if os.Geteuid() != 0 {
		gid = os.Getegid()
	}
	return gid, strconv.Itoa(gid)
}
