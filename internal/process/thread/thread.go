package thread

import "runtime"

// Thread runs functions, one after the other, until Close. Safe for concurrent
// use.
type Thread struct{ work chan func() }

// New makes a Thread.
func New() *Thread {
	t := &Thread{work: make(chan func())}
	go func() { // ends with Close
		runtime.LockOSThread()
		for do := range t.work {
			do()
		}
		// Back to the pool, which Go never shrinks: whoever was forked here lives on.
		runtime.UnlockOSThread()
	}()
	return t
}

// Do runs f on the thread and returns when it has; a nil Thread is whichever
// the caller happens to be on.
func (t *Thread) Do(f func()) {
	if t == nil {
		f()
		return
	}
	done := make(chan struct{})
	t.work <- func() { defer close(done); f() }
	<-done
}

// Close ends the thread's work; nobody may call Do any more.
func (t *Thread) Close() {
	if t != nil {
		close(t.work)
	}
}
