package intent

import (
	"os"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
)

// orphanAge is how long a Ledger keeps a place whose source nobody meets. It is not
// counted in Ledgers: an agent that is killed again and again may end a hundred times
// before it has come to its sources.
const orphanAge = time.Minute

// Ledger knows which sources are recorded further than they are committed, and
// keeps notes about them. One goroutine uses it, but Take and Forget are safe for
// concurrent use. Without a file it does nothing.
type Ledger struct {
	file    *file // nil: none
	warn    func(*fault.Fault)
	pending []*Progress
	list    []noted // of the last note, reused
	opened  time.Time

	mu      sync.Mutex
	orphans map[string]noted // of an earlier Ledger; not met yet
}

// Open makes a Ledger with a file of New (nil: without one), which it will close.
// What an earlier one has left there is settled: a write that was not completed
// is undone. warn is told what is wrong, from the goroutine that uses the Ledger.
func Open(f *os.File, warn func(*fault.Fault)) *Ledger {
	g := &Ledger{warn: warn, opened: time.Now(), orphans: map[string]noted{}}
	if f == nil {
		return g
	}
	var left note
	g.file, left = openFile(f)
	for _, e := range left.settle(warn) {
		g.orphans[e.id] = e
	}
	g.save(Write{})
	return g
}

// Take returns the place that an earlier Ledger has left for a source.
func (g *Ledger) Take(id string) (Place, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	e, ok := g.orphans[id]
	return e.after, ok && id != ""
}

// Forget is to be called when what Take returned is committed.
func (g *Ledger) Forget(id string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.orphans, id)
}

// Plan says that a record will be in the file after the write that is begun next.
func (g *Ledger) Plan(m Mark) {
	p := m.Source
	if p == nil || p.id == "" || g.file == nil {
		return
	}
	p.planned.To[m.Stream] = m.End
	if !p.pending {
		p.pending = true
		g.pending = append(g.pending, p)
	}
}

// Begin notes a write with all that was planned for it.
func (g *Ledger) Begin(w Write) {
	if g.file != nil {
		g.save(w)
	}
}

// Done says that a record is in the file.
func (g *Ledger) Done(m Mark) {
	if m.Source != nil {
		m.Source.written.To[m.Stream] = m.End
	}
}

// Fail notes that a write has ended in the middle, after the records that are
// Done: the file is whole up to w.Before.
func (g *Ledger) Fail(w Write) {
	w.After = neverWritten
	g.unplan(w)
}

// unplan notes what is done, and a write.
func (g *Ledger) unplan(w Write) {
	if g.file == nil {
		return
	}
	for _, p := range g.pending {
		p.planned = p.written
	}
	g.save(w)
}

// save makes a note about a write and all sources that need one.
func (g *Ledger) save(w Write) {
	n := note{w, g.list[:0]}
	g.pending = slices.DeleteFunc(g.pending, func(p *Progress) bool {
		p.pending = !p.settled(p.planned.To)
		if p.pending {
			before, _ := p.Place(&p.written)
			after, _ := p.Place(&p.planned)
			n.list = append(n.list, noted{id: p.id, before: before, after: after})
		}
		return !p.pending
	})
	g.mu.Lock()
	if time.Since(g.opened) > orphanAge {
		clear(g.orphans)
	}
	for _, e := range g.orphans {
		n.list = append(n.list, e)
	}
	g.mu.Unlock()
	g.list = n.list
	if err := g.file.write(&n); err != nil {
		g.warn(fault.New(fault.LogWrite, "what is written to a log cannot be noted, a killed agent may double lines: %w", err))
	}
}

// Close leaves a note about what is recorded and not committed.
func (g *Ledger) Close() {
	if g.file == nil {
		return
	}
	g.unplan(Write{})
	g.file.os.Close()
	g.file = nil
}
