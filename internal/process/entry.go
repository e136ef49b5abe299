package process

import (
	"slices"
	"time"

	"github.com/muster-run/muster/internal/process/cgroup"
	"github.com/muster-run/muster/internal/process/spool"
)

const (
	// emptyEvery is how often a group is looked at whose main process has ended
	// but whose pipes are still held; it doubles up to emptyMax.
	emptyEvery = 100 * time.Millisecond
	emptyMax   = 2 * time.Second
	// quietFor without data, once nobody of the group is left, is the end of the
	// output though a stranger still holds the pipe.
	quietFor = 200 * time.Millisecond
)

// entry is one process of a Direct. After ready is closed, Direct.mu guards it;
// spool and leader do not change any more.
type entry struct {
	ready chan struct{} // closed when the start has succeeded or failed
	err   error         // of the start

	proc   Proc
	main   *child // nil: not started
	leader *child // what Start made
	extra  []*child
	spool  *spool.Spool
}

// snapshot copies the Proc; Direct.mu is held.
func (e *entry) snapshot() Proc {
	p := e.proc
	p.Meta = slices.Clone(p.Meta)
	if p.Exit != nil {
		exit := *p.Exit
		p.Exit = &exit
	}
	return p
}

// children are the processes whose end is waited for; Direct.mu is held, or the
// entry is forgotten.
func (e *entry) children() []*child {
	return append([]*child{e.leader}, e.extra...)
}

// release gives up everything that was kept for a forgotten entry. With ack its
// files go too.
func (e *entry) release(ack bool) {
	if e.main == nil {
		return
	}
	for _, ch := range e.children() {
		_, _ = ch.poll(true)
		ch.pidfd.Close()
	}
	if e.spool != nil {
		e.spool.Finish()
		e.spool.Close(ack)
	}
	_ = cgroup.Remove(e.proc.Cgroup)
}

// watch delivers the end of a child, if it is then the main process.
func (d *Direct) watch(e *entry, ch *child) {
	d.running.Go(func() {
		// It stays a zombie until release: its number is used meanwhile.
		end, err := ch.wait(false)
		if err != nil {
			return // released
		}
		d.mu.Lock()
		if e.main != ch || e.proc.Exit != nil || d.closed {
			d.mu.Unlock()
			return
		}
		exit := Exit{
			ID: e.proc.ID, PID: ch.pid, Code: end.code, Signal: end.signal, Core: end.core,
			Time: time.Now(), CPU: end.cpu,
		}
		e.proc.Exit = &exit
		d.mu.Unlock()
		d.exits.Add(exit)
		d.endOutput(e, ch)
	})
}

// endOutput ends the spool of a process whose main process has ended: by itself
// when both pipes are closed, else when nobody of the group is left and no more
// data comes.
func (d *Direct) endOutput(e *entry, ch *child) {
	if e.spool == nil {
		return
	}
	for wait := emptyEvery; !e.spool.Done(); wait = min(2*wait, emptyMax) {
		if !d.pause(wait, e) || !d.mainIs(e, ch) {
			return
		}
		if empty, err := d.view(e).Empty(); err != nil || !empty {
			continue
		}
		since := time.Now()
		for !e.spool.Done() && !e.spool.Quiet(since, quietFor) {
			if !d.pause(quietFor/4, e) {
				return
			}
		}
		if d.mainIs(e, ch) {
			e.spool.Finish()
		}
		return
	}
}

// mainIs says that the entry is not forgotten and ch is its ended main process
// (SetMain may have made it another).
func (d *Direct) mainIs(e *entry, ch *child) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.entries[e.proc.ID] == e && e.main == ch
}

// pause waits, less long when the output ends. false: the Direct was closed.
func (d *Direct) pause(wait time.Duration, e *entry) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-e.spool.Over():
		return true
	case <-d.ended:
		return false
	}
}

// SetMain implements Starter.
func (d *Direct) SetMain(id string, pid int) (Proc, error) {
	d.mu.Lock()
	e, err := d.find(id)
	if err != nil {
		d.mu.Unlock()
		return Proc{}, err
	}
	p := e.snapshot()
	d.mu.Unlock()
	if p.PID == pid && p.Exit == nil {
		return p, nil
	}
	// Opened before it is looked up: what the pidfd holds is what is checked.
	ch, err := openPid(pid)
	if err != nil {
		return Proc{}, ErrNotMember
	}
	t, err := Scan()
	if err == nil && (t.procs[pid].start != ch.start || !slices.Contains(t.Members(p), pid)) {
		err = ErrNotMember
	}
	if err == nil {
		err = d.replaceMain(e, ch)
	}
	if err != nil {
		ch.pidfd.Close()
		return Proc{}, err
	}
	return d.view(e), nil
}

// replaceMain makes a child the main process.
func (d *Direct) replaceMain(e *entry, ch *child) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries[e.proc.ID] != e {
		return ErrUnknownID
	}
	e.extra = append(e.extra, ch)
	e.main = ch
	e.proc.PID, e.proc.StartTime, e.proc.PidFD, e.proc.Exit = ch.pid, ch.start, ch.pidfd, nil
	d.watch(e, ch)
	return nil
}
