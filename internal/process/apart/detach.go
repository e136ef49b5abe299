package apart

import (
	"os"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// Detached is a program that was started apart.
type Detached struct {
	PID int
	// Stdin is the writing end of its stdin, Answer the reading end of its
	// descriptor 3; the caller closes both.
	Stdin, Answer *os.File
}

// AnswerFD is where a detached program finds the pipe of Detached.Answer.
const AnswerFD = 3

// Detach starts this binary again with argv and env: in a session of its own, in
// /, with its stdout and stderr in log. Faults: E-START.
func Detach(argv, env []string, log *os.File) (*Detached, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot find this program's own file: %w", err)
	}
	stdin, toStdin, err := os.Pipe()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot make a pipe: %w", err)
	}
	defer stdin.Close()
	fromAnswer, answer, err := os.Pipe()
	if err != nil {
		toStdin.Close()
		return nil, fault.New(fault.StartFailed, "cannot make a pipe: %w", err)
	}
	defer answer.Close()
	child, err := os.StartProcess(exe, argv, &os.ProcAttr{
		Dir: "/", Env: env, Files: []*os.File{stdin, log, log, answer}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		toStdin.Close()
		fromAnswer.Close()
		return nil, fault.New(fault.StartFailed, "cannot start %s: %w", exe, err)
	}
	d := &Detached{PID: child.Pid, Stdin: toStdin, Answer: fromAnswer}
	_ = child.Release() // it lives longer than this process
	return d, nil
}
