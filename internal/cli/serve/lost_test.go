package serve

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/process"
)

// An agent that finds its keeper dead at its very start ends what is left, as one
// that serves does; not where somebody has the project's lock, who may have
// started anew.
func TestAnAgentWhoseKeeperIsGoneFromTheStart(t *testing.T) {
	dir := t.TempDir()
	environ := []string{"MUSTER_STATE_DIR=" + dir + "/s", "MUSTER_RUNTIME_DIR=" + dir + "/r"}
	paths := agent.FindRoots(environ).Key("shop-1")
	if err := os.MkdirAll(paths.State, 0o700); err != nil {
		t.Fatal(err)
	}
	held, err := os.Create(paths.Lock)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := unix.FcntlFlock(held.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK}); err != nil {
		t.Fatal(err)
	}
	worker := exec.Command("sleep", "1000")
	worker.Env = []string{process.MarkEnv + "=web:1", "NOTIFY_SOCKET=" + filepath.Join(paths.Runtime, "n", "1")}
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	t.Cleanup(func() { worker.Process.Kill() })

	start(t, environ, "shop-1")
	if left, err := agent.Leftovers(paths); len(left) != 1 || err != nil {
		t.Fatalf("with the lock held by another: %v, %v", left, err)
	}
	held.Close()
	start(t, environ, "")
	if left, err := agent.Leftovers(paths); len(left) != 1 || err != nil {
		t.Fatalf("of an older keeper, which names no project: %v, %v", left, err)
	}
	start(t, environ, "shop-1")
	<-ended
	if status := worker.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("the worker ended with %v", worker.ProcessState)
	}
}

// start runs an agent whose keeper has just died.
func start(t *testing.T, environ []string, key string) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(pair[0])
	p := Process{Environ: append(environ[:len(environ):len(environ)], keeper.FDEnv+"="+strconv.Itoa(pair[1]), keeper.ProjectEnv+"="+key)}
	if code, err := p.RunAgent(t.Context()); code != 1 || fault.CodeOf(err) != fault.KeeperLost {
		t.Errorf("ended with %d, %v", code, err)
	}
}
