package output

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/api"
)

// TestRingModel compares the ring with a plain list.
func TestRingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []entry
		var gone uint64
		most := rapid.IntRange(0, 40).Draw(t, "max")
		for seq := uint64(1); seq <= uint64(rapid.IntRange(0, 300).Draw(t, "n")); seq++ {
			size := rapid.SampledFrom([]int{0, 1, 100, ringBytes / 3}).Draw(t, "size")
			e := entry{seq, api.Record{Line: strings.Repeat("x", size)}}
			r.add(e, most)
			model = append(model, e)
			for len(model) > 0 && (len(model) > most || len(model) > 1 && bytesOf(model) > ringBytes) {
				gone = model[0].seq
				model = model[1:]
			}
			if rapid.IntRange(0, 50).Draw(t, "shrink") == 0 {
				most = rapid.IntRange(0, 40).Draw(t, "new max")
				r.shrink(most)
				for len(model) > most {
					gone = model[0].seq
					model = model[1:]
				}
			}
			if r.len() != len(model) || r.gone != gone || r.bytes != bytesOf(model) {
				t.Fatalf("%d records of %d bytes, %d gone; want %d of %d, %d", r.len(), r.bytes, r.gone, len(model), bytesOf(model), gone)
			}
			for i, e := range r.all() {
				if e.seq != model[i].seq {
					t.Fatal(i, e.seq)
				}
			}
		}
		if cap(r.list) > 4*41+16 {
			t.Fatal("capacity", cap(r.list))
		}
	})
}

func bytesOf(list []entry) (n int) {
	for _, e := range list {
		n += len(e.Line)
	}
	return n
}
