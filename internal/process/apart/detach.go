package apart

import (
	"errors"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// Detach starts this binary again, with p's Argv and Env: in a session of its own,
// in /, with /dev/null for stdin, its stdout and stderr in log, and files at 3 and
// above. It returns the pid. Faults: E-START.
func Detach(p Program, log *os.File, files ...*os.File) (int, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, fault.New(fault.StartFailed, "cannot open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	exe := own()
	child, err := os.StartProcess(exe, p.Argv, &os.ProcAttr{
		Dir: "/", Env: p.Env, Files: append([]*os.File{null, log, log}, files...), Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, fault.New(fault.StartFailed, "cannot start %s: %w", exe, err)
	}
	pid := child.Pid
	_ = child.Release() // it lives longer than this process
	return pid, nil
}

// Renew replaces this process by a new start of the same binary, with the same
// pid, terminal and directory. files keep their numbers. It returns only an
// error: E-START.
func Renew(argv, env []string, files ...*os.File) error {
	for _, f := range files {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			return fault.New(fault.StartFailed, "cannot pass a descriptor on: %w", err)
		}
	}
	exe := own()
	err := syscall.Exec(exe, argv, env)
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.EACCES) {
		err = syscall.Exec(selfLink, argv, env) // the file was removed or replaced meanwhile
	}
	return fault.New(fault.StartFailed, "cannot run %s: %w", exe, err)
}

// selfLink leads to this binary also when its file is gone; but what is executed
// by that name is called "exe".
const selfLink = "/proc/self/exe"

// own is the path of this binary.
func own() string {
	exe, err := os.Executable()
	if err != nil || strings.HasSuffix(exe, " (deleted)") {
		return selfLink
	}
	return exe
}
