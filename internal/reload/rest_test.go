package reload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestRest(t *testing.T) {
	one := Policy{Batch: 1, Surge: 1}
	for _, tt := range []struct {
		name    string
		slots   []Slot
		size    int
		policy  Policy
		undoing bool
		want    []Step
	}{
		{"nothing yet", []Slot{{N: 0, Old: true}, {N: 1, Old: true}}, 2, one, false, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
			{Start, []int{1}},
			{Drain, []int{1}},
		}},
		{"the second has begun", []Slot{{N: 0, New: true}, {N: 1, Old: true, Begun: true}}, 2, one, false, []Step{
			{Start, []int{1}},
			{Drain, []int{1}},
		}},
		{"what has begun is first", []Slot{{N: 0, Old: true}, {N: 1, Old: true, Begun: true}}, 2, one, false, []Step{
			{Start, []int{1}},
			{Drain, []int{1}},
			{Start, []int{0}},
			{Drain, []int{0}},
		}},
		{"the replaced is ending", []Slot{{N: 0, New: true, Ending: true}, {N: 1, Old: true}}, 2, one, false, []Step{
			{Drain, []int{0}},
			{Start, []int{1}},
			{Drain, []int{1}},
		}},
		{"in place, between old and new", []Slot{{N: 0, Ending: true}, {N: 1, Old: true}}, 2, Policy{1, 0}, false, []Step{
			{Drain, []int{0}},
			{Start, []int{0}},
			{Drain, []int{1}},
			{Start, []int{1}},
		}},
		{"an old one serves beside what is ending", []Slot{{N: 0, Old: true, Ending: true}}, 1, one, false, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
		}},
		{"undoing does not wait for what failed", []Slot{{N: 0, Old: true}, {N: 1, New: true, Ending: true}}, 2, one, true, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
			{Drain, []int{1}},
		}},
		{"held, grows and shrinks", []Slot{{N: 0, New: true}, {N: 1, Held: true}, {N: 4, Old: true}}, 3, one, false, []Step{
			{Start, []int{2}},
			{Drain, []int{4}},
		}},
		{"all done", []Slot{{N: 0, New: true}}, 1, one, false, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, Rest(tt.slots, tt.size, tt.policy, tt.undoing)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Wherever it was left: what is new is never touched but for what ends beside it,
// and every other wanted slot is started once.
func TestRestInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, batch := rapid.IntRange(0, 8).Draw(t, "size"), rapid.IntRange(1, 3).Draw(t, "batch")
		p := Policy{Batch: batch, Surge: rapid.IntRange(0, batch).Draw(t, "surge")}
		var slots []Slot
		for n := range rapid.IntRange(0, 8).Draw(t, "slots") {
			s := Slot{N: n, New: rapid.Bool().Draw(t, "new"), Ending: rapid.Bool().Draw(t, "ending")}
			s.Old = !s.New && rapid.Bool().Draw(t, "old")
			slots = append(slots, s)
		}
		started := map[int]int{}
		for _, step := range Rest(slots, size, p, rapid.Bool().Draw(t, "undoing")) {
			for _, n := range step.Slots {
				if step.Kind == Start {
					started[n]++
				} else if n < len(slots) && !slots[n].Old && !slots[n].Ending {
					t.Fatalf("slot %d is drained of nothing", n)
				}
			}
		}
		for n := range size {
			want := 1
			if n < len(slots) && slots[n].New {
				want = 0
			}
			if started[n] != want {
				t.Fatalf("slot %d is started %d times", n, started[n])
			}
		}
	})
}
