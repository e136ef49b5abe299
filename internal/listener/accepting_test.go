package listener

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/muster-run/muster/spec"
)

// fromFD makes a Python socket of descriptor 3.
const fromFD = "import socket, sys\ns = socket.socket(fileno=3)\n"

// Programs as they really wait, and what is seen of them.
func TestAcceptingRealPrograms(t *testing.T) {
	scripts := map[string]string{
		"accept":     "print('up'); s.accept()",
		"thread":     "import threading\nthreading.Thread(target=s.accept).start()\nprint('up'); sys.stdin.read()",
		"select":     "import select\ns.setblocking(False)\nprint('up'); select.select([0, s], [], [])",
		"poll":       "import select\np = select.poll()\np.register(0, select.POLLIN)\np.register(s, select.POLLIN)\nprint('up'); p.poll()",
		"epoll":      "import select\np = select.epoll()\np.register(s, select.EPOLLIN)\nprint('up'); p.poll()",
		"selectors":  "import selectors\np = selectors.DefaultSelector()\np.register(s, selectors.EVENT_READ)\nprint('up'); p.select()",
		"high fd":    "import os, select\nos.dup2(3, 500); os.close(3); s.detach()\nprint('up'); select.select([500], [], [])",
		"with limit": "import select\nprint('up')\nwhile True: select.select([s], [], [], 30)",
		"http":       "import http.server\nh = http.server.HTTPServer(('', 0), http.server.SimpleHTTPRequestHandler, False)\nh.socket.close(); h.socket = s\nprint('up'); h.serve_forever()",
	}
	for name, script := range scripts {
		for _, network := range []string{"tcp", "unix"} {
			if network == "unix" && name != "accept" && name != "select" && name != "epoll" {
				continue // the network makes no difference to the others
			}
			t.Run(name+" "+network, func(t *testing.T) {
				address := "127.0.0.1:0"
				if network == "unix" {
					address = t.TempDir() + "/s"
				}
				f := bound(t, network, address)
				c := python(t, fromFD+script, f)
				inode := inodeOf(t, f)
				eventually(t, "seen waiting", func() bool {
					return Accepting([]int{c.pid}, []uint64{inode}) == Yes
				})
			})
		}
	}
}

func TestAcceptingGo(t *testing.T) {
	f := bound(t, "tcp", ":0")
	c := self(t, "accept", f)
	eventually(t, "seen waiting", func() bool {
		return Accepting([]int{c.pid}, []uint64{inodeOf(t, f)}) == Yes
	})
}

func TestAcceptingNode(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	inode := []uint64{inodeOf(t, f)}
	c := start(t, nil, []*os.File{f}, nil, "node", "-e",
		`const s = require('net').createServer(); process.stdin.once('data', () => s.listen({fd: 3}, () => console.log('listening'))); console.log('up')`)
	c.line(t)
	if got := Accepting([]int{c.pid}, inode); got != No {
		t.Errorf("before listen: %v", got)
	}
	c.tell(t, "go\n")
	c.line(t)
	eventually(t, "seen waiting", func() bool { return Accepting([]int{c.pid}, inode) == Yes })
}

func TestAcceptingDatagrams(t *testing.T) {
	f := bound(t, "udp", "127.0.0.1:0")
	inode := []uint64{inodeOf(t, f)}
	for name, c := range map[string]*child{
		"recvfrom": python(t, "import socket\ns = socket.socket(fileno=3)\nprint('up'); s.recvfrom(10)", f),
		"recvmsg":  python(t, "import socket\ns = socket.socket(fileno=3)\nprint('up'); s.recvmsg(10)", f),
		"go":       self(t, "receive", f),
	} {
		eventually(t, name, func() bool { return Accepting([]int{c.pid}, inode) == Yes })
	}
}

// Whoever holds the socket and does not wait on it, is not seen waiting.
func TestNotAccepting(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	inode := []uint64{inodeOf(t, f)}
	others := map[string]*child{
		"holds only":   self(t, "hold", f),
		"sleeps":       python(t, fromFD+"import time\nprint('up'); time.sleep(1000)", f),
		"no interest":  python(t, fromFD+"import select\np = select.poll()\np.register(s, select.POLLOUT)\np.register(0, select.POLLIN)\nprint('up'); p.poll()", f),
		"epoll out":    python(t, fromFD+"import select\np = select.epoll()\np.register(s, select.EPOLLOUT)\nprint('up'); sys.stdin.read()", f),
		"another":      python(t, fromFD+"import select\no = socket.create_server(('127.0.0.1', 0))\np = select.epoll()\np.register(o, select.EPOLLIN)\nprint('up'); o.accept()", f),
		"write set":    python(t, fromFD+"import select\nprint('up'); select.select([0], [], [s])", f),
		"holds it not": self(t, "hold"),
	}
	var pids []int
	for name, c := range others {
		pids = append(pids, c.pid)
		for range 5 {
			if got := Accepting([]int{c.pid}, inode); got != No {
				t.Errorf("%s: %v", name, got)
			}
		}
	}
	if got := Accepting(pids, inode); got != No {
		t.Errorf("all: %v", got)
	}
	pids = append(pids, self(t, "accept", f).pid)
	eventually(t, "one of many", func() bool { return Accepting(pids, inode) == Yes })
}

// A number that was closed and used again is not taken for the old socket.
func TestAcceptingReusedDescriptor(t *testing.T) {
	a, b := bound(t, "tcp", "127.0.0.1:0"), bound(t, "tcp", "127.0.0.1:0")
	// 3 goes into an epoll set, lives on as 9, and its number becomes that of 4.
	c := python(t, fromFD+"import os, select\np = select.epoll()\np.register(3, select.EPOLLIN)\nos.dup2(3, 9)\nos.dup2(4, 3)\nprint('up'); sys.stdin.read()", a, b)
	if got := Accepting([]int{c.pid}, []uint64{inodeOf(t, a)}); got != Yes {
		t.Errorf("the old socket: %v", got)
	}
	if got := Accepting([]int{c.pid}, []uint64{inodeOf(t, b)}); got != No {
		t.Errorf("the new socket: %v", got)
	}
}

func TestAcceptingEverySocket(t *testing.T) {
	a, b := bound(t, "tcp", "127.0.0.1:0"), bound(t, "tcp", "127.0.0.1:0")
	both := []uint64{inodeOf(t, a), inodeOf(t, b)}
	c := self(t, "accept", a)
	eventually(t, "the first", func() bool { return Accepting([]int{c.pid}, both[:1]) == Yes })
	if got := Accepting([]int{c.pid}, both); got != No {
		t.Errorf("nobody waits on the second: %v", got)
	}
	pids := []int{c.pid, self(t, "accept", b).pid}
	eventually(t, "both", func() bool { return Accepting(pids, both) == Yes })
	if got := Accepting(pids, nil); got != Yes {
		t.Errorf("no sockets: %v", got)
	}
	if got := Accepting(nil, both); got != No {
		t.Errorf("no processes: %v", got)
	}
	if got := Accepting([]int{1 << 30}, both); got != No {
		t.Errorf("a process that has ended: %v", got)
	}
}

// Without the right to look, it is Unknown and never a guess.
func TestAcceptingForbidden(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	inode := inodeOf(t, f)
	if os.Geteuid() != 0 { // pid 1 is somebody else's
		if got := Accepting([]int{1}, []uint64{inode}); got != Unknown {
			t.Errorf("got %v", got)
		}
		return
	}
	// Another user looks at this process. It may not enter the directory of the
	// test binary, so it gets that as a descriptor.
	exe, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{}}}
	env := []string{roleEnv + "=look", fmt.Sprintf("LOOK=%d %d", os.Getpid(), inode)}
	c := start(t, nobody, []*os.File{exe}, env, "/proc/self/fd/3")
	if got := c.line(t); got != "unknown" {
		t.Errorf("a process that may not be looked at: %s", got)
	}
	if got := c.line(t); !strings.Contains(got, "permission denied") {
		t.Errorf("Foreign: %s", got)
	}
	owner := c.line(t)
	wantText(t, owner, "uid 0", fmt.Sprint(inode))
}

func TestAcceptingInRing(t *testing.T) {
	f := bound(t, "tcp", "127.0.0.1:0")
	c := start(t, nil, []*os.File{f}, []string{roleEnv + "=ring"}, os.Args[0])
	line := c.line(t)
	want := Unknown
	if strings.HasPrefix(line, "ring:") {
		t.Log("no io_uring here: ", line)
		want = No
	}
	inode := []uint64{inodeOf(t, f)}
	if got := Accepting([]int{c.pid}, inode); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseTarget(t *testing.T) {
	tests := map[string]target{
		"tfd:        3 events:       19 data:                3  pos:0 ino:2d7e sdev:9\n": {3, 0x19, true, 0x2d7e, 9},
		"tfd:       12 events: 8000001d data: ffff00000000000c":                          {12, 0x8000001d, false, 0, 0},
		"tfd:        5 events: 80002001 data: 7f00 pos:0 ino:deadbeef sdev:8":            {5, 0x80002001, true, 0xdeadbeef, 8},
	}
	for line, want := range tests {
		if got, ok := parseTarget(line); !ok || got != want {
			t.Errorf("%q: %+v, %v", line, got, ok)
		}
	}
	for _, line := range []string{"", "tfd:", "tfd: x events: 1 data: 1", "tfd: 1 events: z data: 1", "pos:	0", "tfd: 1 flags: 1 data: 1"} {
		if got, ok := parseTarget(line); ok {
			t.Errorf("%q: %+v", line, got)
		}
	}
}

func TestRingWaits(t *testing.T) {
	tests := map[string]bool{
		"": false, "\nCqOverflowList:\n": false,
		"\n  op=13, task_works=0\n":                       true,
		"\n  op=27, task_works=0\n  op=6, task_works=1\n": true,
		"\n  op=27, task_works=0\nCqOverflowList:\n":      false,
		"\n  op=1x, task_works=0\n  op=130, task_works=0": false,
	}
	for list, want := range tests {
		if got := ringWaits(list); got != want {
			t.Errorf("%q: %v", list, got)
		}
	}
}

func TestPollSets(t *testing.T) {
	var set []byte
	for _, e := range []struct {
		fd     int32
		events uint16
	}{{3, 1}, {4, 4}, {-1, 1}, {500, 0x40}, {6, 0x1b}} {
		set = binary.NativeEndian.AppendUint32(set, uint32(e.fd))
		set = binary.NativeEndian.AppendUint16(set, e.events)
		set = binary.NativeEndian.AppendUint16(set, 0)
	}
	if got := fdsOfPoll(append(set, 1, 2, 3)); !slices.Equal(got, []int{3, -1, 500, 6}) {
		t.Errorf("poll: %v", got)
	}
	bits := make([]byte, 16)
	binary.NativeEndian.PutUint64(bits, 1<<3|1<<63)
	binary.NativeEndian.PutUint64(bits[8:], 1<<0|1<<5)
	for n, want := range map[int][]int{0: nil, 3: nil, 4: {3}, 64: {3, 63}, 70: {3, 63, 64, 69}, 65: {3, 63, 64}, 4096: {3, 63, 64, 69}} {
		if got := fdsOfSelect(bits, n); !slices.Equal(got, want) {
			t.Errorf("select %d: %v", n, got)
		}
	}
}

func TestWaitedOnOddLines(t *testing.T) {
	p := process{pid: os.Getpid()}
	for _, line := range []string{
		"", "running\n", "-1 0x7ff 0x400\n", "x y z a b c d e\n",
		"7 0x1 0xffffffffffffffff 0x0 0x0 0x0 0x0 0x0 0x0\n", // a count that cannot be
		"271 0x0 0x4 0x0 0x0 0x0 0x0 0x0 0x0\n",              // no address
		"270 0x7fffffff 0x8 0x0 0x0 0x0 0x0 0x0 0x0\n",       // too large a set
		"271 0x8 0x4 0x0 0x0 0x0 0x0 0x0 0x0\n",              // an address that is not mapped
	} {
		if fds, _ := p.waitedOn(line); len(fds) != 0 {
			t.Errorf("%q: %v", line, fds)
		}
	}
}

func TestAnswerString(t *testing.T) {
	if s := fmt.Sprint(Yes, No, Unknown, Answer(9)); s != "yes no unknown unknown" {
		t.Error(s)
	}
}

func BenchmarkAccepting(b *testing.B) {
	f, err := Bind(spec.Listener{Network: "tcp", Address: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	inode, err := Inode(f)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		Accepting([]int{os.Getpid()}, []uint64{inode})
	}
}
