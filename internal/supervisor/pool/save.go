package pool

import (
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/worker"
)

// save keeps what a successor must know, if that has changed.
func (p *Pool) save() {
	p.archive.Begin()
	err := p.page.Begin(p.head())
	for _, s := range p.sorted() {
		p.page.Slot(&s.text, s.Slot)
		for _, w := range s.workers() {
			p.page.Worker(&w.Text, w.Facts(s.role(w)))
		}
	}
	if err == nil {
		err = p.archive.Save(p.shared.Records, p.name)
	}
	if err == nil {
		if text := p.page.End(); text != nil {
			err = p.shared.Records.Save(record.PoolName(p.name), text)
		}
	}
	if err != nil {
		p.unsaved(err)
		return
	}
	p.archive.Saved()
}

// unsaved: the pool goes on, since a worker that is not recorded is better than
// none; the next step tries again.
func (p *Pool) unsaved(err error) {
	p.page.Unsaved()
	p.shared.Log.Error("the state of an app cannot be kept", "app", p.name, "error", err)
}

// head is the record but for slots and workers.
func (p *Pool) head() record.Pool {
	key := p.archive.Key
	h := record.Pool{
		Version: record.Version, Declared: key(p.declared), Workers: p.app.Workers, Wanted: p.wanted,
		Serving: p.gen.Num(), Number: p.number, Made: p.releases, State: p.state, Warnings: p.warnings, StartFault: p.startFault,
		Started: p.started, Asked: p.asked(),
		Stale: generation.Listeners(p.stale), Generations: p.archive.Generations(p.generations()),
	}
	for _, r := range p.history {
		h.History = append(h.History, key(r))
	}
	for _, s := range p.starts {
		h.Starts = append(h.Starts, record.Start{Slots: s.slots, Why: s.why})
	}
	if p.rollout != nil {
		h.Rollout = p.rollout.facts()
	}
	h.Keys = p.archive.Last()
	return h
}

// generations are those that something refers to, by number.
func (p *Pool) generations() map[int]*generation.Generation {
	used := map[int]*generation.Generation{}
	add := func(gen *generation.Generation) {
		if gen != nil {
			used[gen.Number] = gen
		}
	}
	add(p.gen)
	for _, s := range p.slots {
		for _, w := range s.workers() {
			add(w.Gen)
		}
	}
	if r := p.rollout; r != nil {
		add(r.gen)
		add(r.from)
		add(r.bad)
	}
	return used
}

func (r *rollout) facts() *record.Rollout {
	return &record.Rollout{
		Kind: string(r.kind), Want: r.p.archive.Key(r.want), Only: r.only,
		Batch: r.policy.Batch, Surge: r.policy.Surge,
		Number: r.gen.Num(), From: r.from.Num(), Bad: r.bad.Num(),
		Done: r.done, Total: r.total, Phase: r.phase, Fault: r.fault, Failing: r.failing,
	}
}

// role of a worker in the slot.
func (s *slot) role(w *worker.Worker) record.Role {
	switch w {
	case s.cur:
		return record.Present
	case s.next:
		return record.Candidate
	}
	return record.Replaced
}

// forget removes everything that is kept of the app.
func (p *Pool) forget() {
	if err := record.Forget(p.shared.Records, p.name); err != nil {
		p.shared.Log.Error("the record of an app cannot be removed", "app", p.name, "error", err)
	}
	record.DropLogIntents(p.shared.Attempts.Store, func(app string) bool { return app == p.name })
}
