package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/reload"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// adoption is a pool on its way from its record to a Pool.
type adoption struct {
	*Pool
	rec         record.Pool
	releases    map[int]*generation.Release
	generations map[int]*generation.Generation
	workers     []*worker // as rec.Occupants
	faults      []*fault.Fault
}

// Adopted is a pool that an earlier agent has recorded. Its processes are not
// taken up yet.
type Adopted struct {
	Pool *Pool
	// Named are the IDs of the processes that the record names.
	Named []string
	// Pending: it has something to start for which listeners may be there already.
	Pending bool
	// Resume takes up the processes, which the Starter knows, by ID, and what was
	// under way. It returns once that is recorded.
	Resume func(procs map[string]process.Proc, dependencies Dependencies) (taken int)
}

// Adopt makes the pool of an app from its record.
func Adopt(ctx context.Context, shared *Shared, app string) (*Adopted, error) {
	a := &adoption{
		Pool: bare(ctx, shared, app), releases: map[int]*generation.Release{},
		generations: map[int]*generation.Generation{},
	}
	err := a.load()
	if err == nil {
		err = a.openLog()
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot take over %s: %w", app, err).At(app)
	}
	result := &Adopted{Pool: a.Pool, Resume: a.resume}
	result.Pending = len(a.rec.Starts) > 0 || a.rec.Rollout != nil && a.rec.Rollout.Phase == event.ReloadBuilding
	for _, v := range a.rec.Occupants {
		if v.Process.ID != "" {
			result.Named = append(result.Named, v.Process.ID)
		}
	}
	go a.owner.Run()
	return result, nil
}

// load brings back everything that needs no process.
func (a *adoption) load() error {
	records := a.shared.Records
	rels, _, err := record.Load[record.Releases](records, record.ReleasesName(a.name))
	if err == nil {
		a.rec, _, err = record.Load[record.Pool](records, record.PoolName(a.name))
	}
	if err != nil {
		return err
	}
	a.page.keys, a.page.last = map[*generation.Release]int{}, a.rec.Keys
	for n, was := range rels.Releases {
		rel := generation.RestoreRelease(was)
		a.releases[n], a.page.keys[rel] = rel, n
	}
	if a.declared = a.releases[a.rec.Declared]; a.declared == nil {
		return fmt.Errorf("its record names release %d, which there is not", a.rec.Declared)
	}
	a.app, a.environ = a.declared.App, a.declared.Environ
	a.app.Workers, a.wanted, a.number, a.Pool.releases = a.rec.Workers, a.rec.Wanted, a.rec.Number, a.rec.Made
	a.state, a.warnings, a.startFault = a.rec.State, a.rec.Warnings, a.rec.StartFault
	for _, n := range a.rec.History {
		if rel := a.releases[n]; rel != nil {
			a.history = append(a.history, rel)
		}
	}
	return a.loadWorkers()
}

func (a *adoption) loadWorkers() error {
	for _, was := range a.rec.Generations {
		rel := a.releases[was.Release]
		if rel == nil {
			return fmt.Errorf("its record names release %d, which there is not", was.Release)
		}
		gen, faults := generation.Restore(a.shared.Sockets, was, rel)
		a.generations[was.Number] = gen
		a.faults = append(a.faults, faults...)
	}
	a.gen = a.generations[a.rec.Serving]
	stale, faults := a.shared.Sockets.Restore(a.name, a.rec.Stale)
	a.stale, a.faults = stale, append(a.faults, faults...)
	for _, v := range a.rec.Slots {
		s := a.slot(v.Slot)
		s.restarts, s.lastRestart, s.lastExit, s.lastFault = v.Restarts, v.LastRestart, v.LastExit, v.LastFault
		s.startedOnce, s.ended, s.held = v.StartedOnce, v.Ended, v.Held
	}
	for _, v := range a.rec.Occupants {
		gen := a.generations[v.Generation]
		if gen == nil {
			return fmt.Errorf("its record names generation %d, which there is not", v.Generation)
		}
		a.workers = append(a.workers, a.occupant(v, gen))
	}
	return nil
}

// occupant puts a worker into its slot, still without its process.
func (p *Pool) occupant(v record.Worker, gen *generation.Generation) *worker {
	s := p.slot(v.Slot)
	w := p.add(s, gen)
	w.state, w.why, w.goal, w.trial, w.fault = v.State, v.Why, v.Goal, v.Trial, v.Fault
	w.health, w.healthText, w.statusText = v.Health, v.HealthText, v.StatusText
	w.end.planned, w.end.fault, w.next, w.delay = v.Planned, v.EndFault, v.Next, v.Delay
	if v.Tries != nil {
		w.tries = v.Tries
	}
	switch v.Role {
	case record.Present:
		s.cur = w
	case record.Candidate:
		s.next = w
	default:
		s.old = append(s.old, w)
	}
	return w
}

func (a *adoption) resume(procs map[string]process.Proc, dependencies Dependencies) (taken int) {
	a.do(func() {
		a.changed = true
		for _, f := range a.faults {
			a.warn(nil, f)
		}
		for i, w := range a.workers {
			if w.resume(a.rec.Occupants[i], procs) {
				taken++
			}
		}
		a.resumeRollout()
		for _, s := range a.rec.Starts {
			a.prepareStart(&start{slots: s.Slots, why: s.Why, answer: func(*fault.Fault) {}}, dependencies)
		}
	})
	return taken
}

// resume goes on with a worker where the earlier agent was.
func (w *worker) resume(v record.Worker, procs map[string]process.Proc) (alive bool) {
	if v.Process.ID == "" {
		if w.state == event.Backoff {
			w.wait(w.remaining())
		}
		return false
	}
	proc, known := procs[v.Process.ID]
	if !known {
		w.lost()
		return false
	}
	w.run = attempt.Adopt(w.pool.ctx, w.config(), v.Process)
	w.run.Resume(proc, v.Process.Exited)
	return proc.Exit == nil
}

// lost: the Starter does not know the process. It was never started, so there is
// no accident to count.
func (w *worker) lost() {
	if w.goal == goalStop {
		w.transition(event.Stopped, w.why)
		return
	}
	w.start(w.why)
}

// resumeRollout goes on with the rollout that was under way: what has taken its
// slot stays, candidates are taken up, the rest follows. The renewal of one
// worker that still serves is dropped: its health check will ask again.
func (a *adoption) resumeRollout() {
	v := a.rec.Rollout
	if v == nil {
		return
	}
	r := &rollout{
		p: a.Pool, kind: rolloutKind(v.Kind), want: a.releases[v.Want], only: v.Only,
		policy: reload.Policy{Batch: v.Batch, Surge: v.Surge},
		gen:    a.generations[v.Number], from: a.generations[v.From], bad: a.generations[v.Bad],
		done: v.Done, total: v.Total, phase: v.Phase, fault: v.Fault, failing: v.Failing,
		answer: func(*fault.Fault) {},
	}
	if r.want == nil || r.phase != event.ReloadBuilding && r.gen == nil {
		a.warn(nil, fault.New(fault.ReloadAborted, "the reload of %s cannot be taken up", a.name))
		return
	}
	a.rollout = r
	switch {
	case r.kind == rollReplace && a.serves(r.only):
		r.abort(fault.New(fault.ReloadAborted, "the agent has ended"))
	case r.phase == event.ReloadBuilding:
		r.tell()
		r.prepare()
	default:
		r.replan()
		r.tell()
	}
}

// Reloading: every worker of the app is being replaced.
func (p *Pool) Reloading() (yes bool) {
	p.do(func() { yes = p.rollout != nil && !p.rollout.quiet() })
	return yes
}

// serves: the slots have workers.
func (p *Pool) serves(slots []int) bool {
	return !slices.ContainsFunc(slots, func(n int) bool { return p.slots[n] == nil || p.slots[n].cur == nil })
}

// replan makes the steps that are still to be done.
func (r *rollout) replan() {
	size := r.want.App.Workers
	if r.phase == event.ReloadReverting {
		size = r.p.app.Workers
	}
	var old, begun, rest, ending []int
	for _, s := range r.p.sorted() {
		fresh := s.cur != nil && r.fresh(s.cur)
		if len(s.old) > 0 && (fresh || s.cur == nil) {
			ending = append(ending, s.n)
		}
		if !r.concerns(s.n) || fresh {
			continue
		}
		if s.cur != nil && !s.cur.atRest() {
			old = append(old, s.n)
		}
		if s.next != nil {
			begun = append(begun, s.n)
		}
	}
	for n := range size {
		s := r.p.slots[n]
		if r.concerns(n) && !slices.Contains(begun, n) && (s == nil || !s.held && (s.cur == nil || !r.fresh(s.cur))) {
			rest = append(rest, n)
		}
	}
	r.steps = reload.Plan(old, slices.Concat(begun, rest), r.policy)
	if len(ending) == 0 {
		return
	}
	drain := []reload.Step{{Kind: reload.Drain, Slots: ending}}
	if r.phase == event.ReloadReverting && r.policy.Surge > 0 {
		r.steps = append(r.steps, drain...) // what failed holds up nothing
	} else {
		r.steps = append(drain, r.steps...)
	}
}
