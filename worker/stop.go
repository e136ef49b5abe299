package worker

import (
	"context"
	"os"
	"os/signal"
	"slices"
	"sync"
)

// stopping is how the worker ends.
type stopping struct {
	watch sync.Once
	drain sync.Once
	drawn chan struct{} // closed: it is to end
	over  chan struct{} // closed: nothing is watched any more
	close sync.Once

	mu    sync.Mutex
	hooks []*hook
	ran   bool
}

type hook struct {
	f func(ctx context.Context, cause error)
}

func (s *stopping) begin() { s.drawn, s.over = make(chan struct{}), make(chan struct{}) }

func (s *stopping) end() { s.close.Do(func() { close(s.over) }) }

// Draining is closed when the worker is to end: it was sent one of Options.Signals, or
// muster takes it out of the hand-off. What is under way may be finished. From the first
// call on (Run makes it, too) those signals do not end the process by themselves; only
// when it runs alone a second one does.
func (w *Worker) Draining() <-chan struct{} {
	w.stop.watch.Do(func() {
		got := make(chan os.Signal, 1)
		signal.Notify(got, w.o.Signals...)
		w.tasks.Go(func() { w.awaitSignal(got) })
	})
	return w.stop.drawn
}

// awaitSignal drains at the first signal. Under muster more of them mean nothing: an
// agent that takes over from another may send it again.
func (w *Worker) awaitSignal(got chan os.Signal) {
	select {
	case <-got:
		if w.Alone() {
			signal.Stop(got)
		}
		w.drain()
	case <-w.stop.over:
	}
	<-w.stop.over
	signal.Stop(got)
}

// drain begins the end.
func (w *Worker) drain() {
	w.stop.drain.Do(func() {
		close(w.stop.drawn)
		w.crashes.end()
		if w.deal != nil {
			w.deal.drain()
		}
	})
}

// OnStop has f called when the worker ends, by Run or Stop, with the cause: nil, or the
// error or panic (*Panic) that it ends for. All of them run at the same time, under a
// context that ends after Options.StopTimeout; then nobody waits for them any more.
func (w *Worker) OnStop(f func(ctx context.Context, cause error)) (remove func()) {
	s, h := &w.stop, &hook{f}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks = append(s.hooks, h)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.hooks = slices.DeleteFunc(slices.Clone(s.hooks), func(x *hook) bool { return x == h })
	}
}

// Stop runs OnStop's functions with the cause and waits for them, and for goroutines
// begun by Go, until Options.StopTimeout. The first call does; others return at once.
// Programs that use Run need not call it.
func (w *Worker) Stop(cause error) {
	s := &w.stop
	s.mu.Lock()
	hooks, first := s.hooks, !s.ran
	s.ran = true
	s.mu.Unlock()
	if !first {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), w.o.StopTimeout)
	defer stop()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.runHooks(ctx, hooks, cause)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		w.log.Warn("not all of OnStop's functions and of Go's goroutines have ended in time", "timeout", w.o.StopTimeout)
	}
}

// runHooks runs them all, and waits for them.
func (w *Worker) runHooks(ctx context.Context, hooks []*hook, cause error) {
	var all sync.WaitGroup
	for _, h := range hooks {
		all.Go(func() { w.safely("OnStop", func() { h.f(ctx, cause) }) })
	}
	all.Wait()
	if !isPanic(cause) {
		w.crashes.begun.Wait()
	}
}
