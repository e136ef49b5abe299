package lock

import "time"

// deadline is the end of a lease, or of a waiter's patience.
type deadline struct {
	at     time.Duration
	index  int
	lock   *lock
	waiter *waiter
}

// schedule is a heap of them. At one moment leases end first: who waits until then has
// the lock.
type schedule []*deadline

// Len is of heap.Interface, as are the others.
func (s schedule) Len() int { return len(s) }

// Less orders by time.
func (s schedule) Less(i, j int) bool {
	a, b := s[i], s[j]
	return a.at < b.at || a.at == b.at && a.waiter == nil && b.waiter != nil
}

// Swap also moves the indexes.
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push adds a *deadline.
func (s *schedule) Push(d any) {
	end := d.(*deadline)
	end.index = len(*s)
	*s = append(*s, end)
}

// Pop takes the last one.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	end := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	return end
}
