package processtest

import (
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// ErrCut is what every call returns once a Life was cut.
var ErrCut = errors.New("cut off: this agent is dead")

// Life is what one agent has of a Fake and a Store, both of which outlive it. Cut
// is the stand-in for a SIGKILL of that agent: from then on nothing that it tries
// has an effect. Its Starter part is the Life itself. Safe for concurrent use.
type Life struct {
	fake  *Fake
	store process.Store
	exits chan process.Exit
	dead  chan struct{}

	mu    sync.Mutex
	deeds int // calls that have changed something
	last  int // the deed after which it is cut; 0: none
	cut   bool
}

// Connect begins a Life. Exits that were not acknowledged are delivered to it,
// whoever has heard of them before; an earlier Life hears of no more.
func (f *Fake) Connect(store process.Store) *Life {
	f.mu.Lock()
	defer f.mu.Unlock()
	var told []process.Exit
	for _, p := range f.procs {
		if p.proc.Exit != nil {
			told = append(told, *p.proc.Exit)
		}
		p.out.release()
	}
	slices.SortFunc(told, func(a, b process.Exit) int { return a.Time.Compare(b.Time) })
	f.exits, f.backlog = make(chan process.Exit, 4096), nil
	for _, e := range told {
		f.exits <- e
	}
	return &Life{fake: f, store: store, exits: f.exits, dead: make(chan struct{})}
}

// Cut ends the Life.
func (l *Life) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end()
}

// CutAfter ends the Life once n more calls have changed something: processes,
// the Store, or what of them is read.
func (l *Life) CutAfter(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = l.deeds + n
}

// Dead is closed when the Life was cut.
func (l *Life) Dead() <-chan struct{} { return l.dead }

// end needs mu.
func (l *Life) end() {
	if !l.cut {
		l.cut = true
		close(l.dead)
	}
}

// alive says whether a call may have an effect. Those of one Life come one after
// the other, so that none is under way when it is cut.
func (l *Life) alive() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.cut
}

// do makes one change.
func (l *Life) do(change func() error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return ErrCut
	}
	err := change()
	if l.deeds++; l.deeds == l.last {
		l.end()
		return ErrCut
	}
	return err
}

// mine is a Proc whose methods end with the Life.
func (l *Life) mine(p process.Proc) process.Proc { return p.WithOps(lifeOps{l, p}) }

// Start implements process.Starter.
func (l *Life) Start(c process.Command) (p process.Proc, err error) {
	err = l.do(func() (err error) { p, err = l.fake.Start(c); return err })
	if err != nil {
		return process.Proc{}, err
	}
	return l.mine(p), nil
}

// List implements process.Starter.
func (l *Life) List() []process.Proc {
	if !l.alive() {
		return nil
	}
	list := l.fake.List()
	for i, p := range list {
		list[i] = l.mine(p)
	}
	return list
}

// Exits implements process.Starter.
func (l *Life) Exits() <-chan process.Exit { return l.exits }

// Ack implements process.Starter.
func (l *Life) Ack(id string) { _ = l.do(func() error { l.fake.Ack(id); return nil }) }

// SetMeta implements process.Starter.
func (l *Life) SetMeta(id string, meta []byte) error {
	return l.do(func() error { return l.fake.SetMeta(id, meta) })
}

// SetMain implements process.Starter.
func (l *Life) SetMain(id string, pid int) (p process.Proc, err error) {
	err = l.do(func() (err error) { p, err = l.fake.SetMain(id, pid); return err })
	if err != nil {
		return process.Proc{}, err
	}
	return l.mine(p), nil
}

// SetKillAt implements process.Starter.
func (l *Life) SetKillAt(id string, t time.Time) error {
	return l.do(func() error { return l.fake.SetKillAt(id, t) })
}

// Output implements process.Starter.
func (l *Life) Output(id string) (process.Output, error) {
	if !l.alive() {
		return nil, ErrCut
	}
	out, err := l.fake.Output(id)
	if err != nil {
		return nil, err
	}
	return lifeOutput{out, l}, nil
}

// Store is the Life's view of the Store.
func (l *Life) Store() process.Store { return lifeStore{l} }

type lifeStore struct{ l *Life }

// Put implements process.Store.
func (s lifeStore) Put(name string, f *os.File) error {
	return s.l.do(func() error { return s.l.store.Put(name, f) })
}

// Get implements process.Store.
func (s lifeStore) Get(name string) (*os.File, error) {
	if !s.l.alive() {
		return nil, ErrCut
	}
	return s.l.store.Get(name)
}

// Take implements process.Store.
func (s lifeStore) Take(name string) (f *os.File, err error) {
	err = s.l.do(func() (err error) { f, err = s.l.store.Take(name); return err })
	if err != nil && f != nil {
		f.Close()
		f = nil
	}
	return f, err
}

// List implements process.Store.
func (s lifeStore) List() []string {
	if !s.l.alive() {
		return nil
	}
	return s.l.store.List()
}

// lifeOutput commits only while the Life lasts.
type lifeOutput struct {
	process.Output
	l *Life
}

// Commit implements process.Output.
func (o lifeOutput) Commit(pos int64, skip [2]int64) error {
	return o.l.do(func() error { return o.Output.Commit(pos, skip) })
}

type lifeOps struct {
	l *Life
	p process.Proc
}

// Signal implements process.Ops. It is made outside of do, since what hears of
// the signal may call the Fake.
func (o lifeOps) Signal(sig syscall.Signal) error {
	if err := o.l.do(func() error { return nil }); err != nil {
		return err
	}
	return o.p.Signal(sig)
}

// Members implements process.Ops.
func (o lifeOps) Members() ([]int, error) {
	if !o.l.alive() {
		return nil, ErrCut
	}
	return o.p.Members()
}

// SignalRest implements process.Ops.
func (o lifeOps) SignalRest(sig syscall.Signal) (n int, err error) {
	err = o.l.do(func() (err error) { n, err = o.p.SignalRest(sig); return err })
	return n, err
}

// Kill implements process.Ops.
func (o lifeOps) Kill() (int, error) {
	if err := o.l.do(func() error { return nil }); err != nil {
		return 0, err
	}
	return o.p.Kill()
}

// Empty implements process.Ops.
func (o lifeOps) Empty() (bool, error) {
	if !o.l.alive() {
		return false, ErrCut
	}
	return o.p.Empty()
}
