package pool

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/reload"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/worker"
	"github.com/muster-run/muster/spec"
)

// rollout replaces workers of a pool by new ones, step by step as reload.Plan
// says. One runs at a time; it lives in the pool's goroutine, and check moves
// it on after each step of the pool.
//
//	prepare ── plan ── Start: candidates start, are ready, soak; then they take
//	   │                      their slots        │
//	   │               Drain: the replaced end   │ first failure
//	   ▼                                         ▼
//	failed, nothing touched            revert: candidates end; slots that were
//	                                   changed get the old release again
//
// A worker of the old release that crashes meanwhile is started again as ever.
// One of the new release that has taken its slot is an ordinary worker, too;
// but when it fails to start again, the release is bad and the rollout fails.
type rollout struct {
	p    *Pool
	kind rolloutKind
	want *generation.Release // what is to run; Dir "" is resolved anew
	only []int               // slots; nil: all

	policy  reload.Policy
	gen     *generation.Generation
	from    *generation.Generation // that served before
	bad     *generation.Generation // that is being undone
	steps   []reload.Step
	at      int // the step under way
	began   bool
	total   int
	done    int
	phase   event.ReloadPhase
	fault   *fault.Fault // why it is being undone
	soaking *time.Timer
	cancel  context.CancelFunc // of prepare
	ended   bool
	note    string // to be added to its result
	answer  func(*fault.Fault)
	failing *fault.Fault // replaceOne: what is wrong with the old worker
}

type rolloutKind string

const (
	rollReload   rolloutKind = "reload"   // a new release
	rollRollback rolloutKind = "rollback" // an earlier release again
	rollFirst    rolloutKind = "first"    // nothing runs yet: all workers at once
	rollReplace  rolloutKind = "replace"  // one worker of the same generation
)

// replaceOne renews a single worker because of what is wrong with it.
func replaceOne(w *worker.Worker, f *fault.Fault) *rollout {
	return &rollout{
		kind: rollReplace, only: []int{w.Slot}, gen: w.Gen, want: w.Gen.Release,
		failing: f, answer: func(*fault.Fault) {},
	}
}

// begin makes r the rollout under way.
func (p *Pool) begin(r *rollout) {
	r.p, r.from, p.rollout = p, p.gen, r
	r.phase = event.ReloadBuilding
	if r.kind != rollReplace {
		p.number++
		if r.want.Name == "" {
			p.releases++
			r.want.Name = fmt.Sprintf("r%d", p.releases)
		}
		r.tell()
	}
	r.prepare()
}

// prepare makes the generation in the background.
func (r *rollout) prepare() {
	p, choice := r.p, r.p.choice(r.want.App)
	ctx, cancel := context.WithCancel(p.ctx)
	r.cancel = cancel
	work := generation.Prepare{
		Sockets: p.shared.Sockets, Node: p.shared.Node, Number: p.number, Release: *r.want,
		Errand: p.shared.Attempts.Errand,
	}
	if p.gen != nil {
		work.Have = slices.Concat(p.gen.Listeners, p.stale)
	}
	p.owner.After(func() {
		p.shared.Attempts.Errands.Go(func() {
			if r.kind == rollReplace {
				policy := reload.Policy{Batch: 1, Surge: min(1, choice.Choose())}
				p.post(func() { r.prepared(r.gen, nil, policy) })
				return
			}
			gen, err := work.Run(ctx)
			policy := choice.Policy()
			if !p.post(func() { r.prepared(gen, err, policy) }) && gen != nil {
				p.shared.Sockets.Release(p.name, gen.Fresh())
			}
		})
	})
}

// prepared: the generation is there, or cannot be had and nothing was touched.
func (r *rollout) prepared(gen *generation.Generation, err error, policy reload.Policy) {
	if r.ended {
		if gen != nil && gen != r.from {
			r.p.release(gen.Fresh())
		}
		return
	}
	if err != nil {
		f := fault.From(err)
		if f.Where == "" {
			f = f.At(r.p.name)
		}
		r.end(event.ReloadFailed, f)
		return
	}
	if r.kind == rollFirst {
		r.first(gen)
		return
	}
	r.plan(gen, policy)
}

// first starts a pool of which nothing runs; from here on its workers are
// ordinary ones that are started again by their restart rules.
func (r *rollout) first(gen *generation.Generation) {
	p := r.p
	p.serve(gen)
	for _, s := range p.slots {
		s.cur, s.Ended = nil, false
	}
	p.size(r.want.App.Workers, "")
	r.end(event.ReloadDone, nil)
}

func (r *rollout) plan(gen *generation.Generation, policy reload.Policy) {
	r.gen, r.policy = gen, policy
	var old, want []int
	for _, s := range r.p.sorted() {
		if s.cur != nil && !s.cur.AtRest() && r.concerns(s.n) {
			old = append(old, s.n)
		}
	}
	for n := range r.want.App.Workers {
		if s := r.p.slots[n]; r.concerns(n) && (s == nil || !s.Held) {
			want = append(want, n)
		}
	}
	r.steps, r.total = reload.Plan(old, want, policy), len(want)
	r.phase = event.ReloadRunning
	r.tell()
}

// concerns: the rollout may touch the slot.
func (r *rollout) concerns(n int) bool { return r.only == nil || slices.Contains(r.only, n) }

// quiet rollouts are not shown as a reload.
func (r *rollout) quiet() bool { return r.kind == rollReplace || r.kind == rollFirst }

// check begins or ends steps for as long as something can be done.
func (r *rollout) check() {
	for !r.ended && (r.phase == event.ReloadRunning || r.phase == event.ReloadReverting) {
		if r.at == len(r.steps) {
			r.complete()
			return
		}
		step := r.steps[r.at]
		if !r.began {
			r.began = true
			r.beginStep(step)
		}
		if f := r.failure(); f != nil {
			r.revert(f)
			continue
		}
		if !r.stepDone(step) {
			return
		}
		r.endStep(step)
		r.at++
		r.began = false
	}
}

func (r *rollout) beginStep(step reload.Step) {
	for _, n := range step.Slots {
		s := r.p.slot(n)
		switch step.Kind {
		case reload.Start:
			if s.next != nil {
				continue // taken up from an earlier agent
			}
			s.next = r.p.add(s, r.gen)
			s.next.Trial = r.phase == event.ReloadRunning
			s.next.Start(r.reason())
		case reload.Drain:
			r.drain(s)
		}
	}
}

// drain ends what the slot's new worker has replaced, or makes room for it.
func (r *rollout) drain(s *slot) {
	if s.cur != nil && !r.fresh(s.cur) {
		s.old = append(s.old, s.cur)
		s.cur = nil
	}
	for _, w := range s.old {
		w.Stop(record.Stop, r.reason(), false)
	}
}

// fresh: the worker is one that this phase of the rollout has brought.
func (r *rollout) fresh(w *worker.Worker) bool {
	if r.kind == rollReplace && r.phase == event.ReloadRunning {
		return w.Fault == nil
	}
	return w.Gen == r.gen
}

func (r *rollout) stepDone(step reload.Step) bool {
	for _, n := range step.Slots {
		s := r.p.slot(n)
		switch step.Kind {
		case reload.Start:
			if s.next == nil || !r.soaked(s.next) {
				return false
			}
		case reload.Drain:
			if slices.ContainsFunc(s.old, func(w *worker.Worker) bool { return !w.AtRest() }) {
				return false
			}
		}
	}
	return true
}

// soaked: ready for long enough. While a failed release is being undone, a
// worker that has to try again does not hold up the rest.
func (r *rollout) soaked(w *worker.Worker) bool {
	if r.phase == event.ReloadReverting && (w.State == event.Backoff || w.AtRest()) {
		return true
	}
	if w.Gen.Release.App.Type == spec.Task && w.Counts.Ended {
		return true
	}
	if w.State != event.Ready {
		return false
	}
	left := time.Until(w.Run.ReadyAt().Add(r.want.App.Reload.Soak.D()))
	if left <= 0 || r.phase == event.ReloadReverting {
		return true
	}
	if r.soaking != nil {
		r.soaking.Stop()
	}
	r.soaking = time.AfterFunc(left, func() { r.p.post(func() {}) })
	return false
}

func (r *rollout) endStep(step reload.Step) {
	if step.Kind != reload.Start {
		return
	}
	for _, n := range step.Slots {
		s := r.p.slot(n)
		s.next.Trial = false
		if s.cur != nil {
			s.old = append(s.old, s.cur)
		}
		s.cur, s.next = s.next, nil
		r.done++
		if r.kind == rollReplace {
			s.cur.CountRestart(time.Now())
		}
	}
	r.tell()
}

// failure looks for the first worker that condemns the new release.
func (r *rollout) failure() *fault.Fault {
	if r.phase != event.ReloadRunning {
		return nil
	}
	for _, s := range r.p.sorted() {
		if s.next != nil && s.next.State == event.Failed {
			return s.next.Fault
		}
		w := s.cur
		if w != nil && w.Gen == r.gen && r.kind != rollReplace &&
			(w.State == event.Failed || w.State == event.Backoff && w.Tries.Row > 0) {
			return w.Fault
		}
	}
	return nil
}

// revert undoes what was done: candidates end, changed slots get back the
// release that served before.
func (r *rollout) revert(f *fault.Fault) {
	r.fault = f
	if r.soaking != nil {
		r.soaking.Stop()
	}
	var live, changed []int
	for _, s := range r.p.sorted() {
		if s.next != nil {
			s.next.Stop(record.Stop, "the new release failed", false)
			s.old = append(s.old, s.next)
			s.next = nil
		}
		if !r.concerns(s.n) || s.Held {
			continue
		}
		bad := s.cur != nil && s.cur.Gen == r.gen && r.kind != rollReplace
		if bad && !s.cur.AtRest() {
			live = append(live, s.n)
		}
		if (bad || s.cur == nil) && r.from != nil && s.n < r.p.app.Workers {
			changed = append(changed, s.n)
		}
	}
	r.phase = event.ReloadReverting
	r.tell()
	if r.kind != rollReplace {
		r.gen, r.bad = r.from, r.gen
	}
	r.steps, r.at, r.began = reload.Plan(live, changed, r.policy), 0, false
	if ends := r.ending(); len(ends) > 0 {
		r.steps = append(r.steps, reload.Step{Kind: reload.Drain, Slots: ends})
	}
}

// ending lists the slots in which a failed candidate is still ending.
func (r *rollout) ending() []int {
	var slots []int
	for _, s := range r.p.sorted() {
		if len(s.old) > 0 {
			slots = append(slots, s.n)
		}
	}
	return slots
}

// complete: every step is done.
func (r *rollout) complete() {
	p := r.p
	if r.phase == event.ReloadReverting {
		r.end(event.ReloadFailed, r.verdict())
		return
	}
	if r.kind != rollReplace {
		p.serve(r.gen)
		p.declare(r.want.App, r.want.Environ)
	}
	r.end(event.ReloadDone, nil)
}

// verdict is the fault of a rollout that was undone.
func (r *rollout) verdict() *fault.Fault {
	f := fault.New(fault.ReloadFailed, "release %s failed: %s", r.want.Name, r.fault.Text)
	if r.from != nil && r.p.count().Ready > 0 {
		f.Text += fmt.Sprintf("; release %s serves on", r.from.Release.Name)
	}
	f.Where, f.Output, f.Err = r.fault.Where, r.fault.Output, r.fault
	if r.fault.Fix != "" {
		f.Fix = r.fault.Fix + "; then reload again"
	}
	if fix := r.bindsAlone(); fix != "" {
		f.Fix = fix
	}
	return f
}

// abort ends the rollout where it stands because of another order. Candidates
// are ended; what has taken its slot stays.
func (r *rollout) abort(f *fault.Fault) {
	if r.ended {
		return
	}
	for _, s := range r.p.sorted() {
		if s.next != nil {
			s.next.Stop(record.Stop, "the reload was ended", false)
			s.old = append(s.old, s.next)
			s.next = nil
		}
	}
	r.end(event.ReloadAborted, f)
}

// end is the one exit of a rollout.
func (r *rollout) end(phase event.ReloadPhase, f *fault.Fault) {
	if r.ended {
		return
	}
	r.ended, r.phase, r.p.rollout, r.p.changed = true, phase, nil, true
	r.quit()
	switch {
	case r.kind == rollReplace:
	case phase == event.ReloadDone:
		r.p.release(r.p.stale)
		r.p.stale = nil
		if r.from != nil && r.kind != rollFirst {
			r.note = r.p.tellBalance(r.from.Release.App, r.want.App)
		}
	default:
		r.giveUpListeners()
	}
	r.fault = f
	r.tell()
	r.afterReplace(phase)
	r.afterOrder(f)
	r.answer(f)
}

// quit ends what the rollout has going on in the background.
func (r *rollout) quit() {
	if r.cancel != nil {
		r.cancel()
	}
	if r.soaking != nil {
		r.soaking.Stop()
	}
}

// afterOrder: what follows for the pool from what an order came to.
func (r *rollout) afterOrder(f *fault.Fault) {
	p := r.p
	switch {
	case r.kind == rollRollback && f == nil:
		// The release that was left is no longer an earlier one.
		p.history = slices.DeleteFunc(p.history, func(h *generation.Release) bool { return h == r.from.Release })
	case r.kind == rollFirst && f != nil:
		p.wanted = false
		if f.Code != fault.ReloadAborted {
			p.startFault = f
		}
	}
}
