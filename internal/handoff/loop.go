package handoff

import (
	"errors"
	"maps"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
)

// Loop is one thread with an epoll set of its own. Safe for concurrent use.
type Loop struct {
	epoll, wake int // wake is an eventfd, in the set
	id          atomic.Int64
	tid         atomic.Int64 // of the thread, 0 before it runs
	done        chan struct{}

	// mu guards what follows and the state of all doors, seats and ears. It is
	// never held while somebody else's code is called.
	mu     sync.Mutex
	set    set
	timers timers
	todo   []func()
	dirty  []*Door
	ears   map[*Ear]struct{}
	doors  map[*Door]struct{}
	// awake says that the thread will look at all of this before it sleeps.
	awake  bool
	closed bool
}

// NewLoop starts the thread. It ends with Close. The error is one of the system.
func NewLoop() (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epoll)
		return nil, os.NewSyscallError("eventfd", err)
	}
	l := &Loop{
		epoll: epoll, wake: wake, done: make(chan struct{}), awake: true,
		ears: map[*Ear]struct{}{}, doors: map[*Door]struct{}{},
	}
	l.id.Store(channel.FirstSeq(time.Now()))
	ref := l.set.add(wakeup{l})
	if err := l.control(unix.EPOLL_CTL_ADD, wake, unix.EPOLLIN|unix.EPOLLET, ref); err != nil {
		return nil, errors.Join(err, l.shut())
	}
	go l.run()
	return l, nil
}

// NextID is a number above all that this or an earlier agent has used, for frames
// with a sequence number. Safe for concurrent use.
func (l *Loop) NextID() int64 { return l.id.Add(1) }

// Close ends every Door (what is in hand is closed) and every Ear, and then the
// thread. Channels stay open, they are the caller's. Safe to call again; not to be
// called by a First or a Receiver.
func (l *Loop) Close() error {
	l.mu.Lock()
	doors, ears, closed := slices.Collect(maps.Keys(l.doors)), slices.Collect(maps.Keys(l.ears)), l.closed
	l.mu.Unlock()
	for _, d := range doors {
		d.Close()
	}
	for _, e := range ears {
		e.Close()
	}
	l.mu.Lock()
	l.closed = true
	l.rouse()
	l.mu.Unlock()
	<-l.done
	if closed {
		return nil
	}
	return l.shut()
}

func (l *Loop) shut() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll < 0 {
		return nil
	}
	err := errors.Join(unix.Close(l.epoll), unix.Close(l.wake))
	l.epoll, l.wake = -1, -1
	return err
}

// yieldEvery is how often the thread goes through Go's scheduler. A goroutine that
// does not for 10 ms is taken for one that runs on and on: the runtime's monitor then
// wakes up every 20 µs, at a fifth of what a busy loop costs.
const yieldEvery = 4 * time.Millisecond

// run is the thread.
func (l *Loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(l.done)
	l.tid.Store(int64(unix.Gettid()))
	events := make([]unix.EpollEvent, 128)
	yielded := time.Now()
	for {
		timeout, ok := l.work()
		if !ok {
			return
		}
		if now := time.Now(); now.Sub(yielded) >= yieldEvery {
			runtime.Gosched()
			yielded = now
		}
		n, err := unix.EpollWait(l.epoll, events, timeout)
		l.mu.Lock()
		l.awake = true
		l.mu.Unlock()
		if err != nil {
			n = 0 // EINTR; nothing else can happen to a valid set
		}
		for i := range events[:n] {
			l.dispatch(&events[i])
		}
	}
}

// work does what is due, until the thread should look at its descriptors: it may
// sleep there for timeout milliseconds, or without end (-1). ok is false when the
// loop is closed.
func (l *Loop) work() (timeout int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	budget := len(l.todo) // what is posted meanwhile waits for its turn
	for !l.closed {
		do, timeout := l.next(&budget)
		if do == nil {
			l.awake = timeout == 0
			return timeout, true
		}
		l.mu.Unlock()
		do()
		l.mu.Lock()
	}
	return 0, false
}

// next is one thing to do, or how long nothing is. l.mu is held.
func (l *Loop) next(budget *int) (do func(), timeout int) {
	switch {
	case len(l.dirty) > 0:
		last := len(l.dirty) - 1
		d := l.dirty[last]
		l.dirty = l.dirty[:last]
		d.isDirty = false
		return d.work, 0
	case *budget > 0:
		*budget--
		do = l.todo[0]
		l.todo[0] = nil
		l.todo = l.todo[1:]
		return do, 0
	}
	do, timeout = l.timers.next()
	if len(l.todo) > 0 {
		timeout = 0
	}
	return do, timeout
}

// dispatch tells who waits for it of an event.
func (l *Loop) dispatch(e *unix.EpollEvent) {
	l.mu.Lock()
	w := l.set.find(e)
	l.mu.Unlock()
	if w != nil {
		w.ready(e.Events)
	}
}

// rouse makes the thread look. l.mu is held.
func (l *Loop) rouse() {
	if l.awake || l.wake < 0 {
		return
	}
	l.awake = true
	one := [8]byte{1} // any number but 0 and the greatest, whatever the order of bytes
	_, _ = unix.Write(l.wake, one[:])
}

// post has do run on the thread, in order. l.mu is held. Nothing happens once the
// loop is closed.
func (l *Loop) post(do func()) {
	if !l.closed {
		l.todo = append(l.todo, do)
		l.rouse()
	}
}

// call runs do on the thread and waits for it. It returns false when the loop is
// closed and do may not have run.
func (l *Loop) call(do func()) bool {
	if int64(unix.Gettid()) == l.tid.Load() {
		do()
		return true
	}
	ran := make(chan struct{})
	l.mu.Lock()
	l.post(func() { defer close(ran); do() })
	l.mu.Unlock()
	select {
	case <-ran:
		return true
	case <-l.done:
		select {
		case <-ran:
			return true
		default:
			return false
		}
	}
}

// touch has a door look whether there is something to deal. l.mu is held.
func (l *Loop) touch(d *Door) {
	if !d.isDirty && !l.closed {
		d.isDirty = true
		l.dirty = append(l.dirty, d)
		l.rouse()
	}
}

// wakeup is who waits for the eventfd: it is enough that the thread is awake. Its
// counter is not read: with edges every write wakes.
type wakeup struct{ loop *Loop }

func (wakeup) ready(uint32) {}
