package console

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ToFront makes a process group of this session the one that has the terminal: its
// keys, and the signals that they make.
func ToFront(tty *os.File, group int) error {
	// Who asks from behind gets SIGTTOU, unless the asking thread does not take it. To
	// muster that signal is an order.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var set, before unix.Sigset_t
	set.Val[0] = 1 << (unix.SIGTTOU - 1)
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, &before); err != nil {
		return fmt.Errorf("cannot hold back SIGTTOU: %w", err)
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, &before, nil)
	if err := unix.IoctlSetPointerInt(int(tty.Fd()), unix.TIOCSPGRP, group); err != nil {
		return fmt.Errorf("cannot take the terminal: %w", err)
	}
	return nil
}

// Attach gives this process, started by the one whose session it is a console of, a
// process group of its own that has the terminal: so Ctrl-C ends a command and not the
// session. back gives the terminal to the group before, and joins that.
func Attach(tty *os.File) (back func() error, err error) {
	// There is no shell to stop and to continue us.
	signal.Ignore(syscall.SIGTSTP, syscall.SIGTTIN, syscall.SIGTTOU)
	before := unix.Getpgrp()
	if err := unix.Setpgid(0, 0); err != nil {
		return nil, fmt.Errorf("cannot leave the process group: %w", err)
	}
	back = func() error {
		if err := ToFront(tty, before); err != nil {
			return err
		}
		return unix.Setpgid(0, before)
	}
	if err := ToFront(tty, unix.Getpgrp()); err != nil {
		_ = unix.Setpgid(0, before)
		return nil, err
	}
	return back, nil
}
