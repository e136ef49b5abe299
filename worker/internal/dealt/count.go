package dealt

import (
	"net"
	"sync"
	"syscall"
	"time"
)

const (
	// countEvery is the time between two looks at the open connections.
	countEvery = 10 * time.Millisecond
	// restEvery is the same while nothing changes.
	restEvery = 100 * time.Millisecond
	// countShare bounds the time spent with looking: one part in so many.
	countShare = 50
)

// counter knows how many connections are open. A *net.TCPConn tells nobody that it is
// closed, and it must be a real one (the program may look for it, and so does the
// kernel's splice): so the descriptors are looked at from time to time. A descriptor
// that is another file now, or none, was closed.
type counter struct {
	tell func(open int) // from the counter's goroutine

	mu    sync.Mutex
	open  map[int]uint64 // inodes by descriptor
	runs  bool
	ended bool
	told  int
	bell  chan struct{} // holds one when a connection was added
	over  chan struct{}
}

func newCounter(tell func(int)) *counter {
	return &counter{tell: tell, open: map[int]uint64{}, bell: make(chan struct{}, 1), over: make(chan struct{})}
}

// add counts a connection from now on.
func (c *counter) add(conn net.Conn) {
	fd := descriptor(conn)
	inode, ok := inodeOf(fd)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[fd] = inode
	select {
	case c.bell <- struct{}{}:
	default:
	}
	if !c.runs && !c.ended {
		c.runs = true
		go c.run() // ends when none is open, or with the Member
	}
}

// end ends the counting.
func (c *counter) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	close(c.over)
}

// run looks while anything is open.
func (c *counter) run() {
	pause := countEvery
	for {
		if !c.rest(pause) {
			return
		}
		start := time.Now()
		changed, more := c.look()
		if !more {
			return
		}
		if pause = min(2*pause, restEvery); changed {
			pause = countEvery
		}
		pause = max(pause, countShare*time.Since(start))
	}
}

// rest waits; a connection that was added makes the next look an early one. false: it
// has ended.
func (c *counter) rest(pause time.Duration) bool {
	late := time.NewTimer(pause)
	defer late.Stop()
	soon := late.C
	for bell := c.bell; ; {
		select {
		case <-late.C:
			return true
		case <-soon:
			return true
		case <-bell:
			early := time.NewTimer(min(pause, countEvery))
			defer early.Stop()
			bell, soon = nil, early.C
		case <-c.over:
			return false
		}
	}
}

// look tells how many are open, if that has changed. more is false when none is: then
// the goroutine ends.
func (c *counter) look() (changed, more bool) {
	c.mu.Lock()
	for fd, inode := range c.open {
		if now, ok := inodeOf(fd); !ok || now != inode {
			delete(c.open, fd)
		}
	}
	n := len(c.open)
	changed = n != c.told
	c.told = n
	c.mu.Unlock()
	if changed {
		c.tell(n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	more = len(c.open) > 0
	c.runs = more
	return changed, more
}

// descriptor of a connection; -1: it is closed already.
func descriptor(conn net.Conn) int {
	number := -1
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { number = int(fd) })
		}
	}
	return number
}

func inodeOf(fd int) (uint64, bool) {
	var st syscall.Stat_t
	if fd < 0 || syscall.Fstat(fd, &st) != nil {
		return 0, false
	}
	return st.Ino, true
}
