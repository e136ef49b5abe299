package process

import (
	"os"
	"syscall"

	"github.com/muster-run/muster/internal/process/spool"
)

// Views are the methods of the Procs of one Starter: they act on what a process
// is now, not on what it was when the Proc was returned, and share looks at all
// processes. The zero value is usable. Safe for concurrent use.
type Views struct{ scans sharedScan }

// Ops of the process that now returns.
func (v *Views) Ops(now func() Proc) Ops { return viewOps{now, v.scans.scan} }

type viewOps struct {
	now  func() Proc
	scan func() (*Table, error)
}

func (o viewOps) ops() systemOps { return systemOps{o.now(), o.scan} }

// Signal implements Ops.
func (o viewOps) Signal(sig syscall.Signal) error { return o.ops().Signal(sig) }

// Members implements Ops.
func (o viewOps) Members() ([]int, error) { return o.ops().Members() }

// SignalRest implements Ops.
func (o viewOps) SignalRest(sig syscall.Signal) (int, error) { return o.ops().SignalRest(sig) }

// Kill implements Ops.
func (o viewOps) Kill() (int, error) { return o.ops().Kill() }

// Empty implements Ops.
func (o viewOps) Empty() (bool, error) { return o.ops().Empty() }

// OpenPidFD opens a pidfd of the process that has a number since a start time
// (Proc.StartTime); syscall.ESRCH when there is none.
func OpenPidFD(pid int, start uint64) (*os.File, error) {
	ch, err := openPid(pid)
	if err != nil {
		return nil, err
	}
	if ch.start != start {
		ch.pidfd.Close()
		return nil, syscall.ESRCH
	}
	return ch.pidfd, nil
}

// WithFDs calls do with the descriptors of files, which cannot be closed
// meanwhile. It does not make them blocking, as File.Fd may.
func WithFDs(files []*os.File, do func(fds []int) error) error {
	raw := make([]uintptr, len(files))
	return withFDs(files, raw, func() error {
		fds := make([]int, len(raw))
		for i, fd := range raw {
			fds[i] = int(fd)
		}
		return do(fds)
	})
}

// Spool is the spool of a process, for whoever reads it on behalf of another
// process (Output is its reader in this one).
func (d *Direct) Spool(id string) (*spool.Spool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.spool(id)
}
