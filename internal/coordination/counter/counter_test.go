package counter

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const room = 3
		table, model := New(room), map[string]*big.Int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			name := fmt.Sprint(rapid.IntRange(0, 4).Draw(t, "name"))
			n := rapid.OneOf(rapid.Int64Range(-3, 3), rapid.Int64()).Draw(t, "n")
			old := model[name]
			if old == nil {
				old = new(big.Int)
			}
			sum := new(big.Int).Add(old, big.NewInt(n))
			got, err := table.Add(name, n)
			switch {
			case !sum.IsInt64():
				if fault.CodeOf(err) != fault.Usage {
					t.Fatalf("%d + %d: %v", old, n, err)
				}
				sum = old
			case old.Sign() == 0 && n != 0 && len(model) == room:
				if fault.CodeOf(err) != fault.TableFull {
					t.Fatalf("a fourth: %v", err)
				}
				sum = old
			case err != nil || got != sum.Int64():
				t.Fatalf("%d + %d = %d, %v", old, n, got, err)
			}
			if model[name] = sum; sum.Sign() == 0 {
				delete(model, name)
			}
			if table.Get(name) != sum.Int64() || table.Len() != len(model) {
				t.Fatalf("%s is %d, of %d", name, table.Get(name), table.Len())
			}
		}
		table.Each(func(name string, value int64) {
			if model[name] == nil || model[name].Int64() != value {
				t.Fatalf("%s is %d", name, value)
			}
			delete(model, name)
		})
		if len(model) > 0 {
			t.Fatalf("not seen: %v", model)
		}
	})
}

func TestEdges(t *testing.T) {
	table := New(2)
	for _, tc := range []struct {
		add, want int64
		code      fault.Code
	}{
		{math.MaxInt64, math.MaxInt64, ""},
		{1, math.MaxInt64, fault.Usage},
		{0, math.MaxInt64, ""},
		{-math.MaxInt64, 0, ""},
		{math.MinInt64, math.MinInt64, ""},
		{-1, math.MinInt64, fault.Usage},
		{math.MinInt64, math.MinInt64, fault.Usage},
		{math.MaxInt64, -1, ""},
	} {
		_, err := table.Add("x", tc.add)
		if fault.CodeOf(err) != tc.code || table.Get("x") != tc.want {
			t.Errorf("%d added: %d, %v", tc.add, table.Get("x"), err)
		}
	}
}
