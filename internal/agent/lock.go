package agent

import (
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
)

// lockName is the lock in the keeper's Store.
const lockName = "lock"

// lockFile is the exclusive right to run a project. It lives as long as its open
// file: one left behind by a crash means nothing. With a keeper, that holds a
// copy of the open file, so that the right outlives every agent and ends with
// the keeper.
type lockFile struct{ file *os.File }

// wholeFile is an exclusive lock over the whole file that belongs to the open
// file, so that two agents in one process exclude each other, too.
func wholeFile() *unix.Flock_t { return &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart} }

// lock takes the project's lock, or goes on with the one that an agent before has
// left with the keeper. Its text is the pid that the user knows.
func (a *Agent) lock() error {
	if a.keeper == nil {
		lock, err := takeLock(a.paths.Lock, os.Getpid())
		if err == nil {
			a.undo("lock", lock.release)
		}
		return err
	}
	f, err := a.keeper.Store.Get(lockName)
	if err != nil {
		return err
	}
	if f == nil {
		lock, err := takeLock(a.paths.Lock, a.keeper.Hello.PID)
		if err != nil {
			return err
		}
		if err := a.keeper.Store.Put(lockName, lock.file); err != nil {
			return errors.Join(err, lock.release())
		}
		f = lock.file
	}
	a.undo("lock", f.Close)
	return nil
}

// takeLock refuses a second holder with E-AGENT-RUNNING, which names the
// first's pid. pid is what this one writes.
func takeLock(path string, pid int) (*lockFile, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.StateDir, "cannot open the lock: %w", err)
	}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, wholeFile()); err != nil {
		holder := readPID(f)
		f.Close()
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES) {
			return nil, running(holder)
		}
		return nil, fault.New(fault.StateDir, "cannot lock %s: %w", path, err)
	}
	l := &lockFile{f}
	if err := l.write(strconv.Itoa(pid) + "\n"); err != nil {
		return nil, errors.Join(fault.New(fault.StateDir, "cannot write %s: %w", path, err), l.release())
	}
	return l, nil
}

func running(pid int) *fault.Fault {
	if pid == 0 {
		return fault.New(fault.AgentRunning, "another agent runs this project")
	}
	return fault.New(fault.AgentRunning, "another agent runs this project (pid %d)", pid)
}

func readPID(f *os.File) int {
	text, _ := io.ReadAll(io.LimitReader(f, 32))
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

func (l *lockFile) write(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// release gives the right back. The file stays: removing it would let two
// agents lock two different files of one name.
func (l *lockFile) release() error { return l.file.Close() }

// LockHolder tells whether the project's lock is held, and the pid that the user
// knows: the keeper's, without one the agent's, 0 when it cannot be read. It asks
// the kernel, not the agent, and takes nothing.
func LockHolder(p Paths) (pid int, held bool) {
	f, err := os.OpenFile(p.Lock, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	lock := wholeFile()
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0, false
	}
	return readPID(f), true
}
