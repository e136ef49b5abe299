package pool

import (
	"context"
	"maps"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/human"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/steps"
	"github.com/muster-run/muster/internal/supervisor/worker"
	"github.com/muster-run/muster/spec"
)

// slot is a place in a pool; its number and its counters outlive the workers.
type slot struct {
	record.Slot
	n int

	cur  *worker.Worker   // the one that counts
	next *worker.Worker   // a rollout's candidate
	old  []*worker.Worker // replaced, draining

	text record.Cached[record.Slot]
}

func (s *slot) workers() []*worker.Worker {
	var all []*worker.Worker
	for _, w := range append([]*worker.Worker{s.cur, s.next}, s.old...) {
		if w != nil {
			all = append(all, w)
		}
	}
	return all
}

// Pool is the workers of one app. One goroutine owns it: everything happens as
// a step of its inbox.
type Pool struct {
	shared *Shared
	name   string
	owner  *steps.Owner
	ctx    context.Context
	log    *output.Log

	app      spec.App // as declared now
	environ  []string
	declared *generation.Release // the same, but for the number of workers
	wanted   bool                // shall run
	halts    int                 // orders to stop so far: a start that still waits is void
	retired  bool                // is being removed: cannot be started

	starts   []*start // that wait
	waitsFor string   // the dependency that a start waits for

	gen      *generation.Generation // the one that serves
	number   int                    // of the latest generation
	releases int                    // made so far
	history  []*generation.Release  // that served, oldest first, the present one last
	slots    map[int]*slot
	// stale are listeners of an earlier generation whose replacement was ended
	// half-way: workers may still have them.
	stale []*generation.Listener

	rollout *rollout
	line    steps.Line // orders that wait for the rollout

	changed  bool         // since Shared.Changed was called last
	state    event.Health // last one told
	broken   bool         // a step panicked
	warnings []record.Warning
	started  int              // processes, so far
	primary  *primary.Primary // of Node.js workers; nil: there has been none
	// startFault is why the last start came to nothing; nil: it did not.
	startFault *fault.Fault
	endOnce    sync.Once

	home    *worker.Home
	page    record.Page // its record
	archive generation.Archive
}

// historyMax is how many releases rollback can reach.
const historyMax = 10

// New makes the pool of an app; nothing is started yet. ctx bounds everything
// the pool does in the background; Close ends it.
func New(ctx context.Context, shared *Shared, app spec.App, environ []string) (*Pool, error) {
	p := bare(ctx, shared, app.Name)
	p.declare(app, environ)
	if err := p.openLog(); err != nil {
		return nil, err
	}
	go p.owner.Run()
	return p, nil
}

func bare(ctx context.Context, shared *Shared, name string) *Pool {
	p := &Pool{shared: shared, name: name, ctx: ctx, slots: map[int]*slot{}, state: event.AppStopped}
	p.owner = steps.New(steps.Options{Name: name, Settle: p.settle, Save: p.save, Broken: p.panicked})
	p.moveIn()
	return p
}

// moveIn makes what the workers see of the pool; openLog adds the log.
func (p *Pool) moveIn() {
	p.home = &worker.Home{
		App: p.name, Node: p.shared.Node, Ctx: p.ctx, Attempts: p.shared.Attempts,
		Post: p.post, After: p.owner.After, Number: func() int { p.started++; return p.started },
		Publish: func(w *worker.Worker, data event.Data) { p.publish(w, data) },
		Warn:    p.warn, Renew: p.replace, Ended: p.restoreSockets,
		Primary: p.primaryFor, Before: p.before, Serves: p.anyReady,
	}
}

func (p *Pool) openLog() error {
	intent, err := record.LogIntent(p.shared.Attempts.Store, p.name)
	if err != nil {
		return err
	}
	p.log, err = output.Open(output.Options{
		App: p.name, Log: p.app.Log, File: p.shared.LogFile(p.app), Packing: p.shared.Packing, Intent: intent,
		Warn: func(f *fault.Fault) { p.post(func() { p.warn(nil, f) }) },
	})
	p.home.Log = p.log
	return err
}

// declare takes over what the app is from now on.
func (p *Pool) declare(app spec.App, environ []string) {
	p.app, p.environ = app, environ
	p.declared = &generation.Release{App: app, Environ: environ}
}

// Name of the app.
func (p *Pool) Name() string { return p.name }

// Log is the output of its workers.
func (p *Pool) Log() *output.Log { return p.log }

// post adds a step for the pool's goroutine; it never waits.
func (p *Pool) post(step func()) bool { return p.owner.Post(step) }

// do runs a step in the pool's goroutine and waits until it is recorded.
func (p *Pool) do(step func()) bool { return p.owner.Do(step) }

// panicked marks this app as failed; its workers serve on and the other apps do
// not notice (S1.7).
func (p *Pool) panicked(cause any) {
	p.broken = true
	p.shared.Log.Error("panic in the supervision of an app", "app", p.name,
		"panic", cause, "stack", string(debug.Stack()))
	p.warn(nil, fault.New(fault.Internal, "panic in the supervision of %s: %v", p.name, cause))
}

// settle follows up on any change: the rollout's next step, whoever waits, the
// human state.
func (p *Pool) settle() {
	if p.rollout != nil {
		p.rollout.check()
	}
	p.line.Advance(func() bool { return p.rollout == nil })
	p.hurry()
	p.tidy()
	p.fitSockets()
	p.releaseListeners()
	if now, why := p.human(); now != p.state {
		from := p.state
		p.state = now
		p.shared.Events.Publish(event.Event{
			Node: p.shared.Node, App: p.name, Slot: event.NoSlot,
			Data: event.AppState{From: from, To: now, Why: why},
		})
	}
	if p.changed {
		p.changed = false
		p.shared.Changed(p.name, p.end())
	}
}

// hurry cuts waits short while nobody serves.
func (p *Pool) hurry() {
	if p.anyReady() {
		return
	}
	for _, w := range p.workers() {
		w.Hurry()
	}
}

// anyReady: a worker is ready, of whatever generation.
func (p *Pool) anyReady() bool {
	return slices.ContainsFunc(p.workers(), func(w *worker.Worker) bool { return w.State == event.Ready })
}

// tidy forgets replaced workers that are gone, and slots beyond the pool's size.
func (p *Pool) tidy() {
	for n, s := range p.slots {
		s.old = slices.DeleteFunc(s.old, (*worker.Worker).AtRest)
		if n >= p.app.Workers && (p.rollout == nil || !p.rollout.concerns(n)) &&
			(s.cur == nil || s.cur.AtRest()) && s.next == nil && len(s.old) == 0 {
			delete(p.slots, n)
		}
	}
}

// slot finds or makes a slot.
func (p *Pool) slot(n int) *slot {
	if p.slots[n] == nil {
		p.slots[n] = &slot{n: n, Slot: record.Slot{Slot: n}}
	}
	return p.slots[n]
}

// sorted lists the slots by number.
func (p *Pool) sorted() []*slot {
	var all []*slot
	for _, n := range slices.Sorted(maps.Keys(p.slots)) {
		all = append(all, p.slots[n])
	}
	return all
}

// workers lists all workers, those that drain included.
func (p *Pool) workers() []*worker.Worker {
	var all []*worker.Worker
	for _, s := range p.sorted() {
		all = append(all, s.workers()...)
	}
	return all
}

// add makes the worker of a slot; it is not started yet.
func (p *Pool) add(s *slot, gen *generation.Generation) *worker.Worker {
	return worker.New(p.home, &s.Slot, gen)
}

// size brings the pool to n slots of the present generation.
func (p *Pool) size(n int, why string) {
	p.app.Workers = n
	p.growSockets(n)
	for i := range n {
		if s := p.slot(i); !s.Held && !s.Ended {
			p.revive(s, why)
		}
	}
	for _, s := range p.sorted() {
		if s.n >= n && s.cur != nil {
			s.cur.Stop(record.Stop, why, false)
		}
	}
}

// revive starts the worker of a slot that is stopped or about to be. Failed
// ones and those that wait for their back-off stay as they are.
func (p *Pool) revive(s *slot, why string) {
	switch {
	case s.cur == nil:
		s.cur = p.add(s, p.gen)
		s.cur.Start(why)
	case s.cur.State == event.Stopped:
		s.cur.Stop(record.Again, why, false)
	case s.cur.Goal == record.Stop && !s.cur.AtRest():
		s.cur.Goal = record.Again
	}
}

// halt ends every worker; the listeners follow once all are gone.
func (p *Pool) halt(why string, now bool) {
	p.wanted, p.changed, p.startFault = false, true, nil
	p.halts++
	p.starts, p.waitsFor = nil, ""
	p.line.Drop(fault.New(fault.ReloadAborted, "%s was stopped", p.name))
	if p.rollout != nil {
		p.rollout.abort(fault.New(fault.ReloadAborted, "%s was stopped", p.name))
	}
	for _, w := range p.workers() {
		w.Stop(record.Stop, why, now)
	}
}

// releaseListeners closes the sockets of a pool that has come to rest.
func (p *Pool) releaseListeners() {
	if p.gen != nil && !p.wanted && p.rollout == nil && p.empty() {
		p.release(p.listeners())
		p.gen.Listeners, p.stale = nil, nil
		p.releaseAsked()
		p.forgetBalance()
	}
}

// release closes listeners once the record no longer names them.
func (p *Pool) release(list []*generation.Listener) {
	if len(list) > 0 {
		p.owner.After(func() { p.shared.Sockets.Release(p.name, list) })
	}
}

// restoreSockets undoes what a worker that has ended may have done to the files
// of the sockets that the app serves on.
func (p *Pool) restoreSockets(w *worker.Worker) {
	if p.gen == nil {
		return
	}
	if p.primary != nil {
		p.primary.Restore()
	}
	for _, f := range p.gen.Restore() {
		p.warn(nil, f.At(w.String()))
	}
}

// empty: no process of the app is left.
func (p *Pool) empty() bool {
	for _, w := range p.workers() {
		if w.Live() || !w.AtRest() {
			return false
		}
	}
	return true
}

// replace renews a worker that is not well while it still runs, without a gap
// where that is possible.
func (p *Pool) replace(w *worker.Worker, f *fault.Fault) {
	if !p.counts(w) || w.State != event.Ready || w.Fault != nil {
		return
	}
	w.Fault, w.Counts.LastFault = f, f
	p.warn(w, f)
	p.line.Add(steps.Order{
		Run: func() {
			if p.counts(w) && w.State == event.Ready && p.wanted {
				p.begin(replaceOne(w, f))
			}
		},
		Dropped: func(*fault.Fault) { w.Pardon() },
	})
}

// Close ends the pool's goroutine; everything must be at rest.
func (p *Pool) Close() {
	p.endOnce.Do(func() {
		p.post(func() { p.owner.End(fault.New(fault.NotRunning, "%s was removed", p.name)) })
		<-p.owner.Done()
		p.forget()
		_ = p.log.Close()
	})
}

// Leave ends the pool's goroutine without touching a worker: what it has recorded
// last is for a successor to go on from.
func (p *Pool) Leave() {
	p.endOnce.Do(func() {
		p.post(func() {
			p.owner.End(fault.New(fault.NotRunning, "muster gives %s over to its successor", p.name))
			p.owner.After(p.leave)
		})
		<-p.owner.Done()
		_ = p.log.Close()
	})
}

func (p *Pool) leave() {
	for _, w := range p.workers() {
		w.Disarm()
		if w.Run != nil {
			w.Run.Leave()
		}
	}
	if p.primary != nil {
		p.primary.Close()
	}
	if r := p.rollout; r != nil {
		r.quit()
	}
}

// warn publishes a fault that stopped nothing else; w is nil for the app itself.
func (p *Pool) warn(w *worker.Worker, f *fault.Fault) {
	p.warnings = record.Warn(p.warnings, f)
	p.publish(w, event.Warning{Fault: *f})
}

func (p *Pool) publish(w *worker.Worker, data event.Data) {
	e := event.Event{Node: p.shared.Node, App: p.name, Slot: event.NoSlot, Data: data}
	if _, ok := data.(event.WorkerState); ok {
		p.changed = true
	}
	if w != nil {
		e.Slot, e.Generation = w.Slot, w.Gen.Number
		if w.Run != nil {
			e.PID = w.Run.PID()
		}
	}
	p.shared.Events.Publish(e)
}

// human computes the app's state in human words, and why it is not Healthy.
func (p *Pool) human() (event.Health, string) {
	a := human.App{Broken: p.broken, StartFault: p.startFault, Running: p.wanted}
	if p.rollout != nil && !p.rollout.quiet() {
		a.Reloading = p.rollout.String()
	}
	return p.count().State(a)
}

// count sums up the workers that count.
func (p *Pool) count() (c human.Count) {
	for _, s := range p.sorted() {
		for _, w := range s.workers() {
			if w.Live() {
				c.Live++
			}
		}
		switch {
		case s.n >= p.app.Workers:
		case s.cur == nil:
			c.Missing()
		default:
			c.Add(s.cur.Human())
		}
	}
	if p.wanted && len(p.slots) == 0 && p.app.Workers > 0 {
		c.Awaited(p.app.Workers, p.waitsFor)
	}
	return c
}

// counts: it is the one that counts in its slot.
func (p *Pool) counts(w *worker.Worker) bool {
	s := p.slots[w.Slot]
	return s != nil && s.cur == w
}
