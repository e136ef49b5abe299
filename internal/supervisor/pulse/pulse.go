// Package pulse watches the signs of life of one process (spec.Heartbeat).
//
// # Model
//
//	            first beat             interval passes           kill passes
//	(waiting) ─────────────► alive ─────────────────► silent ─────────────────► dead
//	    │                      ▲                         │
//	    └ interval passes:     └────────── a beat ───────┘
//	      Never, once
//
// The watch begins with Watch (the process is ready) and a first beat, whichever comes
// later: a program that never sends any cannot be told from one that does not know how
// to, so that it is said once (Never), and nothing follows. A beat before Watch counts.
//
// # Invariants
//
//   - Silent and Dead come once for each silence, Back once after a Silent. After Dead,
//     and after Stop, nothing comes.
//   - An agent that did not run when it should have (it was suspended, or the machine
//     was) judges nobody for that: the time starts anew.
//   - A beat costs a lock and a look at the clock, whatever the rules are: any number of
//     them may come.
package pulse

import (
	"sync"
	"time"

	"github.com/muster-run/muster/spec"
)

// Events are what a Pulse tells. They are called from a timer or by Beat, one at a time;
// they must not block, or use the Pulse.
type Events struct {
	// First: the first sign of life of all.
	First func()
	// Never: since Watch, for the interval, none has come.
	Never func(interval time.Duration)
	// Silent: for longer than the interval. last is zero when it was sent to an agent
	// before; age counts from when this one began to watch then.
	Silent func(last time.Time, age time.Duration)
	// Back: it speaks again, after so long.
	Back func(age time.Duration)
	// Dead: silent for longer than kill.
	Dead func(last time.Time, age time.Duration)
}

// Pulse watches one process. Safe for concurrent use.
type Pulse struct {
	events Events

	mu       sync.Mutex
	rules    spec.Heartbeat
	beats    bool      // there has been one, if to an agent before
	last     time.Time // the latest beat; zero: none to this agent
	from     time.Time // when the present silence began to count
	watching bool
	silent   bool
	over     bool // nothing comes any more
	timer    *time.Timer
	due      time.Time // of timer
}

// New makes a Pulse that does not watch yet. beats: an agent before has had a sign of
// life.
func New(rules spec.Heartbeat, beats bool, e Events) *Pulse {
	return &Pulse{rules: rules, beats: beats, events: e}
}

// Beat is a sign of life.
func (p *Pulse) Beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return
	}
	now := time.Now()
	first, since := !p.beats, p.age(now)
	p.beats, p.last = true, now
	if first {
		p.events.First()
	}
	if !p.watching {
		return
	}
	p.from = now
	if p.silent {
		p.silent = false
		p.events.Back(since)
		first = true
	}
	if first {
		p.arm(p.rules.Interval.D())
	}
}

// Watch begins: the process is ready. The time starts now.
func (p *Pulse) Watch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watching, p.from = true, time.Now()
	p.arm(p.rules.Interval.D())
}

// Change takes over other rules. The present silence counts from now on.
func (p *Pulse) Change(rules spec.Heartbeat) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rules == p.rules {
		return
	}
	p.rules = rules
	if !p.watching {
		return
	}
	if rules.Interval == 0 {
		p.silent = false
	}
	if !p.silent {
		p.from = time.Now()
		p.arm(rules.Interval.D())
		return
	}
	p.arm(rules.Kill.D())
}

// Stop ends it. Safe to call again.
func (p *Pulse) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	p.disarm()
}

// Beats says that there has been a sign of life.
func (p *Pulse) Beats() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.beats
}

// Last is the latest sign of life that this agent has heard; zero: none.
func (p *Pulse) Last() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last
}

// arm has the silence looked at when it lasts for d; 0: never. p.mu is held.
func (p *Pulse) arm(d time.Duration) {
	p.disarm()
	if d <= 0 || p.over {
		return
	}
	p.due = p.from.Add(d)
	var t *time.Timer
	t = time.AfterFunc(time.Until(p.due), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.timer == t {
			p.timer = nil
			p.look(time.Now())
		}
	})
	p.timer = t
}

func (p *Pulse) disarm() {
	if p.timer != nil {
		p.timer.Stop()
		p.timer = nil
	}
}

// lateMax is how late a timer may be before it is taken for a sign that this agent did
// not run.
const lateMax = time.Second

// look judges the silence; the timer has passed. p.mu is held.
func (p *Pulse) look(now time.Time) {
	age, interval, kill := now.Sub(p.from), p.rules.Interval.D(), p.rules.Kill.D()
	switch {
	case now.Sub(p.due) > lateMax:
		p.from = now
		p.arm(p.next())
	case !p.beats:
		p.events.Never(interval)
	case age < interval:
		p.arm(interval)
	case !p.silent:
		p.silent = true
		p.events.Silent(p.last, p.age(now))
		p.arm(kill)
	case age >= kill:
		p.over = true
		p.events.Dead(p.last, p.age(now))
	default:
		p.arm(kill)
	}
}

// age of the latest sign of life, as far as this agent knows. p.mu is held.
func (p *Pulse) age(now time.Time) time.Duration {
	if p.last.IsZero() {
		return now.Sub(p.from)
	}
	return now.Sub(p.last)
}

// next is what a silence that counts from now on comes to first. p.mu is held.
func (p *Pulse) next() time.Duration {
	if p.silent {
		return p.rules.Kill.D()
	}
	return p.rules.Interval.D()
}
