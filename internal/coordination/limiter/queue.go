package limiter

import "math/bits"

// queue orders buckets by when they are due: a radix heap. What is in lists[i] differs
// from last first in bit i-1, so the lowest list that is not empty has the least, and
// what is taken from a list goes to lower ones only: a bucket costs 64 moves at most,
// however many there are.
type queue struct {
	last  uint64 // no bucket is due earlier
	lists [65][]*bucket
	least [65]uint64
}

func (q *queue) push(b *bucket, due uint64) {
	b.due = max(due, q.last)
	i := bits.Len64(b.due ^ q.last)
	if len(q.lists[i]) == 0 || b.due < q.least[i] {
		q.least[i] = b.due
	}
	q.lists[i] = append(q.lists[i], b)
}

// pop takes out a bucket that is due; nil: none is.
func (q *queue) pop(now uint64) *bucket {
	i := q.lowest()
	if i < 0 || q.least[i] > now {
		return nil
	}
	if i > 0 {
		q.spread(i)
	}
	end := len(q.lists[0]) - 1 // spread has put the least there
	b := q.lists[0][end]
	q.lists[0][end] = nil
	q.lists[0] = q.lists[0][:end]
	return b
}

// lowest is the first list that is not empty; -1: all are.
func (q *queue) lowest() int {
	for i := range q.lists {
		if len(q.lists[i]) > 0 {
			return i
		}
	}
	return -1
}

// spread empties a list into lower ones.
func (q *queue) spread(i int) {
	list := q.lists[i]
	q.lists[i] = nil
	q.last = q.least[i]
	for _, b := range list {
		q.push(b, b.due)
	}
}
