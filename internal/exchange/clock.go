package exchange

import (
	"container/heap"
	"time"
)

// none is the place of an errand that is not in the heap.
const none = -1

// clock is the heap of deadlines, with one timer for the earliest. The timer is never
// set later, only sooner: most requests end before it fires, and cost it nothing.
type clock struct {
	heap  byDue
	timer *time.Timer
	armed time.Time // zero: it is not
	run   func()
}

func (c *clock) add(x *errand) {
	heap.Push(&c.heap, x)
	c.arm()
}

func (c *clock) remove(x *errand) { heap.Remove(&c.heap, x.at) }

// arm sets the timer, if the earliest deadline is sooner than what it is set for.
func (c *clock) arm() {
	if len(c.heap) == 0 {
		return
	}
	next := c.heap[0].due
	if !c.armed.IsZero() && !next.Before(c.armed) {
		return
	}
	c.armed = next
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(next), c.run)
		return
	}
	c.timer.Reset(time.Until(next))
}

// passed is an errand whose deadline has passed, nil: there is none.
func (c *clock) passed(now time.Time) *errand {
	if len(c.heap) == 0 || c.heap[0].due.After(now) {
		return nil
	}
	return c.heap[0]
}

func (c *clock) all() []*errand { return append([]*errand(nil), c.heap...) }

func (c *clock) stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// expire ends what is due. The timer runs it.
func (e *Exchange) expire() {
	e.mu.Lock()
	defer e.leave()
	if e.closed {
		return
	}
	e.clock.armed = time.Time{}
	now := time.Now()
	for x := e.clock.passed(now); x != nil; x = e.clock.passed(now) {
		e.late(x)
	}
	e.clock.arm()
}

// byDue implements heap.Interface.
type byDue []*errand

// Len implements heap.Interface.
func (h byDue) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byDue) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

// Swap implements heap.Interface.
func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

// Push implements heap.Interface.
func (h *byDue) Push(v any) {
	x := v.(*errand)
	x.at = len(*h)
	*h = append(*h, x)
}

// Pop implements heap.Interface.
func (h *byDue) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	x.at = none
	return x
}
