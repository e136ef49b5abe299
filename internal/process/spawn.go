package process

import (
	"errors"
	"io"
	"os"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/internal/process/step"
	"github.com/muster-run/muster/internal/process/thread"
)

// execTimeout bounds the way from fork to exec: a dead network file system
// under dir or the program would otherwise hold Start up for ever.
const execTimeout = 30 * time.Second

// How a process ended: si_code of waitid(2).
const (
	cldExited = 1
	cldDumped = 3
)

// child is a process that runs its program.
type child struct {
	pid   int
	start uint64   // field 22 of /proc/PID/stat
	pidfd *os.File // non-blocking: reads of it wait in the runtime's poller
	// cgroup: it has joined the one it was meant for.
	cgroup bool
}

// birth is how a command is started.
type birth struct {
	stdio  [3]*os.File // the process's first three descriptors
	cgroup string      // directory to join, or ""
	// on is the thread that forks. With bound the process dies with it.
	on    *thread.Thread
	bound bool
	// exe is the program (nil: Argv[0] is); it stays in this process's group and
	// session, without a mark.
	exe *os.File
}

// plan checks a command and translates it.
func (b birth) plan(c Command) (*step.Plan, error) {
	p, err := newPlan(c, b.cgroup)
	if err != nil {
		return nil, err
	}
	if b.bound {
		p.Parent = os.Getpid()
	}
	if b.exe != nil {
		p.Exe, p.Mark = true, nil
	}
	return p, nil
}

// spawn starts a command through the exec step and waits until exec has
// succeeded.
func spawn(c Command, b birth) (*child, error) {
	plan, err := b.plan(c)
	if err != nil {
		return nil, err
	}
	planFile, err := plan.File()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot start %s: %w", c.Argv[0], err)
	}
	defer planFile.Close()
	ours, theirs, err := spool.NewPipe()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot start %s: %w", c.Argv[0], err)
	}
	defer ours.Close()
	ch, err := b.fork(c, planFile, theirs)
	theirs.Close()
	if err != nil {
		return nil, fault.New(fault.StartFailed, "cannot start %s: %w", c.Argv[0], err)
	}
	if err := ch.confirm(c, ours, b.cgroup != ""); err != nil {
		ch.discard()
		return nil, err
	}
	return ch, nil
}

// fork starts the exec step. It finds the plan behind the command's files, and
// behind that the pipe for reports and the program, if that is a descriptor.
func (b birth) fork(c Command, plan, reports *os.File) (*child, error) {
	files := append([]*os.File{}, b.stdio[:]...)
	for _, f := range c.Files {
		files = append(files, f.File)
	}
	args := []string{StepArg, strconv.Itoa(len(files))}
	files = append(files, plan, reports)
	if b.exe != nil {
		files = append(files, b.exe)
	}
	fds := make([]uintptr, len(files))
	ch, pidfd := &child{}, -1
	err := withFDs(files, fds, func() (err error) {
		if err := unix.SetNonblock(int(fds[0]), false); err != nil {
			return err
		}
		b.on.Do(func() {
			ch.pid, err = syscall.ForkExec("/proc/self/exe", args, &syscall.ProcAttr{
				// The step is short: one processor's worth of threads, no collector.
				Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
				Files: fds,
				Sys:   &syscall.SysProcAttr{Setsid: b.exe == nil, PidFD: &pidfd},
			})
		})
		return err
	})
	if err != nil {
		return nil, os.NewSyscallError("fork", err)
	}
	return ch, ch.watchable(pidfd)
}

// watchable takes the child's pidfd over; a child without one is ended.
func (ch *child) watchable(pidfd int) error {
	if pidfd < 0 {
		return ch.abandon(errors.New("this kernel has no pidfd (Linux 5.4 is needed)"))
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		unix.Close(pidfd)
		return ch.abandon(os.NewSyscallError("fcntl", err))
	}
	ch.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	return nil
}

// withFDs calls do while the descriptors of files, written to fds, cannot be
// closed. It does not make them blocking, as File.Fd may.
func withFDs(files []*os.File, fds []uintptr, do func() error) error {
	if len(files) == 0 {
		return do()
	}
	raw, err := files[0].SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	err = raw.Control(func(fd uintptr) {
		fds[0] = fd
		inner = withFDs(files[1:], fds[1:], do)
	})
	return errors.Join(err, inner)
}

// abandon ends a child that cannot be watched.
func (ch *child) abandon(err error) error {
	_ = syscall.Kill(ch.pid, syscall.SIGKILL)
	_, _ = syscall.Wait4(ch.pid, nil, 0, nil)
	return err
}

// confirm waits for exec: the pipe closes by itself when it succeeds.
func (ch *child) confirm(c Command, pipe *os.File, cgroup bool) error {
	_ = pipe.SetReadDeadline(time.Now().Add(execTimeout))
	text, err := io.ReadAll(pipe)
	if err != nil {
		return fault.New(fault.StartFailed, "cannot start %s: it did not come to exec: %w", c.Argv[0], err)
	}
	fatal, notes := step.Reports(text)
	if fatal != nil {
		return startFault(c, *fatal)
	}
	ch.cgroup = cgroup
	for _, n := range notes {
		ch.cgroup = ch.cgroup && n.Stage != step.StageCgroup
	}
	st, err := readStat(ch.pid)
	if err != nil {
		return fault.New(fault.StartFailed, "cannot start %s: %w", c.Argv[0], err)
	}
	ch.start = st.start
	return nil
}

// discard ends and reaps a child that never ran its program.
func (ch *child) discard() {
	_ = sendSignal(ch.pidfd, syscall.SIGKILL)
	_, _ = ch.wait(true)
	ch.pidfd.Close()
}

// ended is how a process ended. known is false when nobody could tell.
type ended struct {
	code   int
	signal syscall.Signal
	core   bool
	cpu    time.Duration
	known  bool
}

// wait blocks in the runtime's poller until the process has ended; reap also
// takes it out of the process table. Closing the pidfd ends it with an error.
func (ch *child) wait(reap bool) (ended, error) {
	raw, err := ch.pidfd.SyscallConn()
	if err != nil {
		return ended{}, err
	}
	var e ended
	err = raw.Read(func(fd uintptr) bool {
		var done bool
		e, done = peek(int(fd), reap)
		return done
	})
	return e, err
}

// poll is wait without waiting.
func (ch *child) poll(reap bool) (e ended, done bool) {
	raw, err := ch.pidfd.SyscallConn()
	if err != nil {
		return ended{}, false
	}
	_ = raw.Control(func(fd uintptr) { e, done = peek(int(fd), reap) })
	return e, done
}

// peek looks whether the process of a pidfd has ended. Without reap it stays a
// zombie, so that its pid means nobody else.
func peek(pidfd int, reap bool) (e ended, done bool) {
	options := unix.WEXITED | unix.WNOHANG
	if !reap {
		options |= unix.WNOWAIT
	}
	var info unix.Siginfo
	var usage unix.Rusage
	err := unix.Waitid(unix.P_PIDFD, pidfd, &info, options, &usage)
	switch {
	case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
		return e, false
	case err != nil: // ECHILD: another process is its parent
		return peekStranger(pidfd)
	}
	pid, status := childInfo(&info)
	if pid == 0 {
		return e, false
	}
	e = ended{code: -1, cpu: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), known: true}
	if info.Code == cldExited {
		e.code = status
	} else {
		e.signal, e.core = syscall.Signal(status), info.Code == cldDumped
	}
	return e, true
}

// peekStranger looks at a process that is not our child: a pidfd tells when it
// has ended, and newer kernels (6.15) how, once its parent has reaped it.
func peekStranger(pidfd int) (e ended, done bool) {
	e.code = -1
	poll := []unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}
	if n, err := unix.Poll(poll, 0); err == nil && n == 0 {
		return e, false
	}
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_EXIT}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err != nil || info.Mask&unix.PIDFD_INFO_EXIT == 0 {
		return e, true
	}
	status := syscall.WaitStatus(info.Exit_code)
	e.known = true
	if status.Signaled() {
		e.signal, e.core = status.Signal(), status.CoreDump()
	} else {
		e.code = status.ExitStatus()
	}
	return e, true
}

// childInfo reads the fields of a SIGCHLD siginfo, which x/sys leaves opaque.
func childInfo(info *unix.Siginfo) (pid, status int) {
	offset := 12 + unsafe.Sizeof(uintptr(0)) - 4 // the union is aligned as a pointer is
	fields := (*[3]int32)(unsafe.Add(unsafe.Pointer(info), offset))
	return int(fields[0]), int(fields[2])
}

// sendSignal signals the process of a pidfd: never another one with its number.
func sendSignal(pidfd *os.File, sig syscall.Signal) error {
	raw, err := pidfd.SyscallConn()
	if err != nil {
		return syscall.ESRCH
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return syscall.ESRCH // closed: the Starter has forgotten the process
	}
	return inner
}
