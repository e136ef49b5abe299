package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// The defaults of a Part, and the longest pause before a restart.
const (
	DefaultTimeout = 10 * time.Second
	// lastGrace is what Run gets when Stop has used up the timeout.
	lastGrace  = time.Second
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Errors of a group.
var (
	// ErrStarted: Start was called a second time, or after Stop.
	ErrStarted = errors.New("lifecycle: the group was started or stopped before")
	// ErrTimeout is in the error of a part or teardown that did not end in time.
	ErrTimeout = errors.New("did not end in time")
)

// Part is something that runs beside others.
type Part struct {
	Name string
	// Run works until ctx ends, then cleans up and returns; nil and ctx's own
	// error both mean a clean end. An essential part that returns earlier, with
	// an error or without, ends the group.
	Run func(ctx context.Context) error
	// Stop (nil: none) is called before Run's ctx is cancelled, to end it
	// gracefully; its ctx has the part's deadline.
	Stop func(ctx context.Context) error
	// Timeout bounds the end, Stop included. 0: DefaultTimeout.
	Timeout time.Duration
	// Restart makes the part not essential.
	Restart bool
}

// Failure reports an end of a part that nobody asked for.
type Failure struct {
	Part string
	Err  error
	// Again is the pause before the part is started again; 0: the group ends.
	Again time.Duration
}

// PanicError is a panic in a part or teardown.
type PanicError struct {
	Value any
	Stack []byte
}

// Error is "panic: VALUE" and the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Value, p.Stack) }

// Unwrap is the value where that is an error.
func (p *PanicError) Unwrap() error { err, _ := p.Value.(error); return err }

// Group runs parts. Safe for concurrent use.
type Group struct {
	report func(Failure)

	mu       sync.Mutex
	parts    []*running // in order of start
	started  bool
	stopping bool
	ending   chan struct{} // closed when something asks for the end
	done     chan struct{} // closed when all is over
	err      error         // of the parts, joined; valid once done is closed
}

// running is a part that was started.
type running struct {
	Part
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // valid once ended is closed
}

// New makes a group. report (nil: none) hears of every failure of a part, from
// that part's goroutine.
func New(report func(Failure)) *Group {
	if report == nil {
		report = func(Failure) {}
	}
	return &Group{report: report, ending: make(chan struct{}), done: make(chan struct{})}
}

// Start runs the parts, in order, and returns at once. ctx's end stops the group;
// its values reach the parts.
func (g *Group) Start(ctx context.Context, parts ...Part) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.started || g.stopping {
		return ErrStarted
	}
	g.started = true
	// Parts end in order, so none of them may see ctx's own end.
	free := context.WithoutCancel(ctx)
	for _, p := range parts {
		own, cancel := context.WithCancel(free)
		r := &running{Part: p, cancel: cancel, ended: make(chan struct{})}
		g.parts = append(g.parts, r)
		go g.run(own, r)
	}
	go g.supervise(ctx)
	return nil
}

// supervise ends the group.
func (g *Group) supervise(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-g.ending:
	}
	_ = g.Stop()
}

// run keeps one part running.
func (g *Group) run(ctx context.Context, r *running) {
	defer close(r.ended)
	pause := firstPause
	for {
		began := time.Now()
		err := protect(func() error { return r.Run(ctx) })
		if ctx.Err() != nil {
			r.err = clean(ctx, err)
			return
		}
		if !r.Restart {
			g.fail(r, err)
			return
		}
		if time.Since(began) >= lastPause {
			pause = firstPause
		}
		g.report(Failure{r.Name, err, pause})
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, lastPause)
	}
}

// fail ends the group because of an essential part.
func (g *Group) fail(r *running, err error) {
	r.err = err
	g.mu.Lock()
	planned := g.stopping
	g.mu.Unlock()
	if !planned {
		g.report(Failure{r.Name, err, 0})
	}
	g.End()
}

// End begins to stop the group and returns at once; a part may call it.
func (g *Group) End() {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.ending:
	default:
		close(g.ending)
	}
}

// Wait returns when the group has ended, with the errors of its parts joined.
func (g *Group) Wait() error {
	<-g.done
	return g.err
}

// Stop ends the parts in reverse order and returns what Wait does. A part must
// not call it (it would wait for itself): see End.
func (g *Group) Stop() error {
	g.mu.Lock()
	first := !g.stopping
	g.stopping = true
	parts := g.parts // complete: Start refuses from now on
	g.mu.Unlock()
	if !first {
		return g.Wait()
	}
	g.End()
	var errs []error
	for i := len(parts) - 1; i >= 0; i-- {
		if err := parts[i].end(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", parts[i].Name, err))
		}
	}
	g.err = errors.Join(errs...)
	close(g.done)
	return g.err
}

// end stops one part within its timeout.
func (r *running) end() error {
	timeout := r.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	defer r.cancel()
	var stopped error
	if r.Stop != nil && !isClosed(r.ended) {
		stopped = bounded(ctx, r.Stop)
	}
	r.cancel()
	last, cancelLast := context.WithTimeout(context.WithoutCancel(ctx), lastGrace)
	defer cancelLast()
	for _, limit := range []context.Context{ctx, last} { // whichever is later
		select {
		case <-r.ended:
			return errors.Join(stopped, r.err)
		case <-limit.Done():
		}
	}
	return errors.Join(stopped, ErrTimeout)
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// bounded calls do and leaves it behind when ctx ends first.
func bounded(ctx context.Context, do func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- protect(func() error { return do(ctx) }) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select {
		case err := <-done:
			return err
		default:
			return ErrTimeout
		}
	}
}

// protect turns a panic into an error.
func protect(do func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return do()
}

// clean is err, unless it only says that ctx has ended.
func clean(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}
