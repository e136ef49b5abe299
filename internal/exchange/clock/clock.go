package clock

import (
	"container/heap"
	"slices"
	"time"
)

// None is the place of what is not on a Clock.
const None = -1

// Timed is what has a deadline.
type Timed interface {
	comparable
	// Due is the deadline; it does not change while on a Clock.
	Due() time.Time
	// Place is where the Clock notes its place: None before it is added.
	Place() *int
}

// Clock keeps deadlines. Its user's mutex guards it.
type Clock[T Timed] struct {
	heap  byDue[T]
	timer *time.Timer
	armed time.Time // zero: the timer is not set
	ring  func()
}

// New makes a Clock whose timer calls ring, in a goroutine of its own, when a deadline
// may have passed: ring takes the mutex, calls Rung, and ends what Passed says.
func New[T Timed](ring func()) *Clock[T] { return &Clock[T]{ring: ring} }

// Add enters x.
func (c *Clock[T]) Add(x T) {
	heap.Push(&c.heap, x)
	c.arm()
}

// Remove takes x out, which is there.
func (c *Clock[T]) Remove(x T) { heap.Remove(&c.heap, *x.Place()) }

// All are those that are there, in any order.
func (c *Clock[T]) All() []T { return slices.Clone(c.heap) }

// Rung notes that the timer has fired, and after that sets it anew.
func (c *Clock[T]) Rung(end func(x T), now time.Time) {
	c.armed = time.Time{}
	for len(c.heap) > 0 && !c.heap[0].Due().After(now) {
		x := c.heap[0]
		if end(x); *x.Place() != None {
			c.Remove(x)
		}
	}
	c.arm()
}

// Stop sets the timer no more, unless something is added.
func (c *Clock[T]) Stop() {
	if c.timer != nil {
		c.timer.Stop()
	}
}

// arm sets the timer, if the earliest deadline is sooner than what it is set for.
func (c *Clock[T]) arm() {
	if len(c.heap) == 0 {
		return
	}
	next := c.heap[0].Due()
	if !c.armed.IsZero() && !next.Before(c.armed) {
		return
	}
	c.armed = next
	if c.timer == nil {
		c.timer = time.AfterFunc(time.Until(next), c.ring)
		return
	}
	c.timer.Reset(time.Until(next))
}

// byDue implements heap.Interface.
type byDue[T Timed] []T

// Len implements heap.Interface.
func (h byDue[T]) Len() int { return len(h) }

// Less implements heap.Interface.
func (h byDue[T]) Less(i, j int) bool { return h[i].Due().Before(h[j].Due()) }

// Swap implements heap.Interface.
func (h byDue[T]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	*h[i].Place(), *h[j].Place() = i, j
}

// Push implements heap.Interface.
func (h *byDue[T]) Push(v any) {
	x := v.(T)
	*x.Place() = len(*h)
	*h = append(*h, x)
}

// Pop implements heap.Interface.
func (h *byDue[T]) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	var zero T
	(*h)[last] = zero
	*h = (*h)[:last]
	*x.Place() = None
	return x
}
