package process

import "sync"

// exitQueue delivers exits in order over a channel; adding never blocks.
type exitQueue struct {
	out   chan Exit
	ended <-chan struct{}
	more  chan struct{} // holds one token while list is not empty

	mu   sync.Mutex
	list []Exit
}

func newExitQueue(ended <-chan struct{}) *exitQueue {
	return &exitQueue{out: make(chan Exit), ended: ended, more: make(chan struct{}, 1)}
}

func (q *exitQueue) add(e Exit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, e)
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *exitQueue) take() []Exit {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// run delivers until the Direct is closed.
func (q *exitQueue) run() {
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
