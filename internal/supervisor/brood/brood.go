package brood

import (
	"context"
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Brood are the forks of one process of a program. It implements attempt.Kin.
type Brood struct {
	ctx     context.Context // the pool's
	cfg     attempt.Config  // the program's
	program *attempt.Attempt

	forks   []*fork // in the order of their start
	last    int     // the latest number of one
	was     *record.Forks
	ending  bool // there are to be none
	rules   spec.Stop
	waiting []func() // for the last to be gone
	closed  bool
	odd     map[string]bool // what was told of what the program said
	pace    pace            // of the goroutine that hears the program

	look  *time.Timer // for readiness
	slack time.Time   // since when everything listens, but not where the predecessor does
}

// New makes the Brood of a program's process that is to be started, or adopted. show is
// what the API shows of it; like all but Take it is for the goroutine of the pool.
func New(ctx context.Context, cfg attempt.Config, program *attempt.Attempt) (kin attempt.Kin, show func() *api.NodeWorker) {
	b := &Brood{ctx: ctx, cfg: cfg, program: program, was: &record.Forks{}, odd: map[string]bool{}}
	return b, b.show
}

// fork is one of them.
type fork struct {
	b        *Brood
	id       int // the program's number for it
	silent   bool
	run      *attempt.Attempt
	begun    func() // called once it runs, or cannot
	stopping bool
	onlineAt time.Time
	// What the program was told.
	left, disconnected, exited bool
}

// forever is the ready timeout of a fork: that is judged for the program as a whole.
const forever = 100 * 365 * 24 * time.Hour

// config of a fork's process.
func (f *fork) config(worker spec.App) attempt.Config {
	b := f.b
	cfg := b.cfg
	cfg.Number, cfg.ReadyIn, cfg.Pattern, cfg.Listeners = f.id, forever, nil, nil
	cfg.Before = func() ([]string, bool) { return nil, false }
	cfg.Worker.App = worker
	cfg.Fork = &attempt.Fork{Message: f.message}
	if f.silent {
		cfg.Fork.Line = f.line
	}
	cfg.Events = attempt.Events{
		Started: f.started, Ready: func() {}, Failed: f.condemned, Torn: f.torn,
		Late: func() { f.run.Kill() }, Exited: f.ended, Gone: f.gone,
		Probed: func(attempt.Probed) {}, Status: func(string) {}, Node: f.changed, Warned: b.warn,
	}
	return cfg
}

// started is what the Starter answered.
func (f *fork) started(err error) {
	b := f.b
	defer f.release()
	if err != nil {
		b.warn(fault.From(err))
		b.failed(f.id, fault.From(err))
		f.left, f.disconnected = true, true
		f.run.Close()
		b.remove(f)
		return
	}
	b.tell("forked", f.id, about{"pid": f.run.PID()})
	if b.ending {
		f.stop(b.rules)
	}
}

// release lets the program's frame go, once what was made of it is recorded.
func (f *fork) release() {
	if f.begun != nil {
		f.b.cfg.After(f.begun)
		f.begun = nil
	}
}

// changed is told of its state in Node's words.
func (f *fork) changed(e event.WorkerNode) {
	switch e.State {
	case "online":
		f.onlineAt = time.Now()
		f.b.tell("online", f.id, nil)
	case "listening":
		f.b.tell("listening", f.id, address(e))
	case "disconnected":
		f.leaves()
		f.tellDisconnect()
	}
	f.b.check()
}

// leaves tells the program, once, that its end was asked for.
func (f *fork) leaves() {
	if !f.left && (f.b.ending || f.run.AfterDisconnect()) {
		f.left = true
		f.b.tell("leaving", f.id, nil)
	}
}

func (f *fork) tellDisconnect() {
	if !f.disconnected {
		f.disconnected = true
		f.b.tell("disconnect", f.id, nil)
	}
}

// ended: its main process has. What a silent one has printed comes before its exit.
func (f *fork) ended(e process.Exit) {
	if !f.silent {
		f.tellExit(e)
	}
	f.run.Clear(min(f.b.cfg.Worker.App.Stop.Timeout.D(), leftPatience))
	f.b.check()
}

// leftPatience is how long what a fork leaves behind may live on.
const leftPatience = time.Second

func (f *fork) tellExit(e process.Exit) {
	if f.exited {
		return
	}
	f.exited = true
	f.leaves()
	f.b.tell("exit", f.id, ending(e))
}

// gone: nothing is left of it.
func (f *fork) gone() {
	if e := f.run.Exit(); e != nil {
		f.tellExit(*e)
	}
	f.run.Close() // tells the end of its channel, if nobody has
	f.tellDisconnect()
	f.b.remove(f)
}

// condemned: it is judged as if it were a worker.
func (f *fork) condemned(why *fault.Fault) {
	f.b.warn(why)
	f.run.Kill()
}

// torn: one that has left its channel may live on, as with Node.js itself; one that
// cannot be understood may not.
func (f *fork) torn(why *fault.Fault) {
	if why.Code != fault.NoChannel {
		f.condemned(why)
	}
}

// stop has it end within rules.Timeout, by force when that is 0.
func (f *fork) stop(rules spec.Stop) {
	f.leaves()
	switch {
	case !f.run.Running() || f.run.Exit() != nil: // started and gone go on
	case rules.Timeout == 0:
		f.run.Kill()
	case !f.stopping:
		f.stopping = true
		f.run.Stop(rules)
	}
}

// End implements attempt.Kin.
func (b *Brood) End(rules spec.Stop, done func()) {
	rules.Message, rules.Command = "", nil // they are for the program
	b.ending, b.rules = true, rules
	b.waiting = append(b.waiting, done)
	b.still()
	for _, f := range slices.Clone(b.forks) {
		f.stop(rules)
	}
	b.settle()
}

// remove forgets one that is gone.
func (b *Brood) remove(f *fork) {
	b.forks = slices.DeleteFunc(b.forks, func(other *fork) bool { return other == f })
	b.settle()
	b.check()
}

// settle tells those who wait for the last to be gone.
func (b *Brood) settle() {
	if len(b.forks) > 0 || b.closed {
		return
	}
	told := b.waiting
	b.waiting = nil
	for _, done := range told {
		done()
	}
}

// Leave implements attempt.Kin.
func (b *Brood) Leave() {
	b.closed = true
	b.still()
	for _, f := range b.forks {
		f.run.Leave()
	}
}

// find is the fork with a number; nil: there is none.
func (b *Brood) find(id int) *fork {
	for _, f := range b.forks {
		if f.id == id {
			return f
		}
	}
	return nil
}

// warn tells of what stopped nothing else, at the program's place.
func (b *Brood) warn(f *fault.Fault) { b.cfg.Events.Warned(f) }

// Facts implements attempt.Kin.
func (b *Brood) Facts() *record.Forks {
	now := record.Forks{Last: b.last}
	for _, f := range b.forks {
		now.List = append(now.List, record.Fork{Process: f.run.Facts(), Silent: f.silent})
	}
	if now.Last != b.was.Last || !slices.Equal(now.List, b.was.List) {
		b.was = &now
	}
	return b.was
}

// Resume implements attempt.Kin. What the agent before had told the program may not
// have reached it.
func (b *Brood) Resume(was *record.Forks) {
	b.was, b.last = was, was.Last
	procs := map[string]process.Proc{}
	for _, p := range b.cfg.Shared.Starter.List() {
		procs[p.ID] = p
	}
	for _, v := range was.List {
		proc, known := procs[v.Process.ID]
		if !known { // it never began: the program's frame is heard again
			b.last = min(b.last, v.Process.Number-1)
			continue
		}
		f := &fork{b: b, id: v.Process.Number, silent: v.Silent, stopping: v.Process.Stopping}
		f.run = attempt.Adopt(b.ctx, f.config(forkApp(b.cfg.Worker.App)), v.Process)
		b.forks = append(b.forks, f)
		f.resume(proc, v.Process)
	}
	b.post(b.check)
}

func (f *fork) resume(proc process.Proc, was record.Process) {
	if !was.Started.IsZero() {
		f.b.tell("forked", f.id, about{"pid": proc.PID})
	}
	node := was.Node
	if node != nil && node.Online {
		f.onlineAt = time.Now()
		f.b.tell("online", f.id, nil)
	}
	f.run.Resume(proc, was.Exited)
	if node != nil && node.Gone {
		f.leaves()
		f.tellDisconnect()
	}
	if was.Exited && proc.Exit != nil && !f.silent {
		f.tellExit(*proc.Exit)
	}
}

// show is what the API shows.
func (b *Brood) show() *api.NodeWorker {
	v := &api.NodeWorker{State: "none"}
	for _, f := range b.forks {
		n := f.run.Node()
		v.Forks = append(v.Forks, api.NodeFork{ID: f.id, PID: f.run.PID(), State: n.State})
		v.Listening, v.Dealt = append(v.Listening, n.Listening...), v.Dealt+n.Dealt
		if n.State == "listening" || n.State == "online" && v.State == "none" {
			v.State = n.State
		}
	}
	slices.Sort(v.Listening)
	v.Listening = slices.Compact(v.Listening)
	return v
}
