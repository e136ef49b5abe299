package sdnotify

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

// readerEnv makes the test binary a consumer that is to be killed.
const readerEnv = "SDNOTIFY_TEST_READER"

func TestMain(m *testing.M) {
	if path := os.Getenv(readerEnv); path != "" {
		playReader(path)
		return
	}
	goleak.VerifyTestMain(m)
}

// listen makes a socket that is closed with the test.
func listen(t *testing.T) *Socket {
	t.Helper()
	s, err := Listen(t.TempDir()+"/n", os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// dial connects as a worker would.
func dial(t *testing.T, s *Socket) *net.UnixConn {
	t.Helper()
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: s.Path(), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func say(t *testing.T, c *net.UnixConn, text string) {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

// send sends a message with control data, which WriteMsgUnix does not do on a
// connected socket.
func send(t *testing.T, c *net.UnixConn, text string, oob []byte) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sent error
	err = raw.Write(func(fd uintptr) bool {
		sent = unix.Sendmsg(int(fd), []byte(text), oob, nil, unix.MSG_DONTWAIT)
		return !errors.Is(sent, unix.EAGAIN)
	})
	if err := errors.Join(err, sent); err != nil {
		t.Fatal(err)
	}
}

// next is the next message, within 10 s, dealt with.
func next(t *testing.T, s *Socket) Message {
	t.Helper()
	select {
	case m, ok := <-s.Messages():
		if !ok {
			t.Fatal("Messages is closed")
		}
		m.Done()
		m.receipt = nil
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("no message within 10 s")
	}
	return Message{}
}

// eventually polls until ok, for at most 10 s.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("not within 10 s: %s", what)
		case <-tick.C:
		}
	}
}

// barrier sends BARRIER=1 with the write end of a pipe and returns the read end,
// which hangs up once the receiver has closed its copy.
func barrier(t *testing.T, c *net.UnixConn, text string) *os.File {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	defer w.Close()
	send(t, c, text, unix.UnixRights(int(w.Fd())))
	return r
}

// passed waits until the barrier is open.
func passed(t *testing.T, r *os.File) {
	t.Helper()
	if err := r.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || os.IsTimeout(err) {
		t.Fatalf("the barrier stays closed: %d, %v", n, err)
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
