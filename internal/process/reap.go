package process

import (
	"errors"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// reapAfter is how long a stranger must have been a zombie before it is reaped:
// long enough for whoever in this process started it and waits for it.
const reapAfter = time.Second

// Subreap makes this process the parent of what its descendants leave behind.
func Subreap() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// reapStrangers reaps zombies that nobody here waits for: orphans that came to
// this process as a subreaper or as pid 1. It looks only after a SIGCHLD, at
// most once per reapAfter.
func (d *Direct) reapStrangers() {
	died := make(chan os.Signal, 1)
	signal.Notify(died, syscall.SIGCHLD)
	defer signal.Stop(died)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	armed, seen := false, map[int]uint64{}
	for {
		select {
		case <-died:
			if !armed {
				timer.Reset(reapAfter)
				armed = true
			}
		case <-timer.C:
			seen = d.reapOnce(seen)
			if armed = len(seen) > 0; armed {
				timer.Reset(reapAfter)
			}
		case <-d.ended:
			return
		}
	}
}

// reapOnce reaps the strangers that were zombies at the last look too, and
// returns the others it saw, with their start times.
func (d *Direct) reapOnce(before map[int]uint64) map[int]uint64 {
	t, err := d.views.scans.scan()
	if err != nil {
		return before
	}
	now := map[int]uint64{}
	for _, st := range d.strangers(t) {
		switch start, known := before[st.pid]; {
		case !st.zombie:
		case known && start == st.start:
			_, _ = syscall.Wait4(st.pid, nil, syscall.WNOHANG, nil)
		default:
			now[st.pid] = st.start
		}
	}
	return now
}

// strangers are the children of this process that it did not start here.
func (d *Direct) strangers(t *Table) []stat {
	d.mu.Lock()
	defer d.mu.Unlock()
	ours := map[int]bool{}
	for _, e := range d.entries {
		if e.main != nil {
			for _, ch := range e.children() {
				ours[ch.pid] = true
			}
		}
	}
	for a := range d.aides {
		ours[a.child.pid] = true
	}
	var list []stat
	for _, st := range t.procs {
		if st.ppid == os.Getpid() && !ours[st.pid] {
			list = append(list, st)
		}
	}
	return list
}

// KillOrphans ends every child of this process that is not in List, and what
// these leave behind, by SIGKILL; for the very end of an agent, so that nothing
// stays. It returns how many it killed. Members of processes in List are killed
// too where they are children of this process: call it when List is empty.
func (d *Direct) KillOrphans() (int, error) {
	killed := map[stat]bool{}
	deadline := time.Now().Add(KillTimeout)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		t, err := d.views.scans.scan()
		if err != nil {
			return len(killed), err
		}
		left := 0
		for _, st := range d.strangers(t) {
			if pid, err := syscall.Wait4(st.pid, nil, syscall.WNOHANG, nil); err != nil || pid == st.pid {
				continue
			}
			left++
			if signalPid(st.pid, st.start, syscall.SIGKILL) == nil {
				killed[stat{pid: st.pid, start: st.start}] = true
			}
		}
		if left == 0 {
			return len(killed), nil
		}
		if time.Now().After(deadline) {
			return len(killed), errors.New("some processes cannot be killed")
		}
		time.Sleep(wait)
	}
}
