package health

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// S1.12: failures before the first success are start-up; after it they count in a
// row, reset by a success.
func TestTracker(t *testing.T) {
	tests := []struct {
		failures int
		results  string // s: success, f: failure
		want     string // first letters of the verdicts: Starting Healthy Failing Unhealthy
	}{
		{3, "ffffffff", "SSSSSSSS"},
		{3, "ffsfffs", "SSHFFUH"},
		{3, "sffsffsfff", "HFFHFFHFFU"},
		{3, "sffffff", "HFFUUUU"},
		{1, "fsfsf", "SHUHU"},
		{0, "fsfs", "SHUH"},
		{-1, "sf", "HU"},
	}
	for _, tt := range tests {
		tr, got := Tracker{Failures: tt.failures}, ""
		for _, c := range tt.results {
			got += string("SHFU"[tr.Observe(Result{OK: c == 's'})])
		}
		if got != tt.want {
			t.Errorf("%d %s: %s, want %s", tt.failures, tt.results, got, tt.want)
		}
	}
}

func TestTrackerCopies(t *testing.T) {
	a := Tracker{Failures: 2}
	a.Observe(Result{OK: true})
	b := a
	b.Observe(Result{})
	if a.Verdict() != Healthy || b.Verdict() != Failing || a.InARow() != 0 || b.InARow() != 1 {
		t.Errorf("%v %v", a, b)
	}
	b.Failures = 1 // changed while running
	if b.Verdict() != Unhealthy {
		t.Errorf("%v", b.Verdict())
	}
}

func TestTrackerAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 5).Draw(t, "failures")
		results := rapid.SliceOf(rapid.Bool()).Draw(t, "results")
		tr := Tracker{Failures: limit}
		for i, ok := range results {
			got := tr.Observe(Result{OK: ok})
			row, passed := 0, false
			for j := 0; j <= i; j++ {
				if results[j] {
					row, passed = 0, true
				} else {
					row++
				}
			}
			want := Failing
			switch {
			case !passed:
				want = Starting
			case row == 0:
				want = Healthy
			case row >= limit:
				want = Unhealthy
			}
			if got != want {
				t.Fatalf("%v: %v, want %v", results[:i+1], got, want)
			}
		}
	})
}

func TestVerdictString(t *testing.T) {
	if s := fmt.Sprint(Starting, Healthy, Failing, Unhealthy, Verdict(9)); s != "starting healthy failing unhealthy unknown" {
		t.Error(s)
	}
}
