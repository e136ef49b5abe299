package listener

import (
	"fmt"
	"net"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Connections go to live sockets only, and to all of these, also without the
// privilege to let them take turns.
func TestSteerByHash(t *testing.T) {
	const n = 6
	for _, host := range []string{"127.0.0.1", "[::1]"} {
		files := group(t, tcpAt(host+":0"), n)
		for name, hash := range map[string][]unix.SockFilter{"the system's": flowHash(), "own": tupleHash()} {
			for _, dead := range [][]int{{0}, {5}, {0, 5}, {2, 3}, {0, 2, 4}, {0, 1, 2, 3, 4}} {
				t.Run(fmt.Sprint(host, " ", name, " ", dead), func(t *testing.T) {
					err := control(files[1], func(fd int) error { return attachFilter(fd, slices.Concat(hash, pick(dead, n))) })
					if err != nil {
						t.Fatal(err)
					}
					evenly(t, files, dead)
				})
			}
		}
	}
}

// evenly: each live socket gets its share, give or take what chance may do (five
// standard deviations), the dead ones nothing.
func evenly(t *testing.T, files []*os.File, dead []int) {
	t.Helper()
	const each = 60
	live := len(files) - len(dead)
	for range each * live {
		c, err := net.Dial("tcp", Addr(files[0]))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	for i, n := range takenBy(t, files, each*live) {
		isDead := slices.Contains(dead, i)
		if isDead && n > 0 || !isDead && (n < each-39 || n > each+39) {
			t.Errorf("dead %v: socket %d has %d, the share is %d", dead, i, n, each)
		}
	}
}

// Steer can be changed and taken back at any time, and never fails a connection.
func TestSteer(t *testing.T) {
	files := group(t, tcpAt("127.0.0.1:0"), 4)
	for _, live := range [][]int{{0, 1, 2, 3}, {1, 2}, nil, {3}, {0, 1, 2}, {2}, nil, {0, 1, 2, 3}} {
		if err := Steer(files[0], live, len(files)); err != nil {
			t.Fatal(err)
		}
		dial(t, Addr(files[0]), 80)
		counts := takenBy(t, files, 80)
		if sum(counts) != 80 {
			t.Errorf("live %v: %v of 80", live, counts)
		}
		for i, n := range counts {
			if used := len(live) == 0 || slices.Contains(live, i); used != (n > 0) {
				t.Errorf("live %v: socket %d has %d", live, i, n)
			}
		}
	}
}

// What the group's sockets already have in their queues stays there.
func TestSteerLeavesQueues(t *testing.T) {
	files := group(t, tcpAt("127.0.0.1:0"), 2)
	only(t, files[0], 1)
	dial(t, Addr(files[0]), 4)
	if err := Steer(files[0], []int{0}, 2); err != nil {
		t.Fatal(err)
	}
	dial(t, Addr(files[0]), 3)
	if counts := takenBy(t, files, 7); !slices.Equal(counts, []int{3, 4}) {
		t.Errorf("%v", counts)
	}
}

// A socket that is no group has nothing to steer among, which is fine.
func TestSteerOneSocket(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	for _, live := range [][]int{nil, {0}} {
		if err := Steer(f, live, 1); err != nil {
			t.Errorf("live %v: %v", live, err)
		}
	}
	if err := Steer(f, []int{0}, 2); err == nil {
		t.Error("a single socket is steered")
	}
}

func TestQueue(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	for want := range 3 {
		eventually(t, "all wait", func() bool { n, err := Queue(f); return n == want && err == nil })
		dial(t, Addr(f), 1)
	}
	if n := sum(takenBy(t, []*os.File{f}, 3)); n != 3 {
		t.Errorf("accepted %d", n)
	}
	for _, bad := range []*os.File{bound(t, "udp", "127.0.0.1:0"), bound(t, "unix", t.TempDir()+"/s")} {
		if n, err := Queue(bad); err == nil {
			t.Errorf("%s: %d wait", bad.Name(), n)
		}
	}
}
