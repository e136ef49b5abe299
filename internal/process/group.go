package process

import (
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/process/cgroup"
)

// KillTimeout bounds Proc.Kill.
const KillTimeout = 5 * time.Second

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

func (p Proc) group() Ops {
	if p.ops != nil {
		return p.ops
	}
	return systemOps{p, Scan}
}

// leader is the process group and session that Start made.
func (p Proc) leader() (pid int, start uint64) {
	if p.Leader == 0 || p.Leader == p.PID {
		return p.PID, p.StartTime
	}
	return p.Leader, p.LeaderStart
}

// systemOps asks the operating system.
type systemOps struct {
	proc Proc
	scan func() (*Table, error)
}

// Signal implements Ops.
func (o systemOps) Signal(sig syscall.Signal) error {
	if o.proc.Exit != nil {
		return syscall.ESRCH
	}
	if o.proc.PidFD != nil {
		return sendSignal(o.proc.PidFD, sig)
	}
	return signalPid(o.proc.PID, o.proc.StartTime, sig)
}

// Members implements Ops.
func (o systemOps) Members() ([]int, error) {
	t, err := o.scan()
	if err != nil {
		return nil, err
	}
	return t.Members(o.proc), nil
}

// SignalRest implements Ops.
func (o systemOps) SignalRest(sig syscall.Signal) (int, error) {
	t, err := o.scan()
	if err != nil {
		return 0, err
	}
	n := 0
	var refused error
	for _, pid := range t.Members(o.proc) {
		if pid == o.proc.PID {
			continue
		}
		switch err := signalPid(pid, t.procs[pid].start, sig); {
		case err == nil:
			n++
		case !errors.Is(err, syscall.ESRCH):
			refused = err
		}
	}
	return n, refused
}

// Kill implements Ops. One round is not enough: what forks meanwhile is found
// by the next one.
func (o systemOps) Kill() (int, error) {
	deadline := time.Now().Add(KillTimeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if o.proc.Cgroup != "" {
			_ = cgroup.Kill(o.proc.Cgroup) // without it, the loop does it
		}
		t, err := o.scan()
		if err != nil {
			return 0, err
		}
		members := t.Members(o.proc)
		if len(members) == 0 {
			return 0, nil
		}
		err = nil
		for _, pid := range members {
			if e := signalPid(pid, t.procs[pid].start, syscall.SIGKILL); e != nil && !errors.Is(e, syscall.ESRCH) {
				err = e
			}
		}
		if time.Now().After(deadline) {
			return len(members), err
		}
		time.Sleep(wait)
	}
}

// Empty implements Ops. A cgroup can say no at once; yes takes a look at all
// processes, because a member may have left the cgroup.
func (o systemOps) Empty() (bool, error) {
	if cgroup.Populated(o.proc.Cgroup) {
		return false, nil
	}
	members, err := o.Members()
	return err == nil && len(members) == 0, err
}

// signalPid signals a process by number, unless the number has gone to another
// process than the one that started at start.
func signalPid(pid int, start uint64, sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// The pidfd holds whoever has the number now; the start time says who it is.
	if st, err := readStat(pid); err != nil || st.start != start {
		return syscall.ESRCH
	}
	return unix.PidfdSendSignal(fd, sig, nil, 0)
}

// openPid opens a pidfd that the runtime's poller can wait for.
func openPid(pid int) (*child, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("pidfd_open", err)
	}
	ch := &child{pid: pid, pidfd: os.NewFile(uintptr(fd), "pidfd "+strconv.Itoa(pid))}
	st, err := readStat(pid)
	if err != nil {
		ch.pidfd.Close()
		return nil, err
	}
	ch.start = st.start
	return ch, nil
}
