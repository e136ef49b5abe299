package listener

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/listener/turns"
	"github.com/muster-run/muster/spec"
)

// Live sockets take turns exactly, whichever of the group are dead.
func TestTurns(t *testing.T) {
	const n = 5
	files, err := BindGroup(spec.Listener{Name: "web", Network: "tcp", Address: "127.0.0.1:0"}, n)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		defer f.Close()
	}
	for _, dead := range [][]int{nil, {0}, {4}, {0, 1, 2, 3}, {1, 3}, {0, 2, 4}} {
		err := control(files[2], func(fd int) error { return turns.Attach(fd, dead, n) })
		if errors.Is(err, unix.EPERM) && os.Geteuid() != 0 {
			t.Log("not allowed without CAP_BPF: the hash takes its place")
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		const each = 6
		var conns []net.Conn
		for range each * (n - len(dead)) {
			c, err := net.Dial("tcp", Addr(files[0]))
			if err != nil {
				t.Fatal(err)
			}
			conns = append(conns, c)
		}
		counts := takenBy(t, files, len(conns))
		for i, got := range counts {
			want := each
			if slices.Contains(dead, i) {
				want = 0
			}
			if got != want {
				t.Errorf("dead %v: socket %d has %d of %d connections, want %d", dead, i, got, len(conns), want)
			}
		}
		for _, c := range conns {
			c.Close()
		}
	}
}

// takeAll accepts and closes all that wait, and counts them.
func takeAll(t *testing.T, f *os.File) (count int) {
	t.Helper()
	waiting, err := Queue(f)
	if err != nil {
		t.Fatal(err)
	}
	for ; count < waiting; count++ {
		err := control(f, func(fd int) error {
			conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err == nil {
				err = unix.Close(conn)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return count
}
