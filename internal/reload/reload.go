// Package reload plans a rolling replacement of a pool's workers: from which
// slots hold an old worker, which shall hold a new one, and the policy, to the
// steps in their order. It is pure; supervisor executes the steps.
//
// Invariants of a plan, whatever the input (property-tested):
//   - every wanted slot is started once, every old one is drained once;
//   - with a surge, a slot's old worker is drained only after its new one was
//     started (and so, since a Start step ends with readiness, serves);
//   - never more than len(old)+Surge workers at once, or len(want)+Surge where
//     the pool grows;
//   - without a surge, never more than Batch slots are without a worker.
package reload

import "slices"

// Policy is how many workers may be replaced at a time.
type Policy struct {
	// Batch of slots replaced together, at least 1.
	Batch int
	// Surge is how many workers may run beyond the pool's size. 0: the old
	// worker of a slot is drained before its new one is started.
	Surge int
}

// Kind of step.
type Kind int

// The kinds of step.
const (
	// Start new workers in the slots; done when all are ready and have soaked.
	Start Kind = iota + 1
	// Drain the old workers of the slots; done when nothing is left of them.
	Drain
)

// String is the kind in words.
func (k Kind) String() string {
	switch k {
	case Start:
		return "start"
	case Drain:
		return "drain"
	}
	return "unknown"
}

// Step is done for all its slots together before the next begins.
type Step struct {
	Kind  Kind
	Slots []int
}

// Plan returns the steps that lead from old workers in the slots of old to new
// ones in the slots of want. Both are sorted and without doubles.
func Plan(old, want []int, p Policy) []Step {
	size := max(p.Batch, 1)
	if p.Surge > 0 {
		size = min(size, p.Surge)
	}
	var steps []Step
	add := func(kind Kind, slots []int) {
		if len(slots) > 0 {
			steps = append(steps, Step{kind, slots})
		}
	}
	for batch := range slices.Chunk(want, size) {
		replaced := both(batch, old)
		if p.Surge > 0 {
			add(Start, batch)
			add(Drain, replaced)
		} else {
			add(Drain, replaced)
			add(Start, batch)
		}
	}
	add(Drain, without(old, want))
	return steps
}

func both(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(n int) bool { return !slices.Contains(b, n) })
}

func without(a, b []int) []int {
	return slices.DeleteFunc(slices.Clone(a), func(n int) bool { return slices.Contains(b, n) })
}
