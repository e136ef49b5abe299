package reload

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestPlan(t *testing.T) {
	tests := []struct {
		name      string
		old, want []int
		policy    Policy
		steps     []Step
	}{
		{"one at a time", []int{0, 1}, []int{0, 1}, Policy{1, 1}, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
			{Start, []int{1}},
			{Drain, []int{1}},
		}},
		{"no surge stops first", []int{0, 1}, []int{0, 1}, Policy{1, 0}, []Step{
			{Drain, []int{0}},
			{Start, []int{0}},
			{Drain, []int{1}},
			{Start, []int{1}},
		}},
		{"batch bounded by surge", []int{0, 1, 2}, []int{0, 1, 2}, Policy{3, 2}, []Step{
			{Start, []int{0, 1}},
			{Drain, []int{0, 1}},
			{Start, []int{2}},
			{Drain, []int{2}},
		}},
		{"pool grows", []int{0}, []int{0, 1}, Policy{1, 1}, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
			{Start, []int{1}},
		}},
		{"pool shrinks", []int{0, 1, 2}, []int{0}, Policy{1, 1}, []Step{
			{Start, []int{0}},
			{Drain, []int{0}},
			{Drain, []int{1, 2}},
		}},
		{"to nothing", []int{0, 1}, nil, Policy{1, 1}, []Step{{Drain, []int{0, 1}}}},
		{"from nothing", nil, []int{0, 1}, Policy{1, 1}, []Step{{Start, []int{0}}, {Start, []int{1}}}},
		{"a policy of zero is one at a time", []int{0}, []int{0}, Policy{}, []Step{
			{Drain, []int{0}},
			{Start, []int{0}},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.steps, Plan(tt.old, tt.want, tt.policy)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The invariants of the package comment, for any pool and policy.
func TestPlanInvariants(t *testing.T) {
	slots := rapid.Custom(func(t *rapid.T) []int {
		return sorted(rapid.SliceOfNDistinct(rapid.IntRange(0, 20), 0, 20, rapid.ID[int]).Draw(t, "slots"))
	})
	rapid.Check(t, func(t *rapid.T) {
		old, want := slots.Draw(t, "old"), slots.Draw(t, "want")
		batch := rapid.IntRange(1, 5).Draw(t, "batch")
		p := Policy{Batch: batch, Surge: rapid.IntRange(0, batch).Draw(t, "surge")}

		olds, news := set(old), map[int]bool{}
		ceiling := max(len(old), len(want)) + p.Surge
		if p.Surge == 0 {
			// Slots that only the new pool has may run beside those that go last.
			ceiling = len(old) + len(without(want, old))
		} else {
			ceiling = max(ceiling, len(old)+len(without(want, old))+p.Surge)
		}
		for _, step := range Plan(old, want, p) {
			if len(step.Slots) == 0 {
				t.Fatal("empty step")
			}
			for _, n := range step.Slots {
				switch step.Kind {
				case Start:
					if news[n] || !slices.Contains(want, n) {
						t.Fatalf("slot %d started twice or unasked", n)
					}
					if p.Surge == 0 && olds[n] {
						t.Fatalf("slot %d: new worker beside the old one without a surge", n)
					}
					news[n] = true
				case Drain:
					if !olds[n] {
						t.Fatalf("slot %d drained twice or empty", n)
					}
					if p.Surge > 0 && slices.Contains(want, n) && !news[n] {
						t.Fatalf("slot %d drained before its new worker", n)
					}
					delete(olds, n)
				}
			}
			if running := len(olds) + len(news); running > ceiling {
				t.Fatalf("%d running, ceiling %d", running, ceiling)
			}
			empty := 0
			for _, n := range both(want, old) {
				if !olds[n] && !news[n] {
					empty++
				}
			}
			if p.Surge > 0 && empty > 0 || empty > p.Batch {
				t.Fatalf("%d slots without a worker", empty)
			}
		}
		if len(olds) > 0 || len(news) != len(want) {
			t.Fatalf("left %v, started %v of %v", olds, news, want)
		}
	})
}

func sorted(s []int) []int { slices.Sort(s); return s }

func set(s []int) map[int]bool {
	m := map[int]bool{}
	for _, n := range s {
		m[n] = true
	}
	return m
}
