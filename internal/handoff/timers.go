package handoff

import (
	"container/heap"
	"math"
	"time"
)

// timer runs do on the thread, once.
type timer struct {
	at    time.Time
	do    func() // nil: stopped, or it has run
	place int
}

// timers is a heap, the next one first; guarded by Loop.mu.
type timers []*timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int) {
	t[i], t[j] = t[j], t[i]
	t[i].place, t[j].place = i, j
}

// Push is for heap.
func (t *timers) Push(x any) {
	added, _ := x.(*timer)
	added.place = len(*t)
	*t = append(*t, added)
}

// Pop is for heap.
func (t *timers) Pop() any {
	last := len(*t) - 1
	gone := (*t)[last]
	(*t)[last] = nil
	*t = (*t)[:last]
	return gone
}

// next is what is due, or how many milliseconds it is until then; -1: nothing waits.
func (t *timers) next() (do func(), timeout int) {
	if len(*t) == 0 {
		return nil, -1
	}
	first := (*t)[0]
	if wait := time.Until(first.at); wait > 0 {
		return nil, int(min(wait/time.Millisecond+1, math.MaxInt32))
	}
	heap.Pop(t)
	do, first.do = first.do, nil
	return do, 0
}

// after runs do on the thread in a while. l.mu is held.
func (l *Loop) after(d time.Duration, do func()) *timer {
	t := &timer{at: time.Now().Add(d), do: do}
	heap.Push(&l.timers, t)
	if t.place == 0 {
		l.rouse()
	}
	return t
}

// stop drops a timer, which may be nil or have run. l.mu is held.
func (l *Loop) stop(t *timer) {
	if t != nil && t.do != nil {
		t.do = nil
		heap.Remove(&l.timers, t.place)
	}
}
