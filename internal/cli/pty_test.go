package cli

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo terminal with a program on it.
type terminal struct {
	t    *testing.T
	keys *os.File // our end
	cmd  *exec.Cmd

	mu     sync.Mutex
	seen   strings.Builder
	looked int // how much of seen was expected already
	more   chan struct{}
}

// openPTY makes a pair of a terminal and what types on it.
func openPTY(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := ours.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	ctl := raw.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 40, Col: 120})
	})
	if err != nil || ctl != nil {
		t.Fatal(err, ctl)
	}
	theirs, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// onTerminal starts a program as the leader of a session with a terminal.
func onTerminal(t *testing.T, p place, args ...string) *terminal {
	t.Helper()
	ours, theirs := openPTY(t)
	defer theirs.Close()
	v := &terminal{t: t, keys: ours, more: make(chan struct{}, 1)}
	v.cmd = p.command(args...)
	v.cmd.Stdin, v.cmd.Stdout, v.cmd.Stderr = theirs, theirs, theirs
	v.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { // ends with the terminal
		_, _ = io.Copy(v, ours)
	}()
	t.Cleanup(func() {
		_ = v.cmd.Process.Kill()
		_ = v.cmd.Wait()
		ours.Close()
		if t.Failed() {
			t.Logf("the terminal of %q:\n%q", args, v.text())
		}
	})
	return v
}

// Write takes what the program prints.
func (v *terminal) Write(b []byte) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.Write(b)
	select {
	case v.more <- struct{}{}:
	default:
	}
	return len(b), nil
}

// text is all that was printed, without colours.
func (v *terminal) text() string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return colours.ReplaceAllString(v.seen.String(), "")
}

var colours = regexp.MustCompile(`\x1b\[[0-9;]*m`)

// typed sends keys.
func (v *terminal) typed(keys string) {
	v.t.Helper()
	if _, err := io.WriteString(v.keys, keys); err != nil {
		v.t.Fatal(err)
	}
}

// expect waits until what is printed from now on matches, and returns the match.
func (v *terminal) expect(pattern string) string {
	v.t.Helper()
	want := regexp.MustCompile(pattern)
	end := time.After(awaitDeadline)
	for {
		rest := v.text()[v.looked:]
		if at := want.FindStringIndex(rest); at != nil {
			v.looked += at[1]
			return rest[at[0]:at[1]]
		}
		select {
		case <-v.more:
		case <-end:
			v.t.Fatalf("never printed %s; since the last that was expected:\n%q", pattern, rest)
		}
	}
}

// ended waits for the end of the program and returns its exit code.
func (v *terminal) ended() int {
	v.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); _ = v.cmd.Wait() }()
	select {
	case <-done:
	case <-time.After(awaitDeadline):
		v.t.Fatalf("it does not end; the terminal:\n%q", v.text()[v.looked:])
	}
	return v.cmd.ProcessState.ExitCode()
}

// cooked says that the terminal edits lines and makes signals, as it did before.
func (v *terminal) cooked() bool {
	mode, err := unix.IoctlGetTermios(int(v.keys.Fd()), unix.TCGETS)
	if err != nil {
		v.t.Fatal(err)
	}
	return mode.Lflag&unix.ICANON != 0 && mode.Lflag&unix.ISIG != 0 && mode.Lflag&unix.ECHO != 0
}

// front is the process group that has the terminal.
func (v *terminal) front() int {
	group, err := unix.IoctlGetInt(int(v.keys.Fd()), unix.TIOCGPGRP)
	if err != nil {
		v.t.Fatal(err)
	}
	return group
}
