package fault

import "testing"

// BenchmarkNew: a fault is made for each refused request, so it must be cheap.
func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = New(Internal, "it failed")
	}
}
