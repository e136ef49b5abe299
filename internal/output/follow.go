package output

import (
	"slices"
	"time"

	"github.com/muster-run/muster/api"
)

// Filter selects records. The zero value selects all. Records about the app
// itself ("12 lines lost", Slot -1) pass whatever Slots and Streams say.
type Filter struct {
	// Slots; nil: all.
	Slots []int
	// Streams: "stdout", "stderr"; nil: both.
	Streams []string
	// Since: not older than this; zero: any.
	Since time.Time
}

func (f Filter) match(r *api.Record) bool {
	if r.Time.Before(f.Since) {
		return false
	}
	if r.Slot < 0 {
		return true
	}
	return (f.Slots == nil || slices.Contains(f.Slots, r.Slot)) &&
		(f.Streams == nil || slices.Contains(f.Streams, r.Stream))
}

// Follower receives new records on C until it or the Log is closed, then C is
// closed. Records that do not fit into its buffer are dropped; the next one that
// does says in Lost how many.
type Follower struct {
	C <-chan api.Record

	c      chan api.Record
	log    *Log
	filter Filter
	lost   int
}

// Follow returns a follower of every record from now on. buffer (at least 1) is
// how far it may fall behind, in records.
func (l *Log) Follow(buffer int) *Follower {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.follow(Filter{}, buffer)
}

// follow needs l.mu.
func (l *Log) follow(f Filter, buffer int) *Follower {
	c := make(chan api.Record, max(buffer, 1))
	fo := &Follower{C: c, c: c, log: l, filter: f}
	if l.closed {
		close(c)
		return fo
	}
	l.followers[fo] = true
	return fo
}

// Close ends the follower. It may be called at any time, also twice.
func (fo *Follower) Close() {
	fo.log.mu.Lock()
	defer fo.log.mu.Unlock()
	fo.end()
}

// end needs log.mu.
func (fo *Follower) end() {
	if fo.log.followers[fo] {
		delete(fo.log.followers, fo)
		close(fo.c)
	}
}

// offer needs log.mu.
func (fo *Follower) offer(r api.Record) {
	if !fo.filter.match(&r) {
		return
	}
	r.Lost = fo.lost
	select {
	case fo.c <- r:
		fo.lost = 0
	default:
		fo.lost++
	}
}
