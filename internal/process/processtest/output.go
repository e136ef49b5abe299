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
	next   int // of the reader
	done   int // committed
	ended  bool
	opened bool
	wake   chan struct{} // closed and replaced at every change
}

type fakeChunk struct {
	stream int
	data   []byte
	at     time.Time
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
	if o.opened {
		return nil, process.ErrOutputBusy
	}
	o.opened, o.next = true, o.done
	return o, nil
}

// Next implements process.Output.
func (o *fakeOutput) Next(ctx context.Context) (int, []byte, time.Time, error) {
	for {
		o.mu.Lock()
		if o.next < len(o.chunks) {
			c := o.chunks[o.next]
			o.next++
			o.mu.Unlock()
			return c.stream, slices.Clone(c.data), c.at, nil
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
func (o *fakeOutput) Where() (pos, next int64, skipped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return int64(o.next - 1), int64(o.next), 0
}

// Commit implements process.Output.
func (o *fakeOutput) Commit(pos int64, _ [2]int64) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.done = max(o.done, int(pos))
	return nil
}

// Close implements process.Output.
func (o *fakeOutput) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.opened = false
	return nil
}
