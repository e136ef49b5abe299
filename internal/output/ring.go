package output

import (
	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/output/intent"
)

// ringBytes bounds the text that one slot keeps in memory, whatever Log.Lines says.
const ringBytes = 2 << 20

// entry is a record with its place in the order of the app: 1, 2, 3, …
type entry struct {
	seq uint64
	api.Record
}

// item is an entry on its way to the target.
type item struct {
	entry
	intent.Mark // nowhere: a notice
}

// ring holds the last records of one slot. It grows as it fills.
type ring struct {
	list  []entry // oldest at head
	head  int
	bytes int
	gone  uint64 // seq of the last record that was evicted, 0: none
}

// add appends a record and evicts what is above max records or ringBytes.
func (r *ring) add(e entry, max int) {
	r.bytes += len(e.Line)
	for r.len() > 0 && (r.len() >= max || r.bytes > ringBytes) {
		r.evict()
	}
	if max < 1 {
		r.bytes, r.gone = 0, e.seq
		return
	}
	if r.head > len(r.list)/2 && len(r.list) == cap(r.list) {
		n := copy(r.list, r.list[r.head:])
		clear(r.list[n:])
		r.list, r.head = r.list[:n], 0
	}
	r.list = append(r.list, e)
}

func (r *ring) evict() {
	r.bytes -= len(r.list[r.head].Line)
	r.gone = r.list[r.head].seq
	r.list[r.head] = entry{}
	r.head++
}

// shrink evicts down to max records.
func (r *ring) shrink(max int) {
	for r.len() > max {
		r.evict()
	}
}

func (r *ring) len() int { return len(r.list) - r.head }

// all is the records, oldest first; valid until the next add.
func (r *ring) all() []entry { return r.list[r.head:] }

// last is the newest n records, oldest first.
func (r *ring) last(n int) []entry {
	all := r.all()
	if n < 0 || n > len(all) {
		return all
	}
	return all[len(all)-n:]
}
