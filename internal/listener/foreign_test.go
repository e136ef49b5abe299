package listener

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/muster-run/muster/spec"
)

func TestForeign(t *testing.T) {
	ours := bound(t, "tcp", "127.0.0.1:0")
	path := t.TempDir() + "/own.sock"
	c := python(t, `import socket
a = socket.create_server(('127.0.0.1', 0))
b = socket.create_server(('::1', 0), family=socket.AF_INET6)
u = socket.socket(socket.AF_UNIX); u.bind('`+path+`'); u.listen()
idle = socket.socket(); idle.bind(('127.0.0.1', 0))
client = socket.create_connection(a.getsockname())
print('up'); print(a.getsockname()[1]); print(b.getsockname()[1])
import sys; sys.stdin.read()`, ours)
	v4, v6 := c.line(t), c.line(t)
	idle := self(t, "hold", ours)
	found, err := Foreign([]int{idle.pid, c.pid, 1 << 30}, map[uint64]bool{inodeOf(t, ours): true})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"tcp 127.0.0.1:" + v4, "tcp6 [::1]:" + v6, "unix " + path}
	if len(found) != len(want) {
		t.Fatalf("found %+v", found)
	}
	for i, s := range found {
		if got := s.Network + " " + s.Address; got != want[i] || s.PID != c.pid || s.Inode == 0 {
			t.Errorf("%d: %+v, want %s", i, s, want[i])
		}
		if ap, err := netip.ParseAddrPort(s.Address); err == nil && int(ap.Port()) != s.Port {
			t.Errorf("port %d of %s", s.Port, s.Address)
		}
	}
	all, err := Foreign([]int{idle.pid}, nil)
	if err != nil || len(all) != 1 || all[0].Inode != inodeOf(t, ours) {
		t.Errorf("without ours: %+v, %v", all, err)
	}
	none, err := Foreign(nil, nil)
	if err != nil || len(none) != 0 {
		t.Errorf("nobody: %v, %v", none, err)
	}
}

func TestParseInet(t *testing.T) {
	line := "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 46 1 0000000000000000 100 0 0 10 0"
	r, ok := parseInet("tcp", line)
	want := row{network: "tcp", local: netip.MustParseAddrPort("127.0.0.1:8080"), state: tcpListen, accepts: true, uid: 1000, inode: 46}
	if littleEndian() && (!ok || r != want) {
		t.Errorf("%+v, %v", r, ok)
	}
	line = "   0: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 47 1"
	if r, ok := parseInet("tcp6", line); littleEndian() && (!ok || r.address() != "[::1]:80") {
		t.Errorf("%+v, %v", r, ok)
	}
}

func TestParseUnix(t *testing.T) {
	r, ok := parseUnix("0000000000000000: 00000002 00000000 00010000 0001 01 11646 /run/a b.sock")
	if !ok || r.path != "/run/a b.sock" || r.inode != 11646 || !r.accepts || r.state != 1 {
		t.Errorf("%+v, %v", r, ok)
	}
	r, ok = parseUnix("0000000000000000: 00000003 00000000 00000000 0001 03  9482")
	if !ok || r.path != "" || r.inode != 9482 || r.accepts {
		t.Errorf("%+v, %v", r, ok)
	}
}

func FuzzTables(f *testing.F) {
	for _, path := range []string{"/proc/net/tcp", "/proc/net/tcp6", "/proc/net/unix"} {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for i, line := range strings.Split(string(text), "\n") {
			if i < 20 {
				f.Add(line)
			}
		}
	}
	f.Add("tfd:        3 events:       19 data:                3  pos:0 ino:2d7e sdev:9")
	f.Add("  op=13, task_works=0")
	f.Fuzz(func(t *testing.T, line string) {
		if r, ok := parseInet("tcp", line); ok && r.network != "tcp" {
			t.Error(r)
		}
		if r, ok := parseUnix(line); ok && r.network != "unix" {
			t.Error(r)
		}
		parseTarget(line)
		ringWaits(line)
		for _, fd := range fdsOfPoll([]byte(line)) {
			_ = fd
		}
		for _, fd := range fdsOfSelect([]byte(line), len(line)*9) {
			if fd < 0 || fd >= len(line)*8 {
				t.Error(fd)
			}
		}
	})
}

func TestAddressWithZone(t *testing.T) {
	links, err := net.Interfaces()
	if err != nil || len(links) == 0 {
		t.Fatalf("no interfaces: %v", err)
	}
	at, err := resolve(spec.Listener{Network: "tcp", Address: "[fe80::1%" + links[0].Name + "]:80"})
	if err != nil || at.zone != uint32(links[0].Index) {
		t.Errorf("%+v, %v", at, err)
	}
}
