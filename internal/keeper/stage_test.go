package keeper

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// answerMax is how long anybody may take; a machine under load is slow.
const answerMax = 30 * time.Second

// stage is a keeper that runs, and the place where its agents ask.
type stage struct {
	t       *testing.T
	cmd     *exec.Cmd
	orders  *net.UnixListener
	errors  *heard
	ended   chan struct{} // closed when it has
	program string        // its file
}

// heard collects what somebody writes and lets others wait for it.
type heard struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	close(h.more)
	h.more = make(chan struct{})
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// await waits until the text has what n times.
func (h *heard) await(t *testing.T, what string, n int) {
	t.Helper()
	timeout := time.After(answerMax)
	for {
		h.mu.Lock()
		found, more := strings.Count(h.text.String(), what), h.more
		h.mu.Unlock()
		if found >= n {
			return
		}
		select {
		case <-more:
		case <-timeout:
			t.Fatalf("no %q in:\n%s", what, h)
		}
	}
}

// quick are times for tests.
func quick() times {
	return times{up: answerMax, exit: answerMax, pause: time.Millisecond, longest: 10 * time.Millisecond, healthy: time.Hour}
}

// newStage starts a keeper from a copy of this program.
func newStage(t *testing.T, w times, change func(*keeperPlan, *exec.Cmd)) *stage {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "orders"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	k := &stage{t: t, orders: l, errors: &heard{more: make(chan struct{})}, ended: make(chan struct{}), program: copyProgram(t)}
	k.cmd = exec.Command(k.program)
	k.cmd.Stderr, k.cmd.WaitDelay = k.errors, answerMax
	plan := keeperPlan{Socket: l.Addr().String(), Times: [5]time.Duration{w.up, w.exit, w.pause, w.longest, w.healthy}}
	if change != nil {
		change(&plan, k.cmd)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	k.cmd.Env = append(os.Environ(), keeperEnv+"="+string(text))
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the keeper
		_ = k.cmd.Wait()
		close(k.ended)
	}()
	t.Cleanup(k.close)
	return k
}

func (k *stage) close() {
	_ = k.cmd.Process.Kill()
	k.orders.Close()
	<-k.ended // and its agents: they hold its stderr
	if k.t.Failed() {
		k.t.Logf("the keeper said:\n%s", k.errors)
	}
}

// copyProgram makes a copy of this program, with an inode of its own.
func copyProgram(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, text, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// inode of a file.
func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func (k *stage) signal(sig syscall.Signal) {
	k.t.Helper()
	if err := k.cmd.Process.Signal(sig); err != nil {
		k.t.Fatal(err)
	}
}

// code waits for the end of the keeper.
func (k *stage) code() int {
	k.t.Helper()
	select {
	case <-k.ended:
		return k.cmd.ProcessState.ExitCode()
	case <-time.After(answerMax):
		k.t.Fatal("the keeper does not end")
		return 0
	}
}

// agent is the next agent that asks for orders.
func (k *stage) agent() *puppet {
	k.t.Helper()
	_ = k.orders.SetDeadline(time.Now().Add(answerMax))
	conn, err := k.orders.Accept()
	if err != nil {
		k.t.Fatalf("no agent: %v", err)
	}
	k.t.Cleanup(func() { conn.Close() })
	a := &puppet{t: k.t, conn: conn, in: bufio.NewScanner(conn)}
	_ = conn.SetDeadline(time.Now().Add(2 * answerMax))
	a.in.Buffer(nil, 1<<20)
	a.said = a.next()
	if a.Hello == nil {
		k.t.Fatalf("no hello: %+v", a.said)
	}
	return a
}
