package processtest

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// fakeOutput is the spool of a fake process: memory only, and one reader.
type fakeOutput struct {
	mu     sync.Mutex
	chunks []fakeChunk
	done   fakePlace // committed
	ended  bool
	reader *fakeReader   // that is open
	wake   chan struct{} // closed and replaced at every change
}

type fakeChunk struct {
	stream int
	data   []byte
	at     time.Time
}

// fakePlace is a place as in process.Output; positions count chunks.
type fakePlace struct {
	pos  int
	skip [2]int64
}

// later is the further one of two places.
func (p fakePlace) later(pos int, skip [2]int64) fakePlace {
	switch {
	case pos > p.pos:
		return fakePlace{pos, skip}
	case pos == p.pos:
		return fakePlace{pos, [2]int64{max(p.skip[0], skip[0]), max(p.skip[1], skip[1])}}
	}
	return p
}

func newFakeOutput() *fakeOutput { return &fakeOutput{wake: make(chan struct{})} }

func (o *fakeOutput) append(stream int, data []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.ended {
		o.chunks = append(o.chunks, fakeChunk{stream, data, time.Now()})
		o.changed()
	}
}

func (o *fakeOutput) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed()
}

// changed wakes the reader; mu is held.
func (o *fakeOutput) changed() {
	close(o.wake)
	o.wake = make(chan struct{})
}

// open gives the spool to a reader, which starts after what was committed.
func (o *fakeOutput) open() (process.Output, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.reader != nil {
		return nil, process.ErrOutputBusy
	}
	o.reader = &fakeReader{o: o, next: o.done}
	return o.reader, nil
}

// release lets another reader open the spool, as after the death of the agent.
func (o *fakeOutput) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reader = nil
}

// fakeReader is a process.Output; the spool's mu guards it.
type fakeReader struct {
	o    *fakeOutput
	next fakePlace
	left int // bytes left out of the last chunk
}

// Next implements process.Output.
func (r *fakeReader) Next(ctx context.Context) (int, []byte, time.Time, error) {
	o := r.o
	for {
		o.mu.Lock()
		if r.next.pos < len(o.chunks) {
			c := o.chunks[r.next.pos]
			r.next.pos++
			skip := &r.next.skip[c.stream-1]
			r.left = min(int(*skip), len(c.data))
			*skip -= int64(r.left)
			data := slices.Clone(c.data[r.left:])
			o.mu.Unlock()
			return c.stream, data, c.at, nil
		}
		ended, wake := o.ended, o.wake
		o.mu.Unlock()
		if ended {
			return 0, nil, time.Time{}, io.EOF
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return 0, nil, time.Time{}, ctx.Err()
		}
	}
}

// Where implements process.Output; positions count chunks.
func (r *fakeReader) Where() (pos, next int64, skipped int) {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	return int64(r.next.pos - 1), int64(r.next.pos), r.left
}

// Commit implements process.Output.
func (r *fakeReader) Commit(pos int64, skip [2]int64) error {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	r.o.done = r.o.done.later(int(pos), skip)
	r.next = r.next.later(int(pos), skip)
	return nil
}

// Close implements process.Output.
func (r *fakeReader) Close() error {
	r.o.mu.Lock()
	defer r.o.mu.Unlock()
	if r.o.reader == r {
		r.o.reader = nil
	}
	return nil
}
