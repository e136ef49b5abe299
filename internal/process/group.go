package process

import "syscall"

// Ops is what the methods of a Proc do; a Starter plugs its own in. Safe for
// concurrent use.
type Ops interface {
	Signal(sig syscall.Signal) error
	Members() ([]int, error)
	SignalRest(sig syscall.Signal) (int, error)
	Kill() (left int, err error)
	Empty() (bool, error)
}

// WithOps returns a copy of p whose methods are those of ops.
func (p Proc) WithOps(ops Ops) Proc { p.ops = ops; return p }

// Signal sends a signal to the main process only, by its pidfd. The error is
// syscall.ESRCH (errors.Is) once it has ended.
func (p Proc) Signal(sig syscall.Signal) error { return p.group().Signal(sig) }

// Members returns the pids of everything alive that came from the process, the
// main process included, sorted. Zombies do not count.
func (p Proc) Members() ([]int, error) { return p.group().Members() }

// SignalRest signals every member but the main process, and returns how many.
func (p Proc) SignalRest(sig syscall.Signal) (int, error) { return p.group().SignalRest(sig) }

// Kill ends every member by SIGKILL and waits, at most KillTimeout, until none
// is left. left is how many still are (in an uninterruptible system call).
func (p Proc) Kill() (left int, err error) { return p.group().Kill() }

// Empty says that no member is alive.
func (p Proc) Empty() (bool, error) { return p.group().Empty() }

func (p Proc) group() Ops { return p.ops }
