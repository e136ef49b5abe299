package channel

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// roleEnv makes the test binary play a child instead of running tests.
const roleEnv = "CHANNEL_TEST_ROLE"

// drivenEnv makes every Conn of the tests a driven one.
const drivenEnv = "CHANNEL_TEST_DRIVEN"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleEnv); role {
	case "":
		goleak.VerifyTestMain(m)
	case "reader":
		playReader()
	case "refs":
		fmt.Println(playRefs())
	default:
		fmt.Println("unknown role", role)
	}
}

// within is a context of a test that waits for something: generous, as the machine
// may be busy.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(stop)
	return ctx
}

// noLeak fails when the test ends with more descriptors than it began with.
func noLeak(t *testing.T) {
	t.Helper()
	r, w, err := os.Pipe() // Go's poller opens descriptors of its own at its first use
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	before := openFDs(t)
	t.Cleanup(func() {
		if after := openFDs(t); after != before {
			t.Errorf("%d descriptors before, %d after", before, after)
		}
	})
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// rawPair is Pair for tests that speak to the socket themselves.
func rawPair(t testing.TB) (ours, theirs int) {
	t.Helper()
	ours, theirs, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// pair is two open ends that are closed with the test.
func pair(t testing.TB, left, right Options) (a, b *Conn) {
	t.Helper()
	ours, theirs := rawPair(t)
	return open(t, ours, left), open(t, theirs, right)
}

func open(t testing.TB, fd int, o Options) *Conn {
	t.Helper()
	o.Driven = o.Driven || os.Getenv(drivenEnv) != ""
	c := Open(fd, o)
	t.Cleanup(func() { c.Close() })
	return c
}

// raw closes a descriptor with the test.
func closing(t testing.TB, fd int) int {
	t.Helper()
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

func send(t testing.TB, c *Conn, text string, fds ...int) {
	t.Helper()
	if err := c.Send([]byte(text), fds...); err != nil {
		t.Fatalf("Send %.40q: %v", text, err)
	}
}

// awaitFrame is Receive in either mode. Data is the caller's to keep.
func (c *Conn) awaitFrame(t testing.TB) (Frame, error) {
	t.Helper()
	ctx := within(t)
	if !c.o.Driven {
		return c.Receive(ctx)
	}
	for ctx.Err() == nil {
		f, ok, err := c.Next()
		if ok || err != nil {
			f.Data = bytes.Clone(f.Data)
			return f, err
		}
		c.in.mu.Lock()
		fd := c.driven.fd
		c.in.mu.Unlock()
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
		_, _ = unix.Poll(p, 1)
		if p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP|unix.POLLERR) != 0 {
			c.HungUp()
		}
	}
	return Frame{}, ctx.Err()
}

func receive(t testing.TB, c *Conn) Frame {
	t.Helper()
	f, err := c.awaitFrame(t)
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return f
}

// want receives a frame without descriptors.
func want(t testing.TB, c *Conn, text string) {
	t.Helper()
	f := receive(t, c)
	closeAll(f.FDs)
	if string(f.Data) != text || len(f.FDs) > 0 || f.Truncated {
		t.Fatalf("got %.60q with %d descriptors (lost: %v), want %.60q", f.Data, len(f.FDs), f.Truncated, text)
	}
}

// wantEnd receives nothing but this error, twice.
func wantEnd(t testing.TB, c *Conn, end error) {
	t.Helper()
	for range 2 {
		if f, err := c.awaitFrame(t); !errors.Is(err, end) {
			t.Fatalf("got %.60q, %v; want %v", f.Data, err, end)
		}
	}
}

// write puts bytes, and descriptors on the first of them, into a raw socket.
func write(t testing.TB, fd int, text string, fds ...int) {
	t.Helper()
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	n, err := unix.SendmsgN(fd, []byte(text), oob, nil, unix.MSG_DONTWAIT)
	if err != nil || n != len(text) {
		t.Fatalf("wrote %d of %d bytes: %v", n, len(text), err)
	}
}

// named is a memory file with a text in it.
func named(t testing.TB, text string) int {
	t.Helper()
	fd, err := unix.MemfdCreate("channel-test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		t.Fatal(err)
	}
	return fd
}

// texts reads and closes the memory files of a frame.
func texts(t testing.TB, f Frame) (list []string) {
	t.Helper()
	for _, fd := range f.FDs {
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d: flags %d, %v", fd, flags, err)
		}
		p := make([]byte, 64)
		n, err := unix.Pread(fd, p, 0)
		if err != nil {
			t.Errorf("descriptor %d: %v", fd, err)
		}
		list = append(list, string(p[:max(n, 0)]))
	}
	closeAll(f.FDs)
	return list
}

// eventually polls until ok, for at most 30 s.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

// marks records what Torn was told.
type marks struct {
	mu   sync.Mutex
	list []bool
}

func (m *marks) told(torn bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, torn)
}

func (m *marks) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Trim(fmt.Sprint(m.list), "[]")
}

// child is a running child process with a pipe from it.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// start runs a command with copies of descriptors at 3, 4, …, and ends it with the
// test. Its lines come from stdout.
func start(t testing.TB, env []string, fds []int, argv ...string) *child {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Stderr = os.Stderr
	for _, fd := range fds {
		copied, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			t.Fatal(err)
		}
		file := os.NewFile(uintptr(copied), "channel")
		defer file.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, file)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{cmd: cmd, lines: bufio.NewScanner(stdout)}
	t.Cleanup(c.kill)
	return c
}

// kill ends the child at once. What it has written can still be read.
func (c *child) kill() { _ = syscall.Kill(c.cmd.Process.Pid, syscall.SIGKILL) }

// wait reads the rest of its lines and waits for its end.
func (c *child) wait() (lines []string) {
	for c.lines.Scan() {
		lines = append(lines, c.lines.Text())
	}
	_ = c.cmd.Wait() // killed, mostly
	return lines
}
