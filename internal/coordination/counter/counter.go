package counter

import "github.com/muster-run/muster/fault"

// Table holds counters.
type Table struct {
	max    int
	values map[string]int64
}

// New makes a table of at most max counters that are not 0.
func New(max int) *Table { return &Table{max: max, values: map[string]int64{}} }

// Add adds n, which may be negative, and returns the sum.
func (t *Table) Add(name string, n int64) (int64, error) {
	old, known := t.values[name]
	sum := old + n
	switch {
	case (sum > old) != (n > 0) && n != 0:
		return old, fault.New(fault.Usage, "the counter %s is %d; with %d more it does not fit into 64 bits", name, old, n).
			WithFix("reset it by adding the opposite of its value")
	case !known && n != 0 && len(t.values) >= t.max:
		return 0, fault.New(fault.TableFull, "%d counters are in use, none of them 0", len(t.values))
	}
	t.Restore(name, sum)
	return sum, nil
}

// Get is a counter's value, 0 for one that nobody has used.
func (t *Table) Get(name string) int64 { return t.values[name] }

// Len is how many counters are not 0.
func (t *Table) Len() int { return len(t.values) }

// Restore sets a counter.
func (t *Table) Restore(name string, value int64) {
	if value == 0 {
		delete(t.values, name)
	} else {
		t.values[name] = value
	}
}

// Each calls f with every counter that is not 0, in no order. f may
// change the table, or let others do so: what is new may be missed.
func (t *Table) Each(f func(name string, value int64)) {
	for name, value := range t.values {
		f(name, value)
	}
}
