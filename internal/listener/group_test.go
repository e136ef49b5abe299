package listener

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func tcpAt(address string) spec.Listener {
	return spec.Listener{Name: "web", Network: "tcp", Address: address}
}

// group binds one that is closed with the test.
func group(t *testing.T, l spec.Listener, n int) []*os.File {
	t.Helper()
	files, err := BindGroup(l, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFiles(files) })
	return files
}

// dial connects k times, one after the other.
func dial(t *testing.T, address string, k int) {
	t.Helper()
	for range k {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
	}
}

// takenBy is how many connections each socket has got, once they are want together:
// a client may be connected a moment before the connection is in the queue.
func takenBy(t *testing.T, files []*os.File, want int) (counts []int) {
	t.Helper()
	eventually(t, "all connections are in the queues", func() bool {
		all := 0
		for _, f := range files {
			n, err := Queue(f)
			if err != nil {
				t.Fatal(err)
			}
			all += n
		}
		return all >= want
	})
	for _, f := range files {
		counts = append(counts, takeAll(t, f))
	}
	return counts
}

func sum(counts []int) (all int) {
	for _, n := range counts {
		all += n
	}
	return all
}

func faultOf(t *testing.T, err error, want fault.Code) *fault.Fault {
	t.Helper()
	f := fault.From(err)
	if f == nil || f.Code != want {
		t.Fatalf("%v, want %s", err, want)
	}
	return f
}

// All sockets of a group are one address, of every family, and all of them listen.
func TestGroupFamilies(t *testing.T) {
	for _, tt := range []struct {
		network, address string
		reach            []string
		never            string
	}{
		{"tcp", ":0", []string{"127.0.0.1", "::1"}, ""},
		{"tcp", "0.0.0.0:0", []string{"127.0.0.1"}, "::1"},
		{"tcp4", ":0", []string{"127.0.0.1"}, "::1"},
		{"tcp6", ":0", []string{"::1"}, "127.0.0.1"},
		{"tcp", "[::1]:0", []string{"::1"}, "127.0.0.1"},
	} {
		t.Run(tt.network+" "+tt.address, func(t *testing.T) {
			files := group(t, spec.Listener{Network: tt.network, Address: tt.address}, 3)
			port := portOf(t, files[0])
			for _, f := range files {
				if portOf(t, f) != port {
					t.Errorf("%s beside %s", Addr(f), Addr(files[0]))
				}
			}
			for _, host := range tt.reach {
				dial(t, net.JoinHostPort(host, port), 40)
				counts := takenBy(t, files, 40)
				if sum(counts) != 40 || slices.Contains(counts, 0) {
					t.Errorf("%s: %v of 40", host, counts)
				}
			}
			// Somebody else may listen there on the same port, not on three of them.
			for tries := 0; tt.never != "" && answers(tt.never, port); tries++ {
				if tries == 3 {
					t.Fatalf("%s answers", tt.never)
				}
				port = portOf(t, group(t, spec.Listener{Network: tt.network, Address: tt.address}, 2)[0])
			}
		})
	}
}

func answers(host, port string) bool {
	c, err := net.Dial("tcp", net.JoinHostPort(host, port))
	if err == nil {
		c.Close()
	}
	return err == nil
}

// Sockets of a group are as those of Bind.
func TestGroupSocketsAreOrdinary(t *testing.T) {
	for _, f := range group(t, tcpAt("127.0.0.1:0"), 2) {
		err := control(f, func(fd int) error {
			flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			if err != nil || flags&unix.O_NONBLOCK != 0 {
				t.Errorf("flags %#x, %v: not blocking", flags, err)
			}
			own, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			if err != nil || own&unix.FD_CLOEXEC == 0 {
				t.Errorf("not close-on-exec (%v)", err)
			}
			for option, want := range map[int]int{unix.SO_REUSEADDR: 1, unix.SO_REUSEPORT: 1, unix.SO_PROTOCOL: unix.IPPROTO_TCP} {
				if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option); err != nil || (got != want) {
					t.Errorf("option %d is %d, %v", option, got, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// The index of a socket is its place in the slice: also after another listen() by
// a worker, after growing, after the last was closed, and whichever socket the
// program is attached to.
func TestGroupOrder(t *testing.T) {
	l := tcpAt("127.0.0.1:0")
	files := group(t, l, 3)
	check := func(when string) {
		t.Helper()
		for i := range files {
			only(t, files[(i+1)%len(files)], i)
			dial(t, Addr(files[0]), 5)
			if counts := takenBy(t, files, 5); counts[i] != 5 {
				t.Errorf("%s: steered to %d: %v", when, i, counts)
			}
		}
	}
	check("at first")
	err := control(files[1], func(fd int) error { return unix.Listen(fd, 511) })
	if err != nil {
		t.Fatal(err)
	}
	check("after a second listen()")
	for range 2 {
		more, err := GrowGroup(l, files, 5)
		if err != nil || len(more) != 5-len(files) {
			t.Fatalf("%d more: %v", len(more), err)
		}
		defer closeFiles(more)
		files = append(files, more...)
		check("grown")
		for _, f := range files[4:] {
			f.Close()
		}
		files = files[:4]
		check("the last closed")
	}
}

// only has the group use one socket, by the plainest of programs.
func only(t *testing.T, f *os.File, index int) {
	t.Helper()
	err := control(f, func(fd int) error {
		return attachFilter(fd, []unix.SockFilter{statement(unix.BPF_RET|unix.BPF_K, uint32(index))})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// What the design rests on: a socket closed in the middle gives its index to the
// last, and an index out of range means any.
func TestKernelMovesTheLastIntoAGap(t *testing.T) {
	files := group(t, tcpAt("127.0.0.1:0"), 3)
	files[0].Close()
	only(t, files[1], 0)
	dial(t, Addr(files[1]), 10)
	if counts := takenBy(t, files[1:], 10); counts[1] != 10 {
		t.Errorf("index 0 is not the last one: %v", counts)
	}
	only(t, files[1], 2)
	dial(t, Addr(files[1]), 60)
	if counts := takenBy(t, files[1:], 60); counts[0] == 0 || counts[1] == 0 {
		t.Errorf("an index out of range does not mean any: %v", counts)
	}
}

// An ordinary listener, with what waits in its queue, becomes the first of a group.
func TestGrowAnOrdinaryListener(t *testing.T) {
	l := tcpAt(":0")
	first := bound(t, "tcp", ":0")
	address := net.JoinHostPort("::1", portOf(t, first))
	dial(t, address, 7)
	more, err := GrowGroup(l, []*os.File{first}, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFiles(more)
	eventually(t, "7 wait", func() bool { n, err := Queue(first); return n == 7 && err == nil })
	files := append([]*os.File{first}, more...)
	takenBy(t, files, 7)
	only(t, first, 2)
	dial(t, address, 5)
	if counts := takenBy(t, files, 5); counts[2] != 5 {
		t.Errorf("%v", counts)
	}
	if more, err := GrowGroup(l, files, 3); err != nil || len(more) != 0 {
		t.Errorf("large enough, and still %d more (%v)", len(more), err)
	}
}

// A port that is held is in use, by whom it says, also when the holder would share
// it with us, as programs of the same user may.
func TestGroupIsRefusedWhereSomebodyListens(t *testing.T) {
	for name, share := range map[string]bool{"shared": true, "alone": false} {
		t.Run(name, func(t *testing.T) {
			theirs := listenAs(t, "127.0.0.1", share)
			child := self(t, "hold", theirs)
			at := Addr(theirs)
			theirs.Close()
			before := openFiles(t)
			_, err := BindGroup(tcpAt(at), 2)
			wantText(t, faultOf(t, err, fault.PortInUse).Error(), "by pid", strconv.Itoa(child.pid))
			if now := openFiles(t); now != before {
				t.Errorf("%d descriptors, before %d", now, before)
			}
		})
	}
}

// Somebody who joins a group is found out when it grows.
func TestGroupIsJoinedByAStranger(t *testing.T) {
	l := tcpAt("127.0.0.1:0")
	files := group(t, l, 2)
	at, err := endpointOf(files[0])
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := at.bound("stranger", true)
	if err != nil {
		t.Fatal(err)
	}
	defer stranger.Close()
	if err := at.listen(stranger, l); err != nil {
		t.Fatal(err)
	}
	_, err = GrowGroup(l, files, 3)
	wantText(t, faultOf(t, err, fault.PortInUse).Error(), "by pid")
	stranger.Close()
	more, err := GrowGroup(l, files, 3)
	if err != nil {
		t.Fatal(err)
	}
	closeFiles(more)
}

// Another user cannot join at all.
func TestGroupIsClosedToOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("another user can be played by root only")
		return
	}
	files := group(t, tcpAt("127.0.0.1:0"), 2)
	exe, err := os.Open(os.Args[0]) // whose directory the other may not enter
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{}}}
	c := start(t, nobody, []*os.File{exe, files[0]}, []string{roleEnv + "=join"}, "/proc/self/fd/3")
	wantText(t, c.line(t), "address already in use")
}

// What is no TCP has no group, and the fault says what to do.
func TestGroupsAreForTCP(t *testing.T) {
	for _, l := range []spec.Listener{
		{Network: "unix", Address: t.TempDir() + "/s"}, {Network: "udp", Address: "127.0.0.1:0"}, {Network: "fd", Address: "3"},
	} {
		_, err := BindGroup(l, 2)
		wantText(t, faultOf(t, err, fault.Bind).Fix, "shared")
	}
	f := bound(t, "unix", t.TempDir()+"/s")
	if _, err := GrowGroup(spec.Listener{Network: "unix", Address: Addr(f)}, []*os.File{f}, 2); err == nil {
		t.Error("a unix socket has grown")
	}
	_, err := BindGroup(tcpAt("192.0.2.1:0"), 2)
	wantText(t, faultOf(t, err, fault.Bind).Error(), "no address of this host")
}

// A group that cannot be had whole is not had at all.
func TestGroupIsAllOrNothing(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	files := group(t, tcpAt("127.0.0.1:0"), 1)
	before := openFiles(t)
	low := old
	low.Cur = uint64(before) + 4
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	_, bindErr := BindGroup(tcpAt("127.0.0.1:0"), 200)
	_, growErr := GrowGroup(tcpAt("127.0.0.1:0"), files, 200)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{bindErr, growErr} {
		if Errno(err) != unix.EMFILE {
			t.Errorf("%v", err)
		}
	}
	if now := openFiles(t); now != before {
		t.Errorf("%d descriptors, before %d", now, before)
	}
	only(t, files[0], 0)
	dial(t, Addr(files[0]), 3)
	if n := sum(takenBy(t, files, 3)); n != 3 {
		t.Errorf("%d of 3 connections", n)
	}
}

// listenAs is somebody's listening socket.
func listenAs(t *testing.T, host string, share bool) *os.File {
	t.Helper()
	at := endpoint{addr: netip.MustParseAddr(host)}
	f, err := at.bound("theirs", share)
	if err == nil {
		err = at.listen(f, tcpAt(""))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
