package pool

import (
	"context"
	"fmt"
	"slices"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/reload"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/worker"
)

// adoption is a pool on its way from its record to a Pool.
type adoption struct {
	*Pool
	generation.Past
	rec     record.Pool
	workers []*worker.Worker // as rec.Occupants
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
	a := &adoption{Pool: bare(ctx, shared, app)}
	err := a.load()
	if err == nil {
		err = a.openLog()
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "cannot take over %s: %w", app, err).At(app)
	}
	go a.owner.Run()
	return &Adopted{Pool: a.Pool, Named: a.rec.Named(), Pending: a.rec.Pending(), Resume: a.resume}, nil
}

// load brings back everything that needs no process.
func (a *adoption) load() (err error) {
	records, sockets := a.shared.Records, a.shared.Sockets
	if a.rec, _, err = record.Load[record.Pool](records, record.PoolName(a.name)); err != nil {
		return err
	}
	if a.Past, err = a.archive.Load(records, sockets, a.name, a.rec); err != nil {
		return err
	}
	if a.declared = a.Releases[a.rec.Declared]; a.declared == nil {
		return fmt.Errorf("its record names release %d, which there is not", a.rec.Declared)
	}
	a.app, a.environ = a.declared.App, a.declared.Environ
	a.app.Workers, a.wanted, a.number, a.releases, a.started = a.rec.Workers, a.rec.Wanted, a.rec.Number, a.rec.Made, a.rec.Started
	a.state, a.warnings, a.startFault = a.rec.State, a.rec.Warnings, a.rec.StartFault
	for _, n := range a.rec.History {
		if rel := a.Releases[n]; rel != nil {
			a.history = append(a.history, rel)
		}
	}
	a.gen = a.Generations[a.rec.Serving]
	stale, faults := sockets.Restore(a.name, a.rec.Stale)
	a.stale, a.Faults = stale, append(a.Faults, faults...)
	a.Faults = append(a.Faults, a.adoptPrimary(a.rec)...)
	for _, v := range a.rec.Slots {
		a.slot(v.Slot).Slot = v
	}
	renewing := a.rec.Rollout != nil && rolloutKind(a.rec.Rollout.Kind) == rollReplace
	for _, v := range a.rec.Occupants {
		gen := a.Generations[v.Generation]
		if gen == nil {
			return fmt.Errorf("its record names generation %d, which there is not", v.Generation)
		}
		w := a.occupant(v, gen)
		if !renewing || !slices.Contains(a.rec.Rollout.Only, v.Slot) {
			w.Pardon() // its renewal was in line, and is lost
		}
		a.workers = append(a.workers, w)
	}
	return nil
}

// occupant puts a worker into its slot, still without its process.
func (p *Pool) occupant(v record.Worker, gen *generation.Generation) *worker.Worker {
	s := p.slot(v.Slot)
	w := p.add(s, gen)
	if v.Tries == nil {
		v.Tries = w.Tries
	}
	w.Worker, w.Process = v, record.Process{}
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
		for _, f := range a.Faults {
			a.warn(nil, f)
		}
		for i, w := range a.workers {
			if w.Resume(a.rec.Occupants[i], procs) {
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

// resumeRollout goes on with the rollout that was under way: what has taken its
// slot stays, candidates are taken up, the rest follows. The renewal of one
// worker that still serves is dropped: its health check will ask again.
func (a *adoption) resumeRollout() {
	v := a.rec.Rollout
	if v == nil {
		return
	}
	r := &rollout{
		p: a.Pool, kind: rolloutKind(v.Kind), want: a.Releases[v.Want], only: v.Only,
		policy: reload.Policy{Batch: v.Batch, Surge: v.Surge},
		gen:    a.Generations[v.Number], from: a.Generations[v.From], bad: a.Generations[v.Bad],
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

// Begun says whether the app is to run, and whether a reload is under way.
func (p *Pool) Begun() (wanted, reloading bool) {
	p.do(func() { wanted, reloading = p.wanted, p.rollout != nil && !p.rollout.quiet() })
	return wanted, reloading
}

// serves: the slots have workers.
func (p *Pool) serves(slots []int) bool {
	return !slices.ContainsFunc(slots, func(n int) bool { return p.slots[n] == nil || p.slots[n].cur == nil })
}

// replan makes the steps that are still to be done.
func (r *rollout) replan() {
	undoing := r.phase == event.ReloadReverting
	size := r.want.App.Workers
	if undoing {
		size = r.p.app.Workers
	}
	var slots []reload.Slot
	for _, s := range r.p.sorted() {
		fresh, mine := s.cur != nil && r.fresh(s.cur), r.concerns(s.n)
		slots = append(slots, reload.Slot{
			N: s.n, New: fresh || !mine, Old: mine && !fresh && s.cur != nil && !s.cur.AtRest(),
			Begun: s.next != nil, Ending: len(s.old) > 0, Held: s.Held,
		})
	}
	r.steps = reload.Rest(slots, size, r.policy, undoing)
}
