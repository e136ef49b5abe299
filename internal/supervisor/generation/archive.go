package generation

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// Archive is what the record of an app calls its releases, by key. Releases that
// a record names are written before it. The zero Archive is empty; it belongs to
// one goroutine.
type Archive struct {
	keys map[*Release]int // in the record under way
	was  map[*Release]int // in the record before it
	gone map[int]*Release // in that one, too, but changed in place since
	last int              // key given
	more bool             // one is not written yet
}

// Begin begins a record.
func (a *Archive) Begin() { a.was, a.keys = a.keys, map[*Release]int{} }

// Key names a release in the record under way; nil is 0.
func (a *Archive) Key(r *Release) int {
	if r == nil {
		return 0
	}
	n, ok := a.keys[r]
	if !ok {
		if n, ok = a.was[r]; !ok {
			a.last++
			n, a.more = a.last, true
		}
		a.keys[r] = n
	}
	return n
}

// Last is the last key given.
func (a *Archive) Last() int { return a.last }

// Renew gives a release that was changed in place another key.
func (a *Archive) Renew(r *Release) {
	n, ok := a.keys[r]
	if !ok {
		return
	}
	delete(a.keys, r)
	if a.gone == nil {
		a.gone = map[int]*Release{}
	}
	a.gone[n] = r
}

// Save writes the releases that the record under way names, and those of the one
// before, where some are new.
func (a *Archive) Save(records process.Records, app string) error {
	if !a.more {
		return nil
	}
	all := record.Releases{Version: record.Version, Releases: map[int]record.Release{}}
	for n, r := range a.gone {
		all.Releases[n] = r.Record()
	}
	for _, keys := range []map[*Release]int{a.was, a.keys} {
		for r, n := range keys {
			all.Releases[n] = r.Record()
		}
	}
	err := record.Save(records, record.ReleasesName(app), all)
	a.more = err != nil
	return err
}

// Saved: the record under way is written.
func (a *Archive) Saved() { a.gone = nil }

// Generations are the given ones as a record has them, each once, by number.
func (a *Archive) Generations(used map[int]*Generation) []record.Generation {
	var list []record.Generation
	for _, gen := range used {
		list = append(list, record.Generation{
			Number: gen.Number, Release: a.Key(gen.Release), Listeners: Listeners(gen.Listeners),
		})
	}
	slices.SortFunc(list, func(x, y record.Generation) int { return cmp.Compare(x.Number, y.Number) })
	return list
}

// Num is the number, 0 of none.
func (g *Generation) Num() int {
	if g == nil {
		return 0
	}
	return g.Number
}

// Listeners are the given ones as a record has them.
func Listeners(list []*Listener) []record.Listener {
	var were []record.Listener
	for _, b := range list {
		were = append(were, b.Record())
	}
	return were
}

// Past is what an earlier agent has recorded of the releases and generations of
// an app.
type Past struct {
	Releases    map[int]*Release    // by key
	Generations map[int]*Generation // by number
	Faults      []*fault.Fault      // what could not be had again
}

// Load brings back what a record names.
func (a *Archive) Load(records process.Records, s *Sockets, app string, rec record.Pool) (past Past, err error) {
	rels, _, err := record.Load[record.Releases](records, record.ReleasesName(app))
	if err != nil {
		return past, err
	}
	past.Releases, past.Generations = map[int]*Release{}, map[int]*Generation{}
	a.keys, a.last = map[*Release]int{}, rec.Keys
	for n, was := range rels.Releases {
		rel := RestoreRelease(was)
		past.Releases[n], a.keys[rel] = rel, n
	}
	for _, was := range rec.Generations {
		rel := past.Releases[was.Release]
		if rel == nil {
			return past, fmt.Errorf("its record names release %d, which there is not", was.Release)
		}
		gen, faults := Restore(s, was, rel)
		past.Generations[was.Number] = gen
		past.Faults = append(past.Faults, faults...)
	}
	return past, nil
}
