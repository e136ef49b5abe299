package listener

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

func asked(t *testing.T, a Asked, slots int) []*os.File {
	t.Helper()
	files, err := BindAsked(a, slots)
	if err != nil {
		t.Fatalf("%+v: %v", a, err)
	}
	t.Cleanup(func() { closeFiles(files) })
	return files
}

// Each kind of request is bound as Node's own primary would, and described as a
// declared listener would be.
func TestAskedKinds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	for _, tt := range []struct {
		a      Asked
		key    string
		at     string // its address, without the port
		v4, v6 bool
	}{
		{Asked{Kind: "4"}, "tcp://:0", "[::]", true, true},
		{Asked{Kind: "4", Address: "0.0.0.0"}, "tcp://0.0.0.0:0", "0.0.0.0", true, false},
		{Asked{Kind: "4", Address: "127.0.0.1"}, "tcp://127.0.0.1:0", "127.0.0.1", true, false},
		{Asked{Kind: "6", Address: "::"}, "tcp://[::]:0", "[::]", true, true},
		{Asked{Kind: "6", Address: "::", Only6: true}, "tcp6://[::]:0", "[::]", false, true},
		{Asked{Kind: "6", Address: "::1"}, "tcp://[::1]:0", "[::1]", false, true},
		{Asked{Kind: "udp4"}, "udp4://0.0.0.0:0", "0.0.0.0", false, false},
		{Asked{Kind: "udp4", Address: "127.0.0.1", Reuse: true}, "udp4://127.0.0.1:0", "127.0.0.1", false, false},
		{Asked{Kind: "udp6"}, "udp://[::]:0", "[::]", false, false},
		{Asked{Kind: "udp6", Address: "::", Only6: true, Reuse: true}, "udp6://[::]:0", "[::]", false, false},
		{Asked{Kind: "unix", Address: path, Port: -1}, "unix://" + path, path, false, false},
	} {
		t.Run(tt.key, func(t *testing.T) {
			if got := tt.a.Spec().Key(); got != tt.key {
				t.Errorf("key %s", got)
			}
			f := asked(t, tt.a, 0)[0]
			if got := Addr(f); got != tt.at && !strings.HasPrefix(got, tt.at+":") {
				t.Errorf("bound to %s", got)
			}
			if !tt.v4 && !tt.v6 {
				return
			}
			port := portOf(t, f)
			for host, want := range map[string]bool{"127.0.0.1": tt.v4, "::1": tt.v6} {
				c, err := net.Dial("tcp", net.JoinHostPort(host, port))
				if (err == nil) != want {
					t.Errorf("%s: %v", host, err)
				}
				if err == nil {
					c.Close()
				}
			}
		})
	}
}

// UDP takes IPv4 on its IPv6 wildcard unless it was asked not to; SO_REUSEADDR only
// as asked.
func TestAskedFlags(t *testing.T) {
	for _, only := range []bool{false, true} {
		a := Asked{Kind: "udp6", Address: "::", Only6: only, Reuse: only}
		err := control(asked(t, a, 0)[0], func(fd int) error {
			v6, err := unix.GetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
			if err != nil || (v6 != 0) != only {
				t.Errorf("IPV6_V6ONLY %d, %v", v6, err)
			}
			reuse, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR)
			if err != nil || (reuse != 0) != only {
				t.Errorf("SO_REUSEADDR %d, %v", reuse, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestAskedGroup(t *testing.T) {
	files := asked(t, Asked{Kind: "4"}, 3)
	if len(files) != 3 {
		t.Fatalf("%d sockets", len(files))
	}
	dial(t, net.JoinHostPort("127.0.0.1", portOf(t, files[0])), 30)
	if counts := takenBy(t, files, 30); sum(counts) != 30 {
		t.Errorf("%v of 30", counts)
	}
	_, err := BindAsked(Asked{Kind: "unix", Address: filepath.Join(t.TempDir(), "s")}, 2)
	wantText(t, faultOf(t, err, fault.Bind).Fix, "shared")
}

// Where IPv6 cannot be had, every address is that of IPv4, as in Node.
func TestAskedFallsBackToIPv4(t *testing.T) {
	at, err := endpointOf(bound(t, "tcp6", ":0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, slots := range []int{0, 2} {
		files := asked(t, Asked{Kind: "4", Port: at.port}, slots)
		if got := Addr(files[0]); got != fmt.Sprintf("0.0.0.0:%d", at.port) {
			t.Errorf("slots %d: bound to %s", slots, got)
		}
		closeFiles(files)
	}
}

// The file of a UNIX socket is as open as was asked for, and belongs to whom it
// should; it can be restored and removed by what Spec says.
func TestAskedUnix(t *testing.T) {
	dir := t.TempDir()
	for i, tt := range []struct {
		readable, writable bool
		mode               os.FileMode
	}{{false, false, 0o600}, {true, false, 0o644}, {false, true, 0o622}, {true, true, 0o666}} {
		a := Asked{Kind: "unix", Address: filepath.Join(dir, strconv.Itoa(i)), Readable: tt.readable, Writable: tt.writable}
		f := asked(t, a, 0)[0]
		info, err := os.Stat(a.Address)
		if err != nil || info.Mode().Perm() != tt.mode {
			t.Errorf("%v %v: %v, %v", tt.readable, tt.writable, info.Mode(), err)
		}
		if err := os.Remove(a.Address); err != nil {
			t.Fatal(err)
		}
		if restored, err := Restore(a.Spec()); !restored || err != nil {
			t.Errorf("restored %v, %v", restored, err)
		}
		if err := Unlink(a.Spec(), f); err != nil {
			t.Error(err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if got := (Asked{Kind: "unix", Address: "/s", Owner: "www"}).Spec().Owner; got != "www" {
		t.Errorf("owner %q", got)
	}
}

// A worker is told what Node's own primary would tell it; nothing is looked up.
func TestAskedErrors(t *testing.T) {
	dir := t.TempDir()
	held := bound(t, "tcp", "127.0.0.1:0")
	at, err := endpointOf(held)
	if err != nil {
		t.Fatal(err)
	}
	live := bound(t, "unix", filepath.Join(dir, "live"))
	for _, tt := range []struct {
		a    Asked
		want error
	}{
		{Asked{Kind: "4", Address: "127.0.0.1", Port: at.port}, unix.EADDRINUSE},
		{Asked{Kind: "4", Address: "192.0.2.1"}, unix.EADDRNOTAVAIL},
		{Asked{Kind: "4", Address: "localhost", Port: 80}, unix.EINVAL},
		{Asked{Kind: "4", Port: 70000}, unix.EINVAL},
		{Asked{Kind: "udp4", Port: -1}, unix.EINVAL},
		{Asked{Kind: "", Port: 8000}, unix.EINVAL},
		{Asked{Kind: "5", Port: 8000}, unix.EINVAL},
		{Asked{Kind: "unix", Address: "s"}, unix.EINVAL},
		{Asked{Kind: "unix", Address: ""}, unix.EINVAL},
		{Asked{Kind: "unix", Address: Addr(live)}, unix.EADDRINUSE},
		{Asked{Kind: "unix", Address: filepath.Join(dir, "no", "s")}, unix.ENOENT},
		{Asked{Kind: "unix", Address: "/" + strings.Repeat("x", PathMax)}, unix.ENAMETOOLONG},
		{Asked{Kind: "unix", Address: filepath.Join(dir, "x"), Owner: "no-such-user"}, unix.EINVAL},
	} {
		for _, slots := range []int{0, 2} {
			if slots > 0 && tt.a.Kind != "4" {
				continue
			}
			files, err := BindAsked(tt.a, slots)
			if got := Errno(err); got != tt.want || fault.CodeOf(err) == "" {
				t.Errorf("%+v: %v (%v), want %v", tt.a, got, err, tt.want)
			}
			closeFiles(files)
		}
	}
}

func TestErrno(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want error
	}{
		{fault.New(fault.Permission, "no"), unix.EACCES},
		{fault.New(fault.PortInUse, "taken"), unix.EADDRINUSE},
		{fault.New(fault.Bind, "cannot: %w", os.NewSyscallError("bind", unix.EACCES)), unix.EACCES},
		{errors.New("something"), unix.EINVAL},
	} {
		if got := Errno(tt.err); got != tt.want {
			t.Errorf("%v: %v, want %v", tt.err, got, tt.want)
		}
	}
	if Errno(nil) != 0 {
		t.Error("nil is an error")
	}
}

// Root makes no socket for a worker where the worker's user could not make one, and
// removes none there.
func TestAskedWithTheRightsOfItsUser(t *testing.T) {
	root := os.Geteuid() == 0
	dir, err := os.MkdirTemp("", "l")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, mode := range map[string]os.FileMode{"": 0o711, "closed": 0o755, "open": 0o777} {
		at := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(at, 0o700), os.Chmod(at, mode)); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(dir, "closed", "old") // of a server that is gone
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: old})
		unix.Close(fd)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{old, filepath.Join(dir, "closed", "new")} {
		_, err := BindAsked(Asked{Kind: "unix", Address: path, Port: -1, Owner: "4321", Writable: true}, 0)
		if got := Errno(err); got != unix.EACCES && root || got == 0 {
			t.Errorf("%s: %v", path, err)
		}
	}
	if _, err := os.Lstat(old); err != nil {
		t.Errorf("what was there: %v", err)
	}
	if !root {
		return
	}
	path := filepath.Join(dir, "open", strings.Repeat("d", 120), "s")
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o755), os.Chown(filepath.Dir(path), 4321, -1)); err != nil {
		t.Fatal(err)
	}
	asked(t, Asked{Kind: "unix", Address: path, Port: -1, Owner: "4321", Readable: true, Writable: true}, 0)
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 4321 || info.Mode().Perm() != 0o666 {
		t.Errorf("it belongs to %d, mode %o", st.Uid, info.Mode().Perm())
	}
}
