package process

import (
	"errors"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process/alarm"
	"github.com/muster-run/muster/internal/process/cgroup"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/internal/process/thread"
)

// ErrNotMember is SetMain's answer for a pid that did not come from the process.
var ErrNotMember = errors.New("the pid is no member of the process's group")

// ErrUnknownID is the answer for an ID that was never started, or was acknowledged.
var ErrUnknownID = errors.New("no process with this id")

// ErrNoSpool is the answer for the output of a process that was started without.
var ErrNoSpool = errors.New("the process has no spool")

// ErrOutputBusy is the answer for a second reader.
var ErrOutputBusy = spool.ErrBusy

// ErrClosed is the answer of a Starter that was closed.
var ErrClosed = errors.New("the starter is closed")

// Options of a Direct. The zero value is usable.
type Options struct {
	// Project names the agent's part of the cgroup tree; "": the agent's pid.
	Project string
	// CgroupRoot is the cgroup v2 directory to work in; "": the agent's own,
	// found through /proc/self/mountinfo.
	CgroupRoot string
	// NoCgroup does without cgroups.
	NoCgroup bool
	// SpoolMax is how many bytes of one process's output may wait to be
	// committed before the process is held up; default 8 MiB.
	SpoolMax int64
	// DieWithParent: a process that Start made is killed when this process ends,
	// however it ends. What the process has started in its turn is not, nor a
	// program that gets privileges from its file (set-user-ID).
	DieWithParent bool
	// LeaveStrangers: children that others in this process have started, and orphans
	// that have come to it, are left to whoever waits for them.
	LeaveStrangers bool
}

// Capabilities say what this machine lets a Direct do.
type Capabilities = cgroup.Capabilities

// Direct is the Starter whose processes are the agent's own children. It keeps
// an ended process as a zombie until Ack, so that its pid, group and session
// number mean nobody else while they are used.
type Direct struct {
	options Options
	cgroups *cgroup.Tree
	buffers *sync.Pool
	views   Views
	exits   *ExitQueue
	alarm   *alarm.Alarm
	forks   *thread.Thread // nil: any
	ended   chan struct{}  // closed by Close
	running sync.WaitGroup

	mu      sync.Mutex
	entries map[string]*entry
	aides   map[*Aide]bool
	closed  bool
}

// NewDirect makes a Starter. It fails only where the machine has no timerfd or
// pidfd; that there are no cgroups is in Capabilities.
func NewDirect(o Options) (*Direct, error) {
	if o.SpoolMax <= 0 {
		o.SpoolMax = spool.DefaultMax
	}
	d := &Direct{
		options: o, cgroups: openCgroups(o), buffers: spool.NewBuffers(),
		ended: make(chan struct{}), entries: map[string]*entry{}, aides: map[*Aide]bool{},
	}
	var err error
	if d.alarm, err = alarm.New(); err != nil {
		return nil, fault.New(fault.StartFailed, "cannot make a timer: %w", err)
	}
	if o.DieWithParent {
		d.forks = thread.New()
	}
	d.exits = NewExitQueue(d.ended)
	d.running.Go(d.exits.Run)
	d.running.Go(d.killOverdue)
	if !o.LeaveStrangers {
		d.running.Go(d.reapStrangers)
	}
	return d, nil
}

// openCgroups makes the agent's part of the cgroup tree.
func openCgroups(o Options) *cgroup.Tree {
	if o.NoCgroup {
		return &cgroup.Tree{}
	}
	name := o.Project
	if name == "" {
		name = strconv.Itoa(os.Getpid())
	}
	return cgroup.Open(o.CgroupRoot, name)
}

// makeCgroup returns the directory of a cgroup for a command, "" for none.
func (d *Direct) makeCgroup(c Command) string {
	if !c.Cgroup && c.Limits.CPU <= 0 {
		return ""
	}
	return d.cgroups.Make(c.ID, c.Limits.CPU)
}

// Capabilities of this machine.
func (d *Direct) Capabilities() Capabilities { return d.cgroups.Capabilities() }

// Close ends the Direct's goroutines, and no process: what still runs loses
// the reader of its output. Exits is not closed.
func (d *Direct) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil
	}
	d.closed = true
	entries := d.entries
	d.entries = map[string]*entry{}
	d.mu.Unlock()
	close(d.ended)
	d.alarm.Close()
	for _, e := range entries {
		<-e.ready
		e.release(false)
	}
	d.running.Wait()
	d.forks.Close()
	d.cgroups.Close()
	return nil
}

// Start implements Starter.
func (d *Direct) Start(c Command) (Proc, error) {
	e, first, err := d.enter(c.ID)
	switch {
	case err != nil:
		return Proc{}, err
	case first:
		e.err = d.launch(e, c)
		if e.err != nil {
			d.forget(e)
		}
		close(e.ready)
	default:
		<-e.ready
	}
	if e.err != nil {
		return Proc{}, e.err
	}
	return d.view(e), nil
}

// enter finds the entry of an ID or makes it, which only the first caller does.
func (d *Direct) enter(id string) (e *entry, first bool, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return nil, false, ErrClosed
	case id == "":
		return nil, false, fault.New(fault.Internal, "a process needs an id: %w", syscall.EINVAL)
	}
	if e := d.entries[id]; e != nil {
		return e, false, nil
	}
	e = &entry{ready: make(chan struct{})}
	d.entries[id] = e
	return e, true, nil
}

func (d *Direct) forget(e *entry) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, other := range d.entries {
		if other == e {
			delete(d.entries, id)
		}
	}
}

// launch starts the process of a new entry.
func (d *Direct) launch(e *entry, c Command) (err error) {
	l := launch{command: c, cgroup: d.makeCgroup(c)}
	defer func() { l.close(err != nil) }()
	if err := l.open(d.options.SpoolMax, d.buffers); err != nil {
		return err
	}
	ch, err := spawn(c, birth{stdio: l.stdio, cgroup: l.cgroup, on: d.forks, bound: d.options.DieWithParent})
	if err != nil {
		return err
	}
	if !ch.cgroup {
		_ = cgroup.Remove(l.cgroup)
		l.cgroup = ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e.spool, e.main, e.leader = l.spool, ch, ch
	e.proc = Proc{
		ID: c.ID, PID: ch.pid, Leader: ch.pid, StartTime: ch.start, LeaderStart: ch.start,
		PidFD: ch.pidfd, Cgroup: l.cgroup, Meta: slices.Clone(c.Meta),
	}
	e.proc.ops = d.views.Ops(func() Proc { return d.view(e) })
	for _, start := range l.pumps {
		start()
	}
	d.watch(e, ch)
	d.alarm.Set(c.ID, c.KillAt)
	return nil
}

// launch is what a start needs for a while.
type launch struct {
	command Command
	cgroup  string
	spool   *spool.Spool
	stdio   [3]*os.File
	ours    []*os.File // to close
	pumps   []func()
}

// open prepares the first three descriptors.
func (l *launch) open(limit int64, buffers *sync.Pool) (err error) {
	c := l.command
	l.stdio = [3]*os.File{c.Stdin, os.Stdout, os.Stderr}
	if c.Stdin == nil {
		if l.stdio[0], err = os.Open(os.DevNull); err != nil {
			return fault.New(fault.StartFailed, "cannot start: %w", err)
		}
		l.ours = append(l.ours, l.stdio[0])
	}
	if c.Spool == "" {
		return nil
	}
	if l.spool, err = spool.Open(c.Spool, limit, buffers); err != nil {
		return fault.New(fault.StateDir, "cannot keep the output of %s: %w", c.ID, err)
	}
	for stream := 1; stream <= 2; stream++ {
		write, start, err := l.spool.Pipe(stream, c.uid())
		if err != nil {
			return fault.New(fault.StartFailed, "cannot start: %w", err)
		}
		l.stdio[stream], l.ours, l.pumps = write, append(l.ours, write), append(l.pumps, start)
	}
	return nil
}

// close gives back what only the start needed; failed: everything.
func (l *launch) close(failed bool) {
	for _, f := range l.ours {
		f.Close()
	}
	if !failed {
		return
	}
	_ = cgroup.Remove(l.cgroup)
	if l.spool != nil {
		l.spool.Discard()
	}
}

// view is the Proc as it is now.
func (d *Direct) view(e *entry) Proc {
	d.mu.Lock()
	defer d.mu.Unlock()
	return e.snapshot()
}

// List implements Starter. The order is that of the start times.
func (d *Direct) List() []Proc {
	d.mu.Lock()
	defer d.mu.Unlock()
	list := make([]Proc, 0, len(d.entries))
	for _, e := range d.entries {
		if e.main != nil {
			list = append(list, e.snapshot())
		}
	}
	slices.SortFunc(list, func(a, b Proc) int {
		if a.LeaderStart != b.LeaderStart {
			return int(int64(a.LeaderStart) - int64(b.LeaderStart))
		}
		return a.Leader - b.Leader
	})
	return list
}

// Exits implements Starter.
func (d *Direct) Exits() <-chan Exit { return d.exits.Exits() }

// find returns a started entry; mu is held.
func (d *Direct) find(id string) (*entry, error) {
	if e := d.entries[id]; e != nil && e.main != nil {
		return e, nil
	}
	return nil, ErrUnknownID
}

// Ack implements Starter. A process that has not exited is left alone. An open
// reader of its output can read on to the end.
func (d *Direct) Ack(id string) {
	d.mu.Lock()
	e, err := d.find(id)
	if err != nil || e.proc.Exit == nil {
		d.mu.Unlock()
		return
	}
	delete(d.entries, id)
	d.alarm.Set(id, time.Time{})
	d.mu.Unlock()
	e.release(true)
}

// SetMeta implements Starter.
func (d *Direct) SetMeta(id string, meta []byte) error {
	if len(meta) > MetaMax {
		return fault.New(fault.Internal, "the meta of %s is over %d bytes: %w", id, MetaMax, syscall.EINVAL)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	e, err := d.find(id)
	if err == nil {
		e.proc.Meta = slices.Clone(meta)
	}
	return err
}

// SetKillAt implements Starter. The deadline is kept on the clock that also
// counts while the machine sleeps.
func (d *Direct) SetKillAt(id string, t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.find(id); err != nil {
		return err
	}
	d.alarm.Set(id, t)
	return nil
}

// Output implements Starter.
func (d *Direct) Output(id string) (Output, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s, err := d.spool(id)
	if err != nil {
		return nil, err
	}
	r, err := s.Reader()
	if err != nil {
		return nil, err // a nil *Reader would be an Output that is not nil
	}
	return r, nil
}

// spool is the spool of a process; mu is held.
func (d *Direct) spool(id string) (*spool.Spool, error) {
	e, err := d.find(id)
	switch {
	case err != nil:
		return nil, err
	case e.spool == nil:
		return nil, ErrNoSpool
	}
	return e.spool, nil
}

// killOverdue ends the groups whose deadline passes.
func (d *Direct) killOverdue() {
	for {
		ids, err := d.alarm.Wait()
		if err != nil {
			return // closed
		}
		for _, id := range ids {
			d.mu.Lock()
			e, err := d.find(id)
			d.mu.Unlock()
			if err == nil {
				// On its own: one that does not die must not hold up the next.
				d.running.Go(func() { _, _ = d.view(e).Kill() })
			}
		}
	}
}
