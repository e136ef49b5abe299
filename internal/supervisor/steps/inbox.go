package steps

import "sync"

// inbox is an unbounded queue of steps for one goroutine. Posting never waits,
// so helper goroutines and other owners can never block each other.
type inbox struct {
	mu     sync.Mutex
	steps  []func()
	wake   chan struct{}
	closed bool
}

// post adds a step; false means the owner has ended and the step will not run.
func (b *inbox) post(step func()) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return false
	}
	b.steps = append(b.steps, step)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns all steps that wait.
func (b *inbox) take() []func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	steps := b.steps
	b.steps = nil
	return steps
}

// close refuses further steps and drops those that wait.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed, b.steps = true, nil
}
