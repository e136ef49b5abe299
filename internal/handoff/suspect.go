package handoff

import (
	"time"

	"github.com/muster-run/muster/internal/listener"
)

// suspect asks the kernel, beside the thread, whether connections wait behind a worker
// that cannot be asked, or whether it is only busy: its queue is never seen shorter,
// but others wait in it each time. l.mu is held. The goroutine ends with the answer,
// within a second or two.
func (k *socket) suspect() {
	l, since := k.door.loop, k.guard.since
	go func() {
		waits, err := listener.Waits(k.file)
		now := time.Now()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.post(func() { k.answer(since, func() bool { return err != nil || k.waitsLong(waits, now) }) })
	}()
}

// answer is the kernel's: blocked or not. Where it gives none, a queue that does not
// shrink has to do. Runs on the thread.
func (k *socket) answer(since time.Time, blocked func() bool) {
	l := k.door.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &k.guard
	switch {
	case k.door.closed || k.mode != guarding || k.stuck || !g.since.Equal(since):
		return // it is another watch now, or none
	case !k.asks() && blocked():
		k.block()
		return
	}
	g.since = time.Now()
	g.timer = l.after(2*lookAfter, k.look)
}

// waitsLong says that a connection waits for k that came when its queue was last seen to
// shrink, or before. The kernel does not tell behind which slot one waits. So there must
// be more than can wait at those that are steered around, or one that came after the
// last of these was: their queues may be full of clients that have given up, which are
// not among waits. l.mu is held.
func (k *socket) waitsLong(waits []time.Duration, now time.Time) bool {
	var away time.Time
	behind := 0
	for _, o := range k.door.sockets {
		if n := o.waiting(); o != k && !o.away.IsZero() && n > 0 {
			behind += n
			away = later(away, o.away)
		}
	}
	for _, age := range waits {
		if age < shrinkWithin-lookAfter {
			continue
		}
		if behind--; behind < 0 || age < now.Sub(away)-lookAfter {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
