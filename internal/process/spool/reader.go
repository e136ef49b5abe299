package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// Reader reads a spool, each byte once, in the writer's process or another: the
// files itself, and what is on no disk through its Tail. Not safe for concurrent
// use.
type Reader struct {
	dir     string
	tail    Tail
	buffers *sync.Pool

	begun bool  // state and pos are known
	state State // as the Tail told last
	ahead place // was committed before that
	was   int64 // position of the last chunk
	left  int   // how much of it was left out, as it was committed
	pos   int64 // of the next chunk
	// skip is how many bytes of each stream are left out from pos on.
	skip [2]int64

	file  *os.File // the segment that is read; nil: none
	start int64    // position of its first byte
	// buf holds buf[from:to] of the file, which begins at pos; nil while waiting.
	buf      *buffer
	from, to int
	closed   bool
}

// buffer holds more than the largest chunk.
type buffer [chunkMax + 4<<10]byte

// NewBuffers makes the pool of buffers that pipes and spools are read with.
func NewBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return new(buffer) }}
}

// Follow reads the spool that another process keeps in a directory, through a
// Tail to that process; the caller has made sure that it is the only reader. It
// begins at the place that the Tail tells at the first Next. buffers (NewBuffers)
// are shared by many readers.
func Follow(dir string, tail Tail, buffers *sync.Pool) *Reader {
	return &Reader{dir: dir, tail: tail, buffers: buffers}
}

// Reader opens the spool for reading from the committed place.
func (s *Spool) Reader() (*Reader, error) {
	if err := s.Reading(true); err != nil {
		return nil, err
	}
	return Follow(s.dir, local{s}, s.buffers), nil
}

// Next blocks until there is more, and returns io.EOF after the last byte. data
// is valid until the next call; it is empty for a chunk that is committed though
// the one before it is not. Once a Tail fails, its error is returned.
func (r *Reader) Next(ctx context.Context) (int, []byte, time.Time, error) {
	for {
		if r.closed {
			return 0, nil, time.Time{}, os.ErrClosed
		}
		if r.begun {
			r.was = r.pos
			c, ok, err := r.look()
			if err != nil {
				return 0, nil, time.Time{}, err
			}
			if ok {
				return c.stream, r.cut(c), c.at, nil
			}
		}
		if err := r.wait(ctx); err != nil {
			return 0, nil, time.Time{}, err
		}
	}
}

// wait asks the Tail for what there is behind pos.
func (r *Reader) wait(ctx context.Context) error {
	r.drop()
	r.state.Held = nil
	pos := r.pos
	if !r.begun {
		pos = -1
	}
	st, err := r.tail.Wait(ctx, pos)
	if err != nil {
		return err
	}
	r.state = st
	if r.begun {
		return nil
	}
	to := st.End
	if n := len(st.Held); n > 0 {
		to = st.Held[n-1].end()
	}
	p := place{st.Committed, st.Skip}.later(r.ahead.within(0, to))
	r.begun, r.pos, r.skip = true, p.pos, p.skip
	return nil
}

// cut leaves out what is committed of a chunk.
func (r *Reader) cut(c chunk) []byte {
	skip := &r.skip[c.stream-1]
	n := min(*skip, int64(len(c.data)))
	*skip -= n
	r.left = int(n)
	return c.data[n:]
}

// look returns the next chunk, or io.EOF, or nothing as long as more may come.
func (r *Reader) look() (c chunk, ok bool, err error) {
	for r.pos < r.state.End {
		if c, ok, err = r.read(); ok || err != nil {
			return c, ok, err
		}
		r.was = r.pos // a place without data was passed
	}
	for _, h := range r.state.Held {
		if h.Pos >= r.pos {
			r.was = h.Pos
			r.seek(h.end())
			return chunk{stream: h.Stream, at: h.Time, data: h.Data}, true, nil
		}
	}
	if r.state.Over {
		return c, false, io.EOF
	}
	return c, false, nil
}

// seek makes pos the next place; what is buffered of another one is dropped.
func (r *Reader) seek(pos int64) {
	if pos != r.pos {
		r.pos, r.from, r.to = pos, 0, 0
	}
}

// read returns the chunk at pos from a segment; false: there was none, and pos
// has moved on.
func (r *Reader) read() (chunk, bool, error) {
	if r.file == nil || r.to == r.from {
		// The segment that is open may be at its end: the next one begins at pos.
		if err := r.open(); err != nil || r.file == nil {
			return chunk{}, false, err
		}
	}
	n, err := need(r.buffered())
	for err == nil && r.to-r.from < n {
		before := r.to - r.from
		r.fill()
		if r.to-r.from == before {
			err = errTorn
			break
		}
		n, err = need(r.buffered())
	}
	var c chunk
	if err == nil {
		c, err = decodeChunk(r.buf[r.from : r.from+n])
	}
	if err != nil {
		return chunk{}, false, r.pass(r.start)
	}
	r.from += n
	r.pos += int64(n)
	return c, true, nil
}

func (r *Reader) buffered() []byte {
	if r.buf == nil {
		return nil
	}
	return r.buf[r.from:r.to]
}

// fill reads on, as far as the spool is written and the buffer holds.
func (r *Reader) fill() {
	if r.buf == nil {
		r.buf = r.buffers.Get().(*buffer)
	}
	if r.from > 0 {
		r.to = copy(r.buf[:], r.buf[r.from:r.to])
		r.from = 0
	}
	offset := r.pos - r.start + int64(r.to)
	space := min(int64(len(r.buf)-r.to), r.state.End-r.start-offset)
	if space <= 0 {
		return
	}
	n, _ := r.file.ReadAt(r.buf[r.to:r.to+int(space)], offset)
	r.to += n
}

// open has the segment open that holds pos. Without one pos moves to the next.
func (r *Reader) open() error {
	if r.file != nil && r.holds(r.file, r.start) {
		return nil
	}
	r.closeFile()
	f, err := os.Open(segmentPath(r.dir, r.pos)) // nearly always
	if err == nil {
		r.file, r.start = f, r.pos
		return nil
	}
	starts, err := segmentStarts(r.dir)
	if err != nil {
		return err
	}
	i, _ := slices.BinarySearch(starts, r.pos+1)
	if i == 0 {
		return r.pass(r.pos)
	}
	f, err = os.Open(segmentPath(r.dir, starts[i-1]))
	if errors.Is(err, fs.ErrNotExist) {
		return r.pass(r.pos) // it was committed: the writer has just removed it
	}
	if err != nil {
		return err
	}
	if !r.holds(f, starts[i-1]) {
		f.Close()
		return r.pass(r.pos)
	}
	r.file, r.start = f, starts[i-1]
	return nil
}

// holds says whether a segment goes on behind pos.
func (r *Reader) holds(f *os.File, start int64) bool {
	info, err := f.Stat()
	return err == nil && info.Size() > r.pos-start
}

// pass goes on with the first segment that begins behind start, or with what
// will be written next.
func (r *Reader) pass(start int64) error {
	r.closeFile()
	starts, err := segmentStarts(r.dir)
	if err != nil {
		return err
	}
	next := r.state.End
	if i, _ := slices.BinarySearch(starts, max(start+1, r.pos)); i < len(starts) {
		next = min(next, starts[i])
	}
	r.seek(next)
	return nil
}

// segmentStarts lists the segments in a directory by the position of their first
// byte, ascending. A directory that is not there has none.
func segmentStarts(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var starts []int64
	for _, e := range entries {
		if start, ok := parseSegment(e.Name()); ok {
			starts = append(starts, start)
		}
	}
	slices.Sort(starts)
	return starts, nil
}

// drop gives the buffer back: a reader that waits costs no memory.
func (r *Reader) drop() {
	if r.buf != nil {
		r.buffers.Put(r.buf)
	}
	r.buf, r.from, r.to = nil, 0, 0
}

func (r *Reader) closeFile() {
	if r.file != nil {
		r.file.Close()
		r.file = nil
	}
	r.from, r.to = 0, 0
}

// Where implements process.Output.
func (r *Reader) Where() (pos, next int64, skipped int) { return r.was, r.pos, r.left }

// Commit implements process.Output. A place that lies beyond pos moves the
// reader; so does one at pos that skips more.
func (r *Reader) Commit(pos int64, skip [2]int64) error {
	p := place{pos, skip}
	switch {
	case !r.begun:
		r.ahead = r.ahead.later(p)
	case pos >= r.pos:
		p = place{r.pos, r.skip}.later(p)
		r.seek(p.pos)
		r.skip = p.skip
	}
	return r.tail.Commit(pos, skip)
}

// Close ends the reading; the spool can be opened for reading again.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.closeFile()
	r.drop()
	return r.tail.Close()
}

// segmentPath is the name of a segment.
func segmentPath(dir string, start int64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", start, segmentSuffix))
}
