package pool

import (
	"cmp"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// page is a pool's record as it was written last.
type page struct {
	record.Page
	keys map[*generation.Release]int // of the releases that it names
	was  map[*generation.Release]int // that the one before named
	gone map[int]*generation.Release // by keys that the one before had for what changed in place
	last int                         // key given
	more bool                        // a key is not in the record of releases yet
}

// key names a release in the record under way; nil is 0.
func (p *page) key(r *generation.Release) int {
	if r == nil {
		return 0
	}
	n, ok := p.keys[r]
	if !ok {
		if n, ok = p.was[r]; !ok {
			p.last++
			n, p.more = p.last, true
		}
		p.keys[r] = n
	}
	return n
}

// renew gives a release that was changed in place another key.
func (p *page) renew(r *generation.Release) {
	n, ok := p.keys[r]
	if !ok {
		return
	}
	delete(p.keys, r)
	if p.gone == nil {
		p.gone = map[int]*generation.Release{}
	}
	p.gone[n] = r
}

// save keeps what a successor must know, if that has changed.
func (p *Pool) save() {
	pg := &p.page
	pg.was, pg.keys = pg.keys, map[*generation.Release]int{}
	if err := pg.Begin(p.head()); err != nil {
		p.unsaved(err)
		return
	}
	for _, s := range p.sorted() {
		pg.Slot(&s.text, s.facts())
		for _, w := range s.workers() {
			pg.Worker(&w.text, w.facts())
		}
	}
	if err := p.saveReleases(); err != nil {
		p.unsaved(err)
		return
	}
	text := pg.End()
	if text == nil {
		return
	}
	if err := p.shared.Records.Save(record.PoolName(p.name), text); err != nil {
		p.unsaved(err)
		return
	}
	pg.gone = nil
}

// unsaved: the pool goes on, since a worker that is not recorded is better than
// none; the next step tries again.
func (p *Pool) unsaved(err error) {
	p.page.Unsaved()
	p.shared.Log.Error("the state of an app cannot be kept", "app", p.name, "error", err)
}

// saveReleases writes those that the next record names, and those that the
// present one does.
func (p *Pool) saveReleases() error {
	pg := &p.page
	if !pg.more {
		return nil
	}
	all := record.Releases{Version: record.Version, Releases: map[int]record.Release{}}
	for n, r := range pg.gone {
		all.Releases[n] = r.Record()
	}
	for _, keys := range []map[*generation.Release]int{pg.was, pg.keys} {
		for r, n := range keys {
			all.Releases[n] = r.Record()
		}
	}
	err := record.Save(p.shared.Records, record.ReleasesName(p.name), all)
	pg.more = err != nil
	return err
}

// head is the record but for slots and workers.
func (p *Pool) head() record.Pool {
	key := p.page.key
	h := record.Pool{
		Version: record.Version, Declared: key(p.declared), Workers: p.app.Workers, Wanted: p.wanted,
		Number: p.number, Made: p.releases, State: p.state, Warnings: p.warnings, StartFault: p.startFault,
		Stale: listeners(p.stale), Generations: p.generations(),
	}
	if p.gen != nil {
		h.Serving = p.gen.Number
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
	h.Keys = p.page.last
	return h
}

// generations lists those that something refers to.
func (p *Pool) generations() []record.Generation {
	used := map[int]*generation.Generation{}
	add := func(gen *generation.Generation) {
		if gen != nil {
			used[gen.Number] = gen
		}
	}
	add(p.gen)
	for _, s := range p.slots {
		for _, w := range s.workers() {
			add(w.gen)
		}
	}
	if r := p.rollout; r != nil {
		add(r.gen)
		add(r.from)
		add(r.bad)
	}
	var list []record.Generation
	for _, gen := range used {
		list = append(list, record.Generation{
			Number: gen.Number, Release: p.page.key(gen.Release), Listeners: listeners(gen.Listeners),
		})
	}
	slices.SortFunc(list, func(a, b record.Generation) int { return cmp.Compare(a.Number, b.Number) })
	return list
}

func listeners(list []*generation.Listener) []record.Listener {
	var were []record.Listener
	for _, b := range list {
		were = append(were, b.Record())
	}
	return were
}

func (r *rollout) facts() *record.Rollout {
	return &record.Rollout{
		Kind: string(r.kind), Want: r.p.page.key(r.want), Only: r.only,
		Batch: r.policy.Batch, Surge: r.policy.Surge,
		Number: numberOf(r.gen), From: numberOf(r.from), Bad: numberOf(r.bad),
		Done: r.done, Total: r.total, Phase: r.phase, Fault: r.fault, Failing: r.failing,
	}
}

func numberOf(gen *generation.Generation) int {
	if gen == nil {
		return 0
	}
	return gen.Number
}

func (s *slot) facts() record.Slot {
	return record.Slot{
		Slot: s.n, Restarts: s.restarts, LastRestart: s.lastRestart, LastExit: s.lastExit,
		LastFault: s.lastFault, StartedOnce: s.startedOnce, Ended: s.ended, Held: s.held,
	}
}

func (w *worker) facts() record.Worker {
	v := record.Worker{
		Slot: w.slot.n, Role: record.Replaced, Generation: w.gen.Number, State: w.state, Why: w.why,
		Goal: w.goal, Trial: w.trial, Fault: w.fault, Tries: w.tries, Health: w.health,
		StatusText: w.statusText, Planned: w.end.planned, EndFault: w.end.fault,
	}
	switch w {
	case w.slot.cur:
		v.Role = record.Present
	case w.slot.next:
		v.Role = record.Candidate
	}
	if w.health == "failing" {
		v.HealthText = w.healthText
	}
	if w.state == event.Backoff {
		v.Next, v.Delay = w.next, w.delay
	}
	if w.run != nil {
		v.Process = w.run.Facts()
	}
	return v
}

// LogPrefix and an app's name is where the Store has the file in which the app's
// log notes what it is about to write.
const LogPrefix = "log/"

func (p *Pool) intentName() string { return LogPrefix + p.name }

// intent finds that file, or makes it.
func (p *Pool) intent() (*os.File, error) {
	f, err := p.shared.Attempts.Store.Get(p.intentName())
	if f != nil || err != nil {
		return f, err
	}
	fd, err := unix.MemfdCreate("muster log "+p.name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fault.New(fault.LogWrite, "cannot keep the log's place: %w", err)
	}
	f = os.NewFile(uintptr(fd), p.intentName())
	if err := p.shared.Attempts.Store.Put(p.intentName(), f); err != nil {
		f.Close()
		return nil, fault.New(fault.LogWrite, "cannot keep the log's place: %w", err)
	}
	return f, nil
}

// forget removes everything that is kept of the app.
func (p *Pool) forget() {
	if err := record.Forget(p.shared.Records, p.name); err != nil {
		p.shared.Log.Error("the record of an app cannot be removed", "app", p.name, "error", err)
	}
	if f, err := p.shared.Attempts.Store.Take(p.intentName()); err == nil && f != nil {
		f.Close()
	}
}
