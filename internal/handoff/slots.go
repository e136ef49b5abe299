package handoff

import (
	"slices"
	"time"

	"github.com/muster-run/muster/internal/listener"
)

const (
	// lookAfter is when the queue of a slot is looked at after a connection came.
	lookAfter = 50 * time.Millisecond
	// aliveWithin is how long a worker whose queue is not empty has to answer a ping.
	aliveWithin = 150 * time.Millisecond
	// shrinkWithin is how long the queue of a worker that cannot be asked may grow
	// before the kernel is asked whether the same connections wait all the time.
	shrinkWithin = time.Second
	// recoverEvery is how often a blocked slot is looked at.
	recoverEvery = 250 * time.Millisecond
	// blockedFor is how long a worker must be found blocked to be told of: one that is
	// only busy takes what waits as soon as new connections go elsewhere. toldEvery is
	// how often it is told at most.
	blockedFor = time.Second
	toldEvery  = 10 * time.Second
)

// review brings sockets and steering in line with the seats. Runs on the thread.
func (d *Door) review() {
	l := d.loop
	l.mu.Lock()
	defer l.mu.Unlock()
	if !d.changed || d.closed {
		return
	}
	d.changed = false
	if !d.slots() {
		d.sockets[0].turnTo(taking)
		return
	}
	d.steer()
	takers := d.takers()
	for _, k := range d.sockets {
		switch {
		case k.live():
			k.turnTo(guarding)
		case takers:
			k.turnTo(taking)
		case k.stuck:
			k.turnTo(guarding) // to see it recover
		default:
			k.turnTo(idle)
		}
		if k.stuck && k.guard.timer == nil {
			k.guard.timer = l.after(recoverEvery, k.recover)
		}
	}
}

// steer tells the kernel which slots get new connections. l.mu is held.
func (d *Door) steer() {
	live := []int{}
	for i, k := range d.sockets {
		switch {
		case k.live():
			live = append(live, i)
			k.away = time.Time{}
		case k.away.IsZero():
			k.away = time.Now()
		}
	}
	if len(d.sockets) == 0 || d.group < 2 || slices.Equal(live, d.steered) && d.steered != nil {
		return
	}
	if err := listener.Steer(d.sockets[0].file, live, d.group); err != nil {
		d.rest(err)
		live = nil // once more with the next change
	}
	d.steered = live
}

// live says that new connections go to k. l.mu is held.
func (k *socket) live() bool { return !k.going && !k.stuck && len(k.seats) > 0 }

// takers says that there is a seat to which what waits elsewhere can be dealt. l.mu
// is held.
func (d *Door) takers() bool {
	return slices.ContainsFunc(d.sockets, func(k *socket) bool { return k.live() && k.asks() })
}

// asks says that a worker of the slot can be asked, and dealt to. l.mu is held.
func (k *socket) asks() bool {
	return slices.ContainsFunc(k.seats, func(s *Seat) bool { return s.to != nil })
}

// guard watches that the worker of a slot accepts. Nothing is looked at while no
// connection comes: the socket is in the set for one event, and then looked at
// until its queue is empty.
type guard struct {
	timer *timer
	asked time.Time // when the ping was sent that waits for an answer
	queue int       // as last seen
	since time.Time // when it last was shorter than before; zero: not looked at yet
}

// rest ends the watch. l.mu is held.
func (g *guard) rest(l *Loop) {
	l.stop(g.timer)
	*g = guard{}
}

// begin is the first connection in a while. l.mu is held.
func (g *guard) begin(k *socket) {
	if g.timer == nil {
		g.timer = k.door.loop.after(lookAfter, k.look)
	}
}

// look runs on the thread.
func (k *socket) look() {
	d := k.door
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	g := &k.guard
	if g.timer = nil; d.closed || k.mode != guarding || k.stuck {
		return
	}
	n := k.waiting()
	if n <= 0 {
		g.rest(d.loop)
		_ = k.arm(guarding, guardEvents) // it was in the set a moment ago
		return
	}
	now := time.Now()
	if g.since.IsZero() || n < g.queue {
		g.since = now
	}
	g.queue = n
	if !k.asks() && now.Sub(g.since) >= shrinkWithin {
		k.suspect()
		return
	}
	wait := k.judge(now)
	if wait == 0 {
		k.block()
		return
	}
	g.timer = d.loop.after(wait, k.look)
}

// judge is when to look again, or 0: the worker is blocked. l.mu is held.
func (k *socket) judge(now time.Time) time.Duration {
	g := &k.guard
	answered := func(s *Seat) bool { return !s.alive.Before(g.asked) }
	switch {
	case !k.asks():
		return 2 * lookAfter
	case g.asked.IsZero():
		g.asked = now
		k.door.loop.post(k.ping)
		return aliveWithin
	case !slices.ContainsFunc(k.seats, answered):
		return 0
	}
	g.asked = time.Time{}
	return lookAfter
}

// ping asks the workers of the slot that owe no answer for a sign of life. Runs on the
// thread.
func (k *socket) ping() {
	l := k.door.loop
	l.mu.Lock()
	var ask []*Seat
	for _, s := range k.seats {
		if s.to != nil && !s.pinged {
			s.pinged = true
			ask = append(ask, s)
		}
	}
	l.mu.Unlock()
	for _, s := range ask {
		if s.to.Ping() != nil {
			l.mu.Lock()
			s.pinged = false // once more with the next look
			l.mu.Unlock()
		}
	}
}

// block marks the slot as blocked. l.mu is held.
func (k *socket) block() {
	k.stuck, k.blocked = true, time.Now()
	k.guard.timer = k.door.loop.after(recoverEvery, k.recover)
	k.door.change()
}

// well ends that. l.mu is held.
func (k *socket) well() {
	if !k.stuck {
		return
	}
	k.stuck = false
	k.guard.rest(k.door.loop)
	if k.said {
		k.report(k.waiting())
	}
	for _, s := range k.seats {
		s.offer()
	}
	if k.mode == guarding {
		_ = k.arm(guarding, guardEvents) // it is in the set
	}
	k.door.change()
}

// report tells what is so now. l.mu is held.
func (k *socket) report(waiting int) {
	k.said = k.stuck
	if k.stuck {
		k.told = time.Now()
	}
	if d := k.door; d.stuck != nil {
		slot, stuck := k.slot, k.stuck
		d.tell.say(func() { d.stuck(slot, stuck, waiting) })
	}
}

// recover looks whether a blocked worker that cannot be asked accepts again. One
// that can be asked answers the ping once it is well. Runs on the thread.
func (k *socket) recover() {
	d := k.door
	d.loop.mu.Lock()
	defer d.loop.mu.Unlock()
	if k.guard.timer = nil; !k.stuck || d.closed {
		return
	}
	n := k.waiting()
	switch asks := k.asks(); {
	case !asks && n >= 0 && (n < k.guard.queue || n == 0):
		k.well()
		return
	case asks:
		d.loop.post(k.ping) // another worker may have the slot now
	}
	k.guard.queue = n
	k.guard.timer = d.loop.after(recoverEvery, k.recover)
	if k.worthTelling() {
		k.report(n)
	}
}

// worthTelling: it is blocked for a while, is not dead meanwhile, and was not told of
// just now. l.mu is held.
func (k *socket) worthTelling() bool {
	long := time.Since(k.blocked) >= blockedFor && (k.told.IsZero() || time.Since(k.told) >= toldEvery)
	return long && !k.said && len(k.seats) > 0
}
