package spool

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"
)

// Reader reads a spool, each byte once. Not safe for concurrent use.
type Reader struct {
	s    *Spool
	was  int64 // position of the last chunk
	pos  int64 // of the next chunk
	file *os.File
	at   segment // what file is; its size may be stale
	// buf holds buf[from:to] of the file, which begins at pos; nil while waiting.
	buf      *buffer
	from, to int
	closed   bool
}

// ErrBusy is the answer for a second reader.
var ErrBusy = errors.New("the output has a reader already")

// buffer holds more than the largest chunk.
type buffer [chunkMax + 4<<10]byte

// Read reads what an ended agent has left in a spool directory: from the
// committed position to the last whole chunk, then io.EOF. No Starter may be
// writing there.
func Read(dir string) (*Reader, error) {
	if _, err := os.Stat(dir); err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, closed: true, buffers: NewBuffers()}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s.Reader()
}

// NewBuffers makes the pool of buffers that pipes and spools are read with.
func NewBuffers() *sync.Pool {
	return &sync.Pool{New: func() any { return new(buffer) }}
}

// Reader opens the spool for reading from the committed position.
func (s *Spool) Reader() (*Reader, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reading {
		return nil, ErrBusy
	}
	s.reading = true
	return &Reader{s: s, pos: s.committed}, nil
}

// Next blocks until there is more, and returns io.EOF after the last byte. data
// is valid until the next call.
func (r *Reader) Next(ctx context.Context) (int, []byte, time.Time, error) {
	for {
		if r.closed {
			return 0, nil, time.Time{}, os.ErrClosed
		}
		r.was = r.pos
		c, ok, wait, err := r.look()
		switch {
		case err != nil:
			return 0, nil, time.Time{}, err
		case ok:
			return c.stream, c.data, c.at, nil
		case wait == nil:
			continue // a place without data was passed
		}
		r.drop()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, nil, time.Time{}, ctx.Err()
		}
	}
}

// look returns the next chunk, or what to wait for, or io.EOF.
func (r *Reader) look() (c chunk, ok bool, wait <-chan struct{}, err error) {
	s := r.s
	s.mu.Lock()
	if r.pos < s.end {
		g := s.segmentAt(r.pos)
		r.seek(max(r.pos, g.start))
		end := s.end
		s.mu.Unlock()
		if g.size == 0 || r.pos >= g.end() {
			r.seek(end) // what was between is not there any more
			return c, false, nil, nil
		}
		c, ok, err = r.read(g)
		return c, ok, nil, err
	}
	defer s.mu.Unlock()
	at := s.end
	for _, c := range s.queue {
		if at >= r.pos {
			r.seek(at + c.size())
			return c, true, nil, nil
		}
		at += c.size()
	}
	if s.closed {
		return c, false, nil, io.EOF
	}
	return c, false, s.changed(), nil
}

// segmentAt finds the segment that holds a position, or the first one after it;
// mu is held.
func (s *Spool) segmentAt(pos int64) segment {
	for _, g := range s.segments {
		if pos < g.end() {
			return g
		}
	}
	return segment{}
}

// seek makes pos the next place; what is buffered of another one is dropped.
func (r *Reader) seek(pos int64) {
	if pos != r.pos {
		r.pos, r.from, r.to = pos, 0, 0
	}
}

// read returns the chunk at pos from a segment. Damage ends the segment.
func (r *Reader) read(g segment) (chunk, bool, error) {
	if r.file == nil || r.at.start != g.start {
		r.closeFile()
		f, err := os.Open(r.s.path(g.start))
		if err != nil {
			return chunk{}, false, err
		}
		r.file = f
	}
	r.at = g
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
		r.seek(g.end())
		return chunk{}, false, nil
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

// fill reads on, as far as the segment goes and the buffer holds.
func (r *Reader) fill() {
	if r.buf == nil {
		r.buf = r.s.buffers.Get().(*buffer)
	}
	if r.from > 0 {
		r.to = copy(r.buf[:], r.buf[r.from:r.to])
		r.from = 0
	}
	offset := r.pos - r.at.start + int64(r.to)
	space := min(int64(len(r.buf)-r.to), r.at.size-offset)
	if space <= 0 {
		return
	}
	n, _ := r.file.ReadAt(r.buf[r.to:r.to+int(space)], offset)
	r.to += n
}

// drop gives the buffer back: a reader that waits costs no memory.
func (r *Reader) drop() {
	if r.buf != nil {
		r.s.buffers.Put(r.buf)
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
func (r *Reader) Where() (pos, next int64, skipped int) { return r.was, r.pos, 0 }

// Commit says that all before pos is recorded elsewhere.
func (r *Reader) Commit(pos int64, _ [2]int64) error { return r.s.commit(pos) }

// Close ends the reading; the spool can be opened for reading again.
func (r *Reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.closeFile()
	r.drop()
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	if s.forgotten {
		s.remove()
	}
	return nil
}
