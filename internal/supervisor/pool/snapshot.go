package pool

import (
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/human"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// warningsFor is how long a warning is shown.
const warningsFor = time.Hour

// Snapshot is the state of the app and its workers, sorted by slot; false when
// the pool was closed.
func (p *Pool) Snapshot() (a api.App, ok bool) {
	ok = p.do(func() { a = p.snapshot() })
	return a, ok
}

func (p *Pool) snapshot() api.App {
	state, why := p.human()
	a := api.App{
		Name: p.name, Type: p.app.Type, Role: p.app.Role, Status: state, Why: why,
		Wanted: p.app.Workers, Generation: p.number, Tags: p.app.Tags, Workers: []api.Worker{},
	}
	if p.gen != nil {
		a.Release, a.Generation, a.Dir = p.gen.Release.Name, p.gen.Number, p.gen.Release.Dir
		for _, b := range p.gen.Listeners {
			a.Listen = append(a.Listen, b.Address())
		}
	}
	if p.rollout != nil && !p.rollout.quiet() {
		progress := p.rollout.progress()
		a.Reload = &progress
	}
	for _, w := range p.workers() {
		if w.State == event.Ready && p.counts(w) {
			a.Ready++
		}
		a.Workers = append(a.Workers, w.Snapshot(p.shared.Usage.Fill))
	}
	a.Warnings = record.Recent(p.warnings, warningsFor)
	return a
}

// Declared is the app as it is declared now, and the environment it starts from:
// what was applied, with what scale, rollback and failed reloads have made of it.
func (p *Pool) Declared() (app spec.App, environ []string) {
	if !p.do(func() { app, environ = p.app, p.environ }) {
		<-p.owner.Done() // closed: it stays as it was
		app, environ = p.app, p.environ
	}
	return app, environ
}

// Halted says that an order has stopped the app, or that it was never started. One
// that could not be started, or has ended by itself, is not halted.
func (p *Pool) Halted() (halted bool) {
	p.do(func() { halted = !p.wanted && p.startFault == nil })
	return halted
}

// Surroundings is what the worker in a slot is told of itself.
func (p *Pool) Surroundings(slot int) launch.Worker {
	gen := &generation.Generation{}
	p.do(func() {
		gen.Release = p.declared
		if p.gen != nil {
			gen.Release, gen.Number = p.gen.Release, p.gen.Number
		}
	})
	return gen.Surroundings(p.shared.Node, slot)
}

// Matches says which slots of the pool a selector picks; ok: any.
func (p *Pool) Matches(sel api.Selector) (slots Slots, ok bool) {
	p.do(func() {
		var picked []int
		if picked, ok = sel.Match(api.Target{App: p.name, Role: p.app.Role, Tags: p.app.Tags}); picked == nil {
			return
		}
		for _, n := range picked {
			if p.slots[n] != nil {
				slots = append(slots, n)
			}
		}
		ok = len(slots) > 0
	})
	return slots, ok
}

// end: all slots have ended by themselves; nil when not. The code is that of the
// last worker, with restart: never that of the first.
func (p *Pool) end() *human.End {
	if !p.wanted || p.rollout != nil || p.gen == nil || p.app.Workers == 0 {
		return nil
	}
	var exits []*api.Exit
	for n := range p.app.Workers {
		s := p.slots[n]
		if s == nil || s.cur == nil || !s.Ended || !s.cur.AtRest() {
			return nil
		}
		exits = append(exits, s.LastExit)
	}
	return human.Ended(exits, p.app.Restart.Policy == spec.RestartNever)
}

// CheckMemory replaces workers that have grown above limits.memory. It returns
// at once.
func (p *Pool) CheckMemory() { p.post(p.checkMemory) }

func (p *Pool) checkMemory() {
	limit := p.app.Limits.Memory
	if limit == 0 || p.rollout != nil {
		return
	}
	for _, s := range p.slots {
		w := s.cur
		if w == nil || w.State != event.Ready {
			continue
		}
		if used, ok := p.shared.Usage.Memory(w.Run.Proc()); ok && used > int64(limit) {
			p.replace(w, fault.New(fault.MemoryLimit, "uses %d MiB, the limit is %d MiB",
				used>>20, limit>>20).At(w.At(w.Run.PID())))
		}
	}
}
