package steps

import "sync"

// Errands counts goroutines that do one thing each. Safe for concurrent use; the zero value is
// ready.
type Errands struct {
	mu    sync.Mutex
	n     int
	ended bool
	none  chan struct{} // closed when ended and n is 0
}

// Go runs f in a goroutine; after End it does nothing.
func (h *Errands) Go(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended {
		return
	}
	h.n++
	go func() {
		defer h.done()
		f()
	}()
}

func (h *Errands) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n--; h.n == 0 && h.ended {
		close(h.none)
	}
}

// End refuses new errands and waits for those that run. It is called once.
func (h *Errands) End() {
	h.mu.Lock()
	h.ended, h.none = true, make(chan struct{})
	if h.n == 0 {
		close(h.none)
	}
	h.mu.Unlock()
	<-h.none
}
