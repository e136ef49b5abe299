package intent

import "sync"

// Progress is how far one source is read and recorded, so that each record has a
// place in it. Offsets count the bytes of each stream from where reading began.
// Safe for concurrent use, but for the fields of the writer.
type Progress struct {
	id string // of the source; "": not to be noted

	mu        sync.Mutex
	pieces    []piece // the chunks from the oldest that is not committed on
	first     int     // number of pieces[0]
	next      int64   // position behind the last
	end       [2]int64
	floor     [2]int64 // what was left out, as an earlier reader has committed it
	committed [2]int64

	// Of the writer: what is in the target, and what will be after this write.
	written, planned Ruler
	pending          bool
}

// NewProgress is that of a source with a name; "": it is not noted.
func NewProgress(id string) *Progress { return &Progress{id: id} }

// Mark is where a record ends in its source. The zero value is nowhere.
type Mark struct {
	Source *Progress
	Stream int   // 0 or 1
	End    int64 // offset behind the record, its line's end included
}

// piece is a chunk of the source.
type piece struct {
	pos    int64
	before [2]int64 // offsets of its first byte and of the other stream
	size   int
	stream int // 0 or 1
}

// Ruler turns growing offsets into places.
type Ruler struct {
	To [2]int64 // offsets that are reached
	at int      // number of a piece; all before it are passed
}

// Chunk is one piece of a source as it was read.
type Chunk struct {
	Stream    int   // 0 or 1
	Pos, Next int64 // its position, and that of the chunk after it
	Size      int   // bytes, with those left out
	Skipped   int   // left out at its head: committed already
}

// Add notes a chunk.
func (p *Progress) Add(c Chunk) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.Skipped > 0 {
		p.floor[c.Stream] = p.end[c.Stream] + int64(c.Skipped)
	}
	p.pieces = append(p.pieces, piece{c.Pos, p.end, c.Size, c.Stream})
	p.end[c.Stream] += int64(c.Size)
	p.next = c.Next
}

// Place is where a Ruler is, and the stream (0 or 1) of the first byte behind it
// (-1: there is none).
func (p *Progress) Place(r *Ruler) (Place, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r.at = max(r.at, p.first)
	for i, floor := range p.floor {
		r.To[i] = max(r.To[i], floor)
	}
	for ; r.at < p.first+len(p.pieces); r.at++ {
		c := &p.pieces[r.at-p.first]
		if c.before[c.stream]+int64(c.size) > r.To[c.stream] {
			return Place{c.pos, r.behind(c.before)}, c.stream
		}
	}
	return Place{p.next, r.behind(p.end)}, -1
}

// behind is how far the Ruler is beyond some offsets.
func (r *Ruler) behind(from [2]int64) [2]int64 {
	return [2]int64{max(r.To[0]-from[0], 0), max(r.To[1]-from[1], 0)}
}

// Held is how much of the source, as its positions count, is behind a place.
func (p *Progress) Held(from Place) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next - from.Pos
}

// Commit forgets what is before a Ruler.
func (p *Progress) Commit(r *Ruler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.committed = r.To
	p.pieces = p.pieces[max(r.at-p.first, 0):]
	p.first = max(p.first, r.at)
}

// settled says that offsets are committed.
func (p *Progress) settled(to [2]int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.committed[0] >= to[0] && p.committed[1] >= to[1]
}
