package process

import "runtime"

// thread is one thread of the operating system that runs functions, one after
// the other. The kernel takes a process's parent to be the thread that forked
// it: what is to die with this process must be forked by a thread that lives as
// long. (Go ends the threads of locked goroutines that return, and no other.)
type thread struct{ work chan func() }

func newThread() *thread {
	t := &thread{work: make(chan func())}
	go func() { // ends with close
		runtime.LockOSThread()
		for do := range t.work {
			do()
		}
		// Back to the pool, which Go never shrinks: whoever was forked here lives on.
		runtime.UnlockOSThread()
	}()
	return t
}

// do runs f on the thread and returns when it has; a nil thread is whichever
// the caller happens to be on.
func (t *thread) do(f func()) {
	if t == nil {
		f()
		return
	}
	done := make(chan struct{})
	t.work <- func() { defer close(done); f() }
	<-done
}

// close ends the thread's work; nobody may call do any more.
func (t *thread) close() {
	if t != nil {
		close(t.work)
	}
}
