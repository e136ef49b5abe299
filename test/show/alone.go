package show

import (
	"os/exec"
	"syscall"
	"testing"
)

// alone is a program that a test runs without muster.
type alone struct{ cmd *exec.Cmd }

// startAlone starts a program in a group of its own, which is killed at the end.
func startAlone(t *testing.T, dir string, argv ...string) alone {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return alone{cmd}
}

func (a alone) hup(t *testing.T) {
	t.Helper()
	if err := a.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}
