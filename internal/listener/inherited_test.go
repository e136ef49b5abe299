package listener

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/spec"
)

// playInherited prints what this process inherited and what fd listeners bind.
func playInherited() int {
	found, err := Inherited()
	if err != nil {
		fmt.Println("error:", err)
	}
	for _, n := range found {
		flags, _ := unix.FcntlInt(uintptr(n.fd), unix.F_GETFD, 0)
		fmt.Println(n.Name, Addr(n.File), "original closes on exec:", flags&unix.FD_CLOEXEC != 0)
		n.File.Close()
	}
	for _, address := range strings.Fields(os.Getenv("TRY")) {
		f, err := Bind(spec.Listener{Name: "x", Network: "fd", Address: address})
		if err != nil {
			fmt.Println(address, "error:", err)
			continue
		}
		fmt.Println(address, Addr(f), f.Name())
		f.Close()
	}
	fmt.Println("up")
	return 0
}

// inherit starts the child as systemd would, with LISTEN_PID by a shell.
func inherit(t *testing.T, files []*os.File, names, pid, try string) []string {
	t.Helper()
	env := []string{roleEnv + "=inherited", fmt.Sprintf("LISTEN_FDS=%d", len(files)), "LISTEN_FDNAMES=" + names, "TRY=" + try}
	c := start(t, nil, files, env, "sh", "-c", "LISTEN_PID="+pid+` exec "$0"`, os.Args[0])
	var lines []string
	for {
		line := c.line(t)
		if line == "up" {
			return lines
		}
		lines = append(lines, line)
	}
}

func TestInherited(t *testing.T) {
	a, b := bound(t, "tcp", "127.0.0.1:0"), bound(t, "udp", "127.0.0.1:0")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	lines := inherit(t, []*os.File{a, b, r}, "web:dns", "$$", "web dns 3 4 5 nope web")
	want := []string{
		"web " + Addr(a) + " original closes on exec: true",
		"dns " + Addr(b) + " original closes on exec: true",
		"unknown  original closes on exec: true",
		"web " + Addr(a) + " fd://web",
		"dns " + Addr(b) + " fd://dns",
		"3 " + Addr(a) + " fd://3",
		"4 " + Addr(b) + " fd://4",
		"5 error: listener x (fd://5): descriptor 5 is no socket",
		`nope error: listener x (fd://nope): no inherited socket is called "nope" (inherited: web (3), dns (4), unknown (5))`,
		"web " + Addr(a) + " fd://web",
	}
	if len(lines) != len(want) {
		t.Fatalf("got %q", lines)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]) {
			t.Errorf("line %d: %q, want %q", i, line, want[i])
		}
	}
}

// What was passed to another process is not ours, but a number still works.
func TestInheritedByAnother(t *testing.T) {
	a := bound(t, "tcp", "127.0.0.1:0")
	lines := inherit(t, []*os.File{a}, "web", "1", "web 3")
	if len(lines) != 2 || !strings.Contains(lines[0], "inherited: none") || lines[1] != "3 "+Addr(a)+" fd://3" {
		t.Errorf("got %q", lines)
	}
}

func TestInheritedPromiseNotKept(t *testing.T) {
	t.Setenv("LISTEN_PID", fmt.Sprint(os.Getpid()))
	t.Setenv("LISTEN_FDS", "100000")
	if found, err := Inherited(); err == nil {
		t.Errorf("found %v", found)
	}
	t.Setenv("LISTEN_FDS", "many")
	if _, err := Inherited(); err == nil {
		t.Error("LISTEN_FDS=many was taken")
	}
	t.Setenv("LISTEN_FDS", "0")
	if found, err := Inherited(); err != nil || len(found) != 0 {
		t.Errorf("none: %v, %v", found, err)
	}
}

func TestServing(t *testing.T) {
	fd, err := newSocket(unix.AF_INET, unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := serving(fd); err == nil {
		t.Error("a socket that does not listen")
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := serving(pair[0]); err == nil {
		t.Error("a datagram socket without an address")
	}
}
