package limiter

import (
	"math"
	"time"

	"github.com/muster-run/muster/fault"
)

// ID of a bucket: the limiter's name, and whom it limits ("": all together).
type ID struct{ Name, Key string }

// Taken is the answer to a question.
type Taken struct {
	Allowed bool
	// Wait is the exact time until the same question would be allowed; 0 if it is.
	Wait time.Duration
	// Left is how many tokens the bucket holds now.
	Left float64
	// Moved: the bucket's State is another one than before: whoever keeps it elsewhere
	// writes it down. Refusals move it only if they came with another Limit.
	Moved bool
}

// State of a bucket, as it is kept elsewhere. The zero value is a full one.
type State struct {
	// Full is when it will be full again, in nanoseconds and 2⁻⁶⁴ths of one.
	Full int64
	Frac uint64
	// PerToken is in how many nanoseconds a token comes.
	PerToken float64
}

// Table holds buckets.
type Table struct {
	max     int
	buckets map[ID]*bucket
	idle    queue
	latest  time.Duration
}

// bucket is what is known of one.
type bucket struct {
	id       ID
	full     moment
	perToken float64
	due      uint64 // its place in the queue
}

// New makes a table of at most max buckets.
func New(max int) *Table { return &Table{max: max, buckets: map[ID]*bucket{}} }

// Len is how many buckets are kept, full ones included.
func (t *Table) Len() int { return len(t.buckets) }

// Take asks a bucket for tokens at a moment. An error has moved nothing.
func (t *Table) Take(id ID, l Limit, tokens float64, now time.Duration) (Taken, error) {
	if err := l.Check(tokens); err != nil {
		return Taken{}, err
	}
	at, behind := t.clock(now)
	b, err := t.bucket(id, at)
	if err != nil {
		return Taken{}, err
	}
	depth := l.depth()
	taken := Taken{Moved: b.adapt(l, depth, at)}
	end := at.plus(depth)
	next := later(b.full, at).plus(l.cost(tokens))
	if next.after(end) {
		taken.Wait = next.minus(end).up() + behind
	} else {
		b.full = next
		taken.Allowed, taken.Moved = true, true
	}
	taken.Left = max(0, l.Burst-later(b.full, at).minus(at).float()/b.perToken)
	return taken, nil
}

// clock is the time that counts, not negative, and how far the given one is behind it.
func (t *Table) clock(now time.Duration) (at moment, behind time.Duration) {
	now = max(now, 0)
	if back := t.latest - now; back > 0 && back <= time.Second {
		return moment{ns: int64(t.latest)}, back
	}
	t.latest = now
	return moment{ns: int64(now)}, 0
}

// adapt makes a bucket one of a Limit, and says whether that changed it.
func (b *bucket) adapt(l Limit, depth, at moment) (moved bool) {
	if per := l.perToken(); b.perToken != per {
		if b.full.after(at) {
			missing := min(l.Burst, b.full.minus(at).float()/b.perToken)
			b.full, moved = at.plus(spanOf(missing*per)), true
		}
		b.perToken = per
	}
	if end := at.plus(depth); b.full.after(end) { // a smaller burst, or a new clock
		b.full, moved = end, true
	}
	return moved
}

// bucket finds one, or makes room for it.
func (t *Table) bucket(id ID, at moment) (*bucket, error) {
	if b := t.buckets[id]; b != nil {
		return b, nil
	}
	// Two for each new one: what a flood has left goes as fast as others come.
	more := t.dropIdle(at)
	if more {
		more = t.dropIdle(at)
	}
	for len(t.buckets) >= t.max {
		if !more {
			return nil, fault.New(fault.TableFull, "%d limiters are in use, each with tokens missing", len(t.buckets))
		}
		more = t.dropIdle(at)
	}
	return t.add(&bucket{id: id}, at), nil
}

// add puts a bucket into the table. It is due at once: the take that follows says by
// how much later it is looked at.
func (t *Table) add(b *bucket, at moment) *bucket {
	t.buckets[b.id] = b
	t.idle.push(b, uint64(max(b.full.up(), at.up(), 0)))
	return b
}

// dropIdle looks at the bucket that was to be full first: it is dropped, or put in its
// place. False means that none is full.
func (t *Table) dropIdle(at moment) bool {
	b := t.idle.pop(uint64(max(at.ns, 0)))
	if b == nil {
		return false
	}
	if b.full.after(at) {
		t.idle.push(b, uint64(b.full.up()))
	} else {
		delete(t.buckets, b.id)
	}
	return true
}

// State is what has to be kept elsewhere of a bucket; one that is not there is full.
func (t *Table) State(id ID) State {
	b := t.buckets[id]
	if b == nil {
		return State{}
	}
	return b.state()
}

func (b *bucket) state() State { return State{b.full.ns, b.full.frac, b.perToken} }

// Restore gives a bucket the State that it had. One that makes no sense, or is full at
// that moment, changes nothing but a bucket that is there.
func (t *Table) Restore(id ID, s State, now time.Duration) {
	b := t.buckets[id]
	full := moment{s.Full, s.Frac}
	at := moment{ns: int64(now)}
	sound := s.Full >= 0 && s.Full < math.MaxInt64/2 && s.PerToken >= 1e9/RateMax && s.PerToken <= float64(FillMax)
	switch {
	case b != nil && sound:
		b.full, b.perToken = full, s.PerToken
	case b != nil:
		b.full = moment{}
	case sound && full.after(at):
		t.add(&bucket{id: id, full: full, perToken: s.PerToken}, at)
	}
}

// Each calls f with every bucket that is not full at that moment, in no order. f may
// change the table, or let others do so: what is new may be missed.
func (t *Table) Each(now time.Duration, f func(ID, State)) {
	for id, b := range t.buckets {
		if b.full.after(moment{ns: int64(now)}) {
			f(id, b.state())
		}
	}
}
