package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Teardown is a stack of functions that undo what was acquired. The zero value is
// ready; safe for concurrent use.
type Teardown struct {
	mu    sync.Mutex
	stack []step
	done  chan struct{} // not nil: Run was called; closed when it is over
	err   error         // valid once done is closed
}

type step struct {
	name    string
	timeout time.Duration
	undo    func(context.Context) error
}

// Add registers undo, to be called on the line after acquiring. Its ctx ends
// after timeout (0: DefaultTimeout). After Run it is called at once, and its
// error returned.
func (t *Teardown) Add(name string, timeout time.Duration, undo func(context.Context) error) error {
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	s := step{name, timeout, undo}
	t.mu.Lock()
	late := t.done != nil
	if !late {
		t.stack = append(t.stack, s)
	}
	t.mu.Unlock()
	if late {
		return s.run()
	}
	return nil
}

// Run calls the functions, last in first out, each once, and joins their errors.
// Further calls wait for the first and return the same.
func (t *Teardown) Run() error {
	t.mu.Lock()
	first := t.done == nil
	if first {
		t.done = make(chan struct{})
	}
	stack := t.stack
	t.mu.Unlock()
	if !first {
		<-t.done
		return t.err
	}
	var errs []error
	for i := len(stack) - 1; i >= 0; i-- {
		errs = append(errs, stack[i].run())
	}
	t.err = errors.Join(errs...)
	close(t.done)
	return t.err
}

func (s step) run() error {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	if err := bounded(ctx, s.undo); err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	return nil
}
