package apart

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// Child is a program that runs beside this process, on its terminal.
type Child struct{ process *os.Process }

// Beside starts a program that shares this process's group, session, stdout and
// stderr; its stdin is /dev/null where none is given. Wait must be called. Faults are
// those of Become.
func Beside(p Program, stdin *os.File) (*Child, error) {
	p.Env = append(p.Env[:len(p.Env):len(p.Env)], "PWD="+p.Dir)
	path, err := find(p.Argv[0], p.Env)
	if err != nil && strings.Contains(p.Argv[0], "/") { // relative to the app's directory
		path, err = find(filepath.Join(p.Dir, p.Argv[0]), p.Env)
	}
	if err != nil {
		return nil, err
	}
	identity, err := credential(p.User, p.Group)
	if err != nil {
		return nil, err
	}
	return start(path, p, stdin, identity)
}

func start(path string, p Program, stdin *os.File, identity *syscall.Credential) (*Child, error) {
	if stdin == nil {
		null, err := os.Open(os.DevNull)
		if err != nil {
			return nil, fault.New(fault.StartFailed, "cannot open %s: %w", os.DevNull, err)
		}
		defer null.Close()
		stdin = null
	}
	child, err := os.StartProcess(path, p.Argv, &os.ProcAttr{
		Dir: p.Dir, Env: p.Env, Files: []*os.File{stdin, os.Stdout, os.Stderr}, Sys: &syscall.SysProcAttr{Credential: identity},
	})
	switch {
	case errors.Is(err, syscall.EPERM):
		return nil, fault.New(fault.Permission, "cannot run %s as the app's user: %w", path, err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.ENOEXEC):
		return nil, fault.New(fault.CommandDenied, "cannot run %s: %w", path, err)
	case err != nil:
		return nil, fault.New(fault.StartFailed, "cannot run %s: %w", path, err)
	}
	return &Child{process: child}, nil
}

// Wait blocks until the program has ended, and returns its exit code, 128+signal
// where one ended it; 1 where that cannot be told. It is called once.
func (c *Child) Wait() int {
	state, err := c.process.Wait()
	if err != nil {
		return 1
	}
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
