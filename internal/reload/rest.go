package reload

import "slices"

// Slot is where a slot stands in a replacement that is taken up half-way.
type Slot struct {
	N int
	// New: it has its new worker. Old: it has an old one that still runs.
	New, Old bool
	// Begun: its new worker is started already, and not yet in its place.
	Begun bool
	// Ending: what was in it before is still ending.
	Ending bool
	// Held: it gets no new worker.
	Held bool
}

// Rest plans what is left to do where an earlier agent had begun to replace
// workers: slots is all that there are, sorted, size the number wanted. What has
// begun comes first. What is ending is waited for before, but where undoing says
// that it failed, and there is room beside it.
func Rest(slots []Slot, size int, p Policy, undoing bool) []Step {
	var old, begun, rest, ending []int
	known := map[int]Slot{}
	for _, s := range slots {
		known[s.N] = s
		if s.Ending && (s.New || !s.Old) {
			ending = append(ending, s.N)
		}
		if s.Old && !s.New {
			old = append(old, s.N)
		}
		if s.Begun {
			begun = append(begun, s.N)
		}
	}
	for n := range size {
		if s := known[n]; !s.New && !s.Begun && !s.Held {
			rest = append(rest, n)
		}
	}
	steps := Plan(old, slices.Concat(begun, rest), p)
	if len(ending) == 0 {
		return steps
	}
	drain := []Step{{Kind: Drain, Slots: ending}}
	if undoing && p.Surge > 0 {
		return append(steps, drain...)
	}
	return append(drain, steps...)
}
