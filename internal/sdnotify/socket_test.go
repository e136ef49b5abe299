package sdnotify

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

func TestMessagesInOrder(t *testing.T) {
	s := listen(t)
	c := dial(t, s)
	say(t, c, "RELOADING=1")
	say(t, c, "READY=1\nSTATUS=one")
	say(t, c, "MAINPID=12")
	say(t, c, "STOPPING=1")
	want := []Message{{Reloading: true}, {Ready: true, Status: "one", HasStatus: true}, {MainPID: 12}, {Stopping: true}}
	for _, w := range want {
		w.UID, w.PID = uint32(os.Geteuid()), os.Getpid()
		if got := next(t, s); got != w {
			t.Errorf("got %+v, want %+v", got, w)
		}
	}
}

func TestFile(t *testing.T) {
	old := syscall.Umask(0)
	defer syscall.Umask(old)
	path := t.TempDir() + "/n"
	uid := os.Geteuid()
	if uid == 0 {
		uid = 1234
	}
	s, err := Listen(path, uid)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != uid || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("uid %d, mode %v", st.Uid, info.Mode())
	}
	if s.Path() != path {
		t.Errorf("Path = %q", s.Path())
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err == nil {
		t.Error("the file is left")
	}
}

func TestListenFaults(t *testing.T) {
	dir := t.TempDir()
	if _, err := Listen(dir+"/"+strings.Repeat("x", PathMax), 0); fault.CodeOf(err) != fault.SocketPath {
		t.Errorf("long: %v", err)
	}
	if _, err := Listen(dir+"/no/n", 0); fault.CodeOf(err) != fault.Bind {
		t.Errorf("no directory: %v", err)
	}
	file := dir + "/file"
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(file, 0); fault.CodeOf(err) != fault.Bind {
		t.Errorf("a file: %v", err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "x" {
		t.Error("the file was touched")
	}
	if os.Geteuid() != 0 {
		if _, err := Listen(dir+"/other", 0); fault.CodeOf(err) != fault.Permission {
			t.Errorf("another owner: %v", err)
		}
	}
}

func TestFileOfADeadAgentIsReplaced(t *testing.T) {
	path := t.TempDir() + "/n"
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	s, err := Listen(path, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	say(t, dial(t, s), "READY=1")
	if !next(t, s).Ready {
		t.Error("not ready")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A barrier opens after all earlier messages are queued, whoever reads them.
func TestBarrier(t *testing.T) {
	s := listen(t)
	c := dial(t, s)
	say(t, c, "READY=1")
	say(t, c, "MAINPID=5")
	passed(t, barrier(t, c, "BARRIER=1")) // nobody has read a message yet
	if !next(t, s).Ready || next(t, s).MainPID != 5 {
		t.Error("wrong order")
	}
}

// Whatever descriptors come, none stays open.
func TestDescriptorsAreClosed(t *testing.T) {
	s := listen(t)
	c := dial(t, s)
	passed(t, barrier(t, c, "BARRIER=1"))
	before := openFDs(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	many := make([]int, 253)
	for i := range many {
		many[i] = int(null.Fd())
	}
	for _, text := range []string{"FDSTORE=1\nFDNAME=x", "READY=1", "bad\x00bad", "", strings.Repeat("x", DatagramMax+1)} {
		for _, n := range []int{1, 253} {
			send(t, c, text, unix.UnixRights(many[:n]...))
		}
	}
	null.Close()
	passed(t, barrier(t, c, "BARRIER=1"))
	// The read end of the last barrier is the only one more.
	eventually(t, "closed", func() bool { return openFDs(t) <= before+1 })
	if !next(t, s).Ready {
		t.Error("READY with descriptors was lost")
	}
}

// A list of descriptors that was cut off keeps no descriptor either.
func TestTruncatedControl(t *testing.T) {
	rights := unix.UnixRights(100, 101, 102)
	if got := readControl(rights).fds; len(got) != 3 || got[2] != 102 {
		t.Errorf("whole: %v", got)
	}
	two := append([]byte(nil), rights[:unix.CmsgLen(8)]...)
	two[0] = byte(unix.CmsgLen(8)) // the kernel says how long it has become
	if got := readControl(two).fds; len(got) != 2 {
		t.Errorf("cut: %v", got)
	}
	for n := range rights {
		readControl(rights[:n])
	}
	zero := make([]byte, 64)
	if got := readControl(zero); got.known || got.fds != nil {
		t.Errorf("zeroes: %+v", got)
	}
}

func FuzzControl(f *testing.F) {
	f.Add(unix.UnixRights(1, 2, 3))
	f.Add(append(unix.UnixCredentials(&unix.Ucred{Pid: 1, Uid: 2}), unix.UnixRights(5)...))
	f.Fuzz(func(_ *testing.T, oob []byte) { readControl(oob) })
}

// Nobody but the worker's user and root may speak.
func TestOtherUsers(t *testing.T) {
	if os.Geteuid() != 0 {
		s := listen(t)
		s.take([]byte("READY=1"), unix.UnixCredentials(&unix.Ucred{Uid: uint32(os.Geteuid()) + 1}), 0)
		s.take([]byte("READY=1"), nil, 0)
		if got := s.Dropped(); got != 2 {
			t.Errorf("dropped %d", got)
		}
		return
	}
	s, err := Listen(t.TempDir()+"/n", 1234)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, w, err := os.Pipe() // its end shows that no descriptor stays open either
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	sendAs(t, s, 4321, "READY=1", w)
	w.Close()
	eventually(t, "dropped", func() bool { return s.Dropped() == 1 })
	passed(t, r)
	sendAs(t, s, 1234, "MAINPID=1", nil)
	if m := next(t, s); m.MainPID != 1 || m.UID != 1234 || m.PID == 0 {
		t.Errorf("the worker's user: %+v", m)
	}
	say(t, dial(t, s), "MAINPID=2")
	if m := next(t, s); m.MainPID != 2 || m.UID != 0 {
		t.Errorf("root: %+v", m)
	}
}

// sendAs sends a message with another user's credentials, as root may.
func sendAs(t *testing.T, s *Socket, uid uint32, text string, file *os.File) {
	t.Helper()
	oob := unix.UnixCredentials(&unix.Ucred{Pid: int32(os.Getpid()), Uid: uid})
	if file != nil {
		oob = append(oob, unix.UnixRights(int(file.Fd()))...)
	}
	send(t, dial(t, s), text, oob)
}

func TestMalformedIsCounted(t *testing.T) {
	s := listen(t)
	c := dial(t, s)
	say(t, c, "READY=1\x00READY=1")
	say(t, c, strings.Repeat("x", DatagramMax+1))
	say(t, c, "X=1") // understood by nobody, but not wrong
	say(t, c, "STATUS="+strings.Repeat("x", DatagramMax-len("STATUS=")))
	if m := next(t, s); len(m.Status) != StatusMax {
		t.Errorf("%d bytes", len(m.Status))
	}
	if got := s.Dropped(); got != 2 {
		t.Errorf("dropped %d", got)
	}
}

// A consumer that does not read keeps neither the worker nor a barrier waiting,
// and what waits is bounded.
func TestSlowConsumer(t *testing.T) {
	s := listen(t)
	c := dial(t, s)
	say(t, c, "READY=1")
	for i := range 5000 {
		say(t, c, fmt.Sprintf("STATUS=%d", i))
		say(t, c, "WATCHDOG=1")
	}
	passed(t, barrier(t, c, "BARRIER=1"))
	if got := s.Dropped(); got != 0 {
		t.Errorf("dropped %d", got)
	}
	if !next(t, s).Ready {
		t.Error("READY was lost")
	}
	last := ""
	for last != "4999" {
		last = next(t, s).Status
	}
	for i := range 2 * QueueMax {
		say(t, c, fmt.Sprintf("MAINPID=%d", i+1))
	}
	passed(t, barrier(t, c, "BARRIER=1"))
	if got := s.Dropped(); got < QueueMax-2 || got > QueueMax {
		t.Errorf("dropped %d of %d", got, 2*QueueMax)
	}
	for i := range QueueMax {
		if m := next(t, s); m.MainPID != i+1 {
			t.Fatalf("message %d: %+v", i, m)
		}
	}
}

func TestCloseUnread(t *testing.T) {
	s, err := Listen(t.TempDir()+"/n", os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, s)
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 1; ; i++ {
			if _, err := fmt.Fprintf(c, "MAINPID=%d", i); err != nil {
				return
			}
		}
	})
	next(t, s)
	for range 3 {
		wg.Go(func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for range s.Messages() { // closed, after at most one that was on its way
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// The real client: its credentials are its parent's, and it waits for its barrier.
func TestSystemdNotify(t *testing.T) {
	s := listen(t)
	cmd := exec.Command("systemd-notify", "--ready", "--status=serving", "--pid=4711")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Path())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if m := next(t, s); !m.Ready || m.Status != "serving" || m.MainPID != 4711 {
		t.Errorf("%+v", m)
	}
}

func TestPythonClient(t *testing.T) {
	s := listen(t)
	script := `import os, socket, array
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ['NOTIFY_SOCKET'])
s.send(b'STATUS=loading\nEXTEND_TIMEOUT_USEC=3000000')
s.send(b'READY=1')
r, w = os.pipe()
s.sendmsg([b'BARRIER=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [w]))])
os.close(w)
assert os.read(r, 1) == b''
`
	cmd := exec.Command("python3", "-c", script)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+s.Path())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if m := next(t, s); m.Status != "loading" || m.Extend != 3e9 || m.PID != cmd.Process.Pid {
		t.Errorf("%+v", m)
	}
	if !next(t, s).Ready {
		t.Error("not ready")
	}
}

func TestNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Errorf("unset: %v", err)
	}
	s := listen(t)
	t.Setenv("NOTIFY_SOCKET", s.Path())
	if err := Notify("READY=1"); err != nil || !next(t, s).Ready {
		t.Errorf("path: %v", err)
	}
	name := fmt.Sprintf("@muster-test-%d", os.Getpid())
	abstract, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer abstract.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := Notify("READY=1"); err != nil {
		t.Errorf("abstract: %v", err)
	}
	buf := make([]byte, 16)
	if n, err := abstract.Read(buf); err != nil || string(buf[:n]) != "READY=1" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	for _, bad := range []string{"relative", t.TempDir() + "/none", "vsock:2:3"} {
		t.Setenv("NOTIFY_SOCKET", bad)
		if err := Notify("READY=1"); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}
