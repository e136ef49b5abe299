package listener

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/spec"
)

// roleEnv makes the test binary play a child instead of running tests.
const roleEnv = "LISTENER_TEST_ROLE"

func TestMain(m *testing.M) {
	if role := os.Getenv(roleEnv); role != "" {
		os.Exit(play(role))
	}
	os.Exit(m.Run())
}

// play is the child: it prints "up" and ends when its stdin does.
func play(role string) int {
	file := os.NewFile(3, "listener")
	switch role {
	case "accept": // through the runtime's poller, that is epoll
		l, err := net.FileListener(file)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				c.Close()
			}
		}()
	case "receive":
		c, err := net.FilePacketConn(file)
		if err != nil {
			fmt.Println(err)
			return 1
		}
		go func() { _, _, _ = c.ReadFrom(make([]byte, 16)) }()
	case "hold": // keeps it open and does nothing
	case "look":
		playLook()
	case "join":
		at, err := endpointOf(os.NewFile(4, "group"))
		if err == nil {
			_, err = at.bound("joined", true)
		}
		fmt.Println(err)
	case "inherited":
		return playInherited()
	case "ring":
		if err := waitInRing(3); err != nil {
			fmt.Println("ring:", err)
		}
	}
	fmt.Println("up")
	_, _ = os.Stdin.Read(make([]byte, 1))
	return 0
}

// playLook prints what this process sees of another.
func playLook() {
	var pid int
	var inode uint64
	if _, err := fmt.Sscan(os.Getenv("LOOK"), &pid, &inode); err != nil {
		fmt.Println(err)
	}
	fmt.Println(Accepting([]int{pid}, []uint64{inode}))
	_, err := Foreign([]int{pid}, nil)
	fmt.Println(err)
	for _, r := range socketsAt("tcp", 0) {
		if r.inode == inode {
			fmt.Println(ownerOf([]row{r}))
		}
	}
}

// child is a running child process.
type child struct {
	pid   int
	lines *bufio.Scanner
	stdin io.Writer
}

// tell writes to the child's stdin.
func (c *child) tell(t *testing.T, text string) {
	t.Helper()
	if _, err := io.WriteString(c.stdin, text); err != nil {
		t.Fatal(err)
	}
}

// start runs a command with files at 3, 4, …, and ends it with the test.
func start(t *testing.T, attr *syscall.SysProcAttr, files []*os.File, env []string, argv ...string) *child {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), env...)
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = attr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &child{pid: cmd.Process.Pid, lines: bufio.NewScanner(stdout), stdin: stdin}
}

// line is the next line that the child prints.
func (c *child) line(t *testing.T) string {
	t.Helper()
	if !c.lines.Scan() {
		t.Fatalf("child %d ended: %v", c.pid, c.lines.Err())
	}
	return c.lines.Text()
}

// self runs this test binary in a role, and waits until it is up.
func self(t *testing.T, role string, files ...*os.File) *child {
	t.Helper()
	c := start(t, nil, files, []string{roleEnv + "=" + role}, os.Args[0])
	if got := c.line(t); got != "up" {
		t.Fatalf("%s: %s", role, got)
	}
	return c
}

// python runs a script with the listener at 3, and waits until it says up.
func python(t *testing.T, script string, files ...*os.File) *child {
	t.Helper()
	c := start(t, nil, files, nil, "python3", "-u", "-c", script)
	if got := c.line(t); got != "up" {
		t.Fatal(got)
	}
	return c
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

// bound binds a listener that is closed with the test.
func bound(t *testing.T, network, address string) *os.File {
	t.Helper()
	f, err := Bind(spec.Listener{Name: "http", Network: network, Address: address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// inodeOf is Inode without the error.
func inodeOf(t *testing.T, f *os.File) uint64 {
	t.Helper()
	inode, err := Inode(f)
	if err != nil || inode == 0 {
		t.Fatalf("Inode = %d, %v", inode, err)
	}
	return inode
}

func wantText(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q does not say %q", text, part)
		}
	}
}
