package processtest

import (
	"errors"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// firstPID is above the largest pid Linux gives out, so that a fake's pid never
// means a real process.
const firstPID = 1 << 23

// Fake is a Starter without processes, for tests of pure time: it makes no
// system call, starts no goroutine of its own (but one while more than 4096
// exits are unread), and works inside testing/synctest when it is made there.
//
// A fake process takes a signal as a real one does that never heard of signals:
// it ends, unless OnSignal says otherwise. Safe for concurrent use.
type Fake struct {
	mu       sync.Mutex
	procs    map[string]*fakeProc
	commands []process.Command
	nextPID  int
	fail     func(process.Command) error
	onSignal func(id string, sig syscall.Signal) bool
	backlog  []process.Exit // exits that do not fit the channel
	starts   chan process.Command
	exits    chan process.Exit
}

// fakeProc is one process; Fake.mu guards it.
type fakeProc struct {
	proc    process.Proc
	cmd     process.Command
	strays  []int
	meek    map[int]bool // strays that end by any signal
	signals []syscall.Signal
	out     *fakeOutput
	killAt  *time.Timer
}

// NewFake makes a Starter in which every start succeeds.
func NewFake() *Fake {
	return &Fake{
		procs: map[string]*fakeProc{}, nextPID: firstPID,
		starts: make(chan process.Command, 4096), exits: make(chan process.Exit, 4096),
	}
}

// FailStart makes Start ask f first: an error of it is Start's. nil: none fails.
func (f *Fake) FailStart(fail func(process.Command) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = fail
}

// OnSignal is called with every signal a main process gets, in the sender's
// goroutine and without a lock: it may call the Fake. true: the process caught
// the signal and lives on (SIGKILL cannot be caught).
func (f *Fake) OnSignal(handle func(id string, sig syscall.Signal) (caught bool)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.onSignal = handle
}

// Starts delivers each started command; those beyond 4096 unread are only in Commands.
func (f *Fake) Starts() <-chan process.Command { return f.starts }

// Commands returns everything started so far, in order.
func (f *Fake) Commands() []process.Command {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.commands)
}

// Signals returns what the main process of id got so far (SIGKILL included).
func (f *Fake) Signals(id string) []syscall.Signal {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.procs[id]; p != nil {
		return slices.Clone(p.signals)
	}
	return nil
}

// Exit ends the main process of id; its strays live on. It does nothing when it
// has already ended.
func (f *Fake) Exit(id string, code int, sig syscall.Signal) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.end(f.procs[id], code, sig)
}

// Stray adds a member to the process's group and returns its pid. It is of the
// stubborn kind: of the signals only SIGKILL ends it.
func (f *Fake) Stray(id string) int { return f.addStray(id, false) }

// Child is Stray, but any signal ends it.
func (f *Fake) Child(id string) int { return f.addStray(id, true) }

func (f *Fake) addStray(id string, meek bool) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	if p == nil {
		return 0
	}
	f.nextPID++
	p.strays = append(p.strays, f.nextPID)
	if meek {
		p.meek[f.nextPID] = true
	}
	return f.nextPID
}

// EndStray ends a member that Stray added.
func (f *Fake) EndStray(id string, pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.procs[id]; p != nil {
		p.strays = slices.DeleteFunc(p.strays, func(q int) bool { return q == pid })
		p.settle()
	}
}

// Print makes the process of id write text (with its line ends) to a stream, 1 or 2.
func (f *Fake) Print(id string, stream int, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.procs[id]; p != nil {
		p.out.append(stream, []byte(text))
	}
}

// Start implements process.Starter.
func (f *Fake) Start(c process.Command) (process.Proc, error) {
	f.mu.Lock()
	fail, old := f.fail, f.procs[c.ID]
	f.mu.Unlock()
	if old != nil {
		return f.view(old), nil
	}
	if fail != nil {
		if err := fail(c); err != nil {
			return process.Proc{}, err
		}
	}
	if len(c.Argv) == 0 || len(c.Meta) > process.MetaMax {
		return process.Proc{}, syscall.EINVAL
	}
	return f.add(c), nil
}

func (f *Fake) add(c process.Command) process.Proc {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.procs[c.ID]; p != nil {
		return p.proc
	}
	f.nextPID++
	p := &fakeProc{cmd: c, out: newFakeOutput(), meek: map[int]bool{}}
	p.proc = process.Proc{
		ID: c.ID, PID: f.nextPID, Leader: f.nextPID, StartTime: uint64(f.nextPID),
		Meta: slices.Clone(c.Meta),
	}.WithOps(&fakeOps{f, p})
	f.procs[c.ID] = p
	f.commands = append(f.commands, c)
	f.setKillAt(p, c.KillAt)
	select {
	case f.starts <- c:
	default:
	}
	return p.proc
}

func (f *Fake) view(p *fakeProc) process.Proc {
	f.mu.Lock()
	defer f.mu.Unlock()
	return p.proc
}

// List implements process.Starter; it is sorted by pid.
func (f *Fake) List() []process.Proc {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []process.Proc
	for _, p := range f.procs {
		list = append(list, p.proc)
	}
	slices.SortFunc(list, func(a, b process.Proc) int { return a.PID - b.PID })
	return list
}

// Exits implements process.Starter.
func (f *Fake) Exits() <-chan process.Exit {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.exits
}

// Ack implements process.Starter.
func (f *Fake) Ack(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	if p == nil || p.proc.Exit == nil {
		return
	}
	delete(f.procs, id)
	f.setKillAt(p, time.Time{})
	p.out.end()
}

// SetMeta implements process.Starter.
func (f *Fake) SetMeta(id string, meta []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	switch {
	case p == nil:
		return process.ErrUnknownID
	case len(meta) > process.MetaMax:
		return syscall.EINVAL
	}
	p.proc.Meta = slices.Clone(meta)
	return nil
}

// SetMain implements process.Starter: pid is one that Stray returned.
func (f *Fake) SetMain(id string, pid int) (process.Proc, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	switch {
	case p == nil:
		return process.Proc{}, process.ErrUnknownID
	case pid == p.proc.PID && p.proc.Exit == nil:
		return p.proc, nil
	case !slices.Contains(p.strays, pid):
		return process.Proc{}, process.ErrNotMember
	}
	p.strays = slices.DeleteFunc(p.strays, func(q int) bool { return q == pid })
	if p.proc.Exit == nil {
		p.strays = append(p.strays, p.proc.PID)
	}
	p.proc.PID, p.proc.StartTime, p.proc.Exit = pid, uint64(pid), nil
	return p.proc, nil
}

// SetKillAt implements process.Starter.
func (f *Fake) SetKillAt(id string, t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	if p == nil {
		return process.ErrUnknownID
	}
	f.setKillAt(p, t)
	return nil
}

func (f *Fake) setKillAt(p *fakeProc, t time.Time) {
	if p.killAt != nil {
		p.killAt.Stop()
		p.killAt = nil
	}
	if !t.IsZero() {
		p.killAt = time.AfterFunc(time.Until(t), func() { _, _ = f.view(p).Kill() })
	}
}

// Output implements process.Starter.
func (f *Fake) Output(id string) (process.Output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.procs[id]
	if p == nil {
		return nil, process.ErrUnknownID
	}
	if p.cmd.Spool == "" {
		return nil, process.ErrNoSpool
	}
	return p.out.open()
}

// end ends the main process; mu is held.
func (f *Fake) end(p *fakeProc, code int, sig syscall.Signal) {
	if p == nil || p.proc.Exit != nil {
		return
	}
	if sig != 0 {
		code = -1
	}
	e := process.Exit{ID: p.proc.ID, PID: p.proc.PID, Code: code, Signal: sig, Time: time.Now()}
	p.proc.Exit = &e
	p.settle()
	if len(f.backlog) > 0 {
		f.backlog = append(f.backlog, e)
		return
	}
	select {
	case f.exits <- e:
	default:
		f.backlog = append(f.backlog, e)
		go f.drainBacklog()
	}
}

// drainBacklog sends what did not fit and ends.
func (f *Fake) drainBacklog() {
	for {
		f.mu.Lock()
		if len(f.backlog) == 0 {
			f.mu.Unlock()
			return
		}
		e, exits := f.backlog[0], f.exits
		f.mu.Unlock()
		exits <- e
		f.mu.Lock()
		f.backlog = f.backlog[1:]
		f.mu.Unlock()
	}
}

// settle ends the output once nobody is left to print; mu is held.
func (p *fakeProc) settle() {
	if p.proc.Exit != nil && len(p.strays) == 0 {
		p.out.end()
	}
}

// fakeOps are the methods of a fake's Proc.
type fakeOps struct {
	f *Fake
	p *fakeProc
}

// Signal implements process.Ops.
func (o *fakeOps) Signal(sig syscall.Signal) error {
	o.f.mu.Lock()
	if o.p.proc.Exit != nil {
		o.f.mu.Unlock()
		return syscall.ESRCH
	}
	if sig == syscall.SIGCONT { // ends nothing
		o.f.mu.Unlock()
		return nil
	}
	o.p.signals = append(o.p.signals, sig)
	handle, id := o.f.onSignal, o.p.proc.ID
	o.f.mu.Unlock()
	caught := handle != nil && handle(id, sig)
	if caught && sig != syscall.SIGKILL || sig == 0 {
		return nil
	}
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	o.f.end(o.p, 0, sig)
	return nil
}

// Members implements process.Ops.
func (o *fakeOps) Members() ([]int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	members := slices.Clone(o.p.strays)
	if o.p.proc.Exit == nil {
		members = append(members, o.p.proc.PID)
	}
	slices.Sort(members)
	return members, nil
}

// SignalRest implements process.Ops.
func (o *fakeOps) SignalRest(sig syscall.Signal) (int, error) {
	o.f.mu.Lock()
	defer o.f.mu.Unlock()
	n := len(o.p.strays)
	if sig != 0 {
		o.p.strays = slices.DeleteFunc(o.p.strays, func(pid int) bool { return sig == syscall.SIGKILL || o.p.meek[pid] })
		o.p.settle()
	}
	return n, nil
}

// Kill implements process.Ops.
func (o *fakeOps) Kill() (int, error) {
	if _, err := o.SignalRest(syscall.SIGKILL); err != nil {
		return 0, err
	}
	if err := o.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return 0, err
	}
	return 0, nil
}

// Empty implements process.Ops.
func (o *fakeOps) Empty() (bool, error) {
	members, err := o.Members()
	return len(members) == 0, err
}
