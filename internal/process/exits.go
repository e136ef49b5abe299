package process

import "sync"

// ExitQueue delivers exits in order over a channel; adding never blocks. Safe
// for concurrent use.
type ExitQueue struct {
	out   chan Exit
	ended <-chan struct{}
	more  chan struct{} // holds one token while list is not empty

	mu   sync.Mutex
	list []Exit
}

// NewExitQueue makes an empty one, which delivers while Run runs.
func NewExitQueue(ended <-chan struct{}) *ExitQueue {
	return &ExitQueue{out: make(chan Exit), ended: ended, more: make(chan struct{}, 1)}
}

// Add appends an exit.
func (q *ExitQueue) Add(e Exit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, e)
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *ExitQueue) take() []Exit {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// Exits is where they come out; it is never closed.
func (q *ExitQueue) Exits() <-chan Exit { return q.out }

// Run delivers until ended is closed.
func (q *ExitQueue) Run() {
	for {
		select {
		case <-q.more:
		case <-q.ended:
			return
		}
		for _, e := range q.take() {
			select {
			case q.out <- e:
			case <-q.ended:
				return
			}
		}
	}
}
