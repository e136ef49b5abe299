package keeper

import (
	"context"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
)

// mirror is what the agent knows of the keeper's processes. Client.mu guards it.
//
// Replies and exits are learned in the order in which the keeper sent them, but
// it sends the reply to a start beside others: an exit may come before the reply
// that tells of its process, and a list may be older than both. So exits of what
// is not known yet are kept (early) while a reply is due that may tell of it, and
// replies to requests that were made before an Ack do not bring the process back.
type mirror struct {
	client *Client
	procs  map[string]*entry
	due    int // replies that tell of processes
	early  map[string]process.Exit
	acked  map[string]uint64 // the last request before the Ack
}

// entry is one process.
type entry struct {
	proc   process.Proc
	pidfds []*os.File
	told   []int  // pids whose exit was delivered
	metaAt uint64 // the last request before SetMeta
}

func (m *mirror) open(c *Client) {
	m.client, m.procs = c, map[string]*entry{}
	m.early, m.acked = map[string]process.Exit{}, map[string]uint64{}
}

func (m *mirror) close() {
	for _, e := range m.procs {
		e.close()
	}
}

func (e *entry) close() {
	for _, f := range e.pidfds {
		f.Close()
	}
	e.pidfds = nil
}

// ask makes a call whose reply tells of processes.
func (c *Client) ask(ctx context.Context, r *wire.Request, fds []int) (*wire.Reply, error) {
	c.mu.Lock()
	c.known.due++
	c.mu.Unlock()
	a, err := c.call(ctx, r, fds, func(a *wire.Reply) {
		if a.Process != nil {
			a.Processes = append(a.Processes, *a.Process)
		}
		if a.Error == nil {
			for _, p := range a.Processes {
				c.known.learn(p, a.ID)
			}
		}
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known.due--; c.known.due == 0 {
		clear(c.known.early)
		clear(c.known.acked)
	}
	return a.reply, err
}

// learn takes what the reply to a request says of a process.
func (m *mirror) learn(p wire.Proc, asked uint64) {
	id := string(p.ID)
	if at, ok := m.acked[id]; ok && asked <= at {
		return
	}
	e := m.procs[id]
	if e == nil {
		e = &entry{}
		e.proc = process.Proc{ID: id}.WithOps(m.client.views.Ops(func() process.Proc { return m.client.view(e) }))
		m.procs[id] = e
	}
	if e.proc.PID != p.PID || e.proc.StartTime != p.Start {
		e.proc.PID, e.proc.StartTime, e.proc.Exit, e.proc.PidFD = p.PID, p.Start, nil, nil
		if f, err := process.OpenPidFD(p.PID, p.Start); err == nil { // else it has gone
			e.proc.PidFD, e.pidfds = f, append(e.pidfds, f)
		}
	}
	e.proc.Leader, e.proc.LeaderStart, e.proc.Cgroup = p.Leader, p.LeaderStart, string(p.Cgroup)
	if asked > e.metaAt {
		e.proc.Meta = p.Meta
	}
	if p.Exit != nil {
		m.exited(p.Exit.Process())
	}
	if x, ok := m.early[id]; ok {
		m.exited(x)
	}
}

// exited takes an exit, and delivers it the first time.
func (m *mirror) exited(x process.Exit) {
	e := m.procs[x.ID]
	if (e == nil || e.proc.PID != x.PID) && m.due > 0 {
		m.early[x.ID] = x
	}
	if e == nil {
		return
	}
	if e.proc.PID == x.PID {
		e.proc.Exit = &x
	}
	if !slices.Contains(e.told, x.PID) {
		e.told = append(e.told, x.PID)
		m.client.exits.Add(x)
	}
}

// snapshot copies the Proc.
func (e *entry) snapshot() process.Proc {
	p := e.proc
	p.Meta = slices.Clone(p.Meta)
	if p.Exit != nil {
		x := *p.Exit
		p.Exit = &x
	}
	return p
}

func (c *Client) view(e *entry) process.Proc {
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.snapshot()
}

// find returns the entry of a process; c.mu is held.
func (c *Client) find(id string) (*entry, error) {
	e := c.known.procs[id]
	switch {
	case c.err != nil:
		return nil, c.err
	case e == nil:
		return nil, process.ErrUnknownID
	}
	return e, nil
}

// Start implements process.Starter. More than wire.FDsMax descriptors are refused.
func (c *Client) Start(cmd process.Command) (process.Proc, error) {
	files := make([]*os.File, 0, 1+len(cmd.Files))
	if cmd.Stdin != nil {
		files = append(files, cmd.Stdin)
	}
	for _, f := range cmd.Files {
		files = append(files, f.File)
	}
	if len(files) > wire.FDsMax {
		return process.Proc{}, fault.New(fault.StartFailed,
			"%s would get %d descriptors, the most is %d: %w", cmd.ID, len(files), wire.FDsMax, syscall.EINVAL).WithFix("give it fewer listeners")
	}
	var a *wire.Reply
	err := process.WithFDs(files, func(fds []int) (err error) {
		a, err = c.ask(context.Background(), &wire.Request{Op: wire.OpStart, Command: wire.FromCommand(cmd)}, fds)
		return err
	})
	if err != nil {
		return process.Proc{}, err
	}
	return c.told(a)
}

// told is the process that a reply has told of.
func (c *Client) told(a *wire.Reply) (process.Proc, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a.Process == nil {
		return process.Proc{}, fault.New(fault.Internal, "the keeper's answer lacks the process")
	}
	e, err := c.find(string(a.Process.ID))
	if err != nil {
		return process.Proc{}, err
	}
	return e.snapshot(), nil
}

// List implements process.Starter, in the order of the keeper. When the keeper
// is gone it is what was known.
func (c *Client) List() []process.Proc {
	list, err := c.list(context.Background())
	if err == nil {
		return list
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.known.procs {
		list = append(list, e.snapshot())
	}
	slices.SortFunc(list, func(a, b process.Proc) int { return int(int64(a.LeaderStart) - int64(b.LeaderStart)) })
	return list
}

func (c *Client) list(ctx context.Context) ([]process.Proc, error) {
	a, err := c.ask(ctx, &wire.Request{Op: wire.OpList}, nil)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]process.Proc, 0, len(a.Processes))
	for _, p := range a.Processes {
		if e := c.known.procs[string(p.ID)]; e != nil {
			list = append(list, e.snapshot())
		}
	}
	return list, nil
}

// Exits implements process.Starter.
func (c *Client) Exits() <-chan process.Exit { return c.exits.Exits() }

// Ack implements process.Starter.
func (c *Client) Ack(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known.procs[id]
	if e == nil || e.proc.Exit == nil {
		return
	}
	delete(c.known.procs, id)
	delete(c.known.early, id)
	if c.known.due > 0 {
		c.known.acked[id] = c.last
	}
	e.close()
	// A keeper that is gone has forgotten it.
	_, _ = c.sendLocked(&wire.Request{Op: wire.OpAck, Process: wire.Text(id)}, nil, nil)
}

// SetMeta implements process.Starter. It does not wait for the keeper.
func (c *Client) SetMeta(id string, meta []byte) error {
	if len(meta) > process.MetaMax {
		return fault.New(fault.Internal, "the meta of %s is over %d bytes: %w", id, process.MetaMax, syscall.EINVAL)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e, err := c.find(id)
	if err != nil {
		return err
	}
	e.proc.Meta, e.metaAt = slices.Clone(meta), c.last
	_, err = c.sendLocked(&wire.Request{Op: wire.OpSetMeta, Process: wire.Text(id), Meta: meta}, nil, nil)
	return err
}

// SetMain implements process.Starter.
func (c *Client) SetMain(id string, pid int) (process.Proc, error) {
	a, err := c.ask(context.Background(), &wire.Request{Op: wire.OpSetMain, Process: wire.Text(id), PID: pid}, nil)
	if err != nil {
		return process.Proc{}, err
	}
	return c.told(a)
}

// SetKillAt implements process.Starter. It does not wait for the keeper.
func (c *Client) SetKillAt(id string, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, err := c.find(id); err != nil {
		return err
	}
	_, err := c.sendLocked(&wire.Request{Op: wire.OpSetKillAt, Process: wire.Text(id), KillAt: wire.ToBoot(t)}, nil, nil)
	return err
}
