package output

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

const (
	// queueBytes bounds what waits in memory for a target.
	queueBytes = 4 << 20
	// retryEvery is how often a target that failed is tried again.
	retryEvery = time.Second
	// patience is how long a target may fail or stand still before the sources
	// are committed without it.
	patience = time.Second
	// entryBytes is what a record costs besides its text.
	entryBytes = 128
)

// target is where records go besides memory. Only the writer uses it.
type target interface {
	// write records the first entries of a list (at least one, or err says why
	// not) and returns how many.
	write(list []item) (done int, err error)
	// view is the file for readers; zero where there is none.
	view() view
	// reopen makes the next write open the file or socket anew.
	reopen()
	close()
}

// view is an open log file up to the end of the last record that is wholly in
// it. path is "" where there is nothing to read back; file may be nil.
type view struct {
	path string
	file *os.File
	size int64
}

// discard is the target "none".
type discard struct{}

func (discard) write(list []item) (int, error) { return len(list), nil }
func (discard) view() view                     { return view{} }
func (discard) reopen()                        {}
func (discard) close()                         {}

// queue holds what is not written yet. It is part of Log and guarded by its mu.
type queue struct {
	flying  []item // the writer is at these
	waiting []item
	bytes   int    // of both
	written uint64 // seq of the last record that is written

	err      error         // why the target fails; nil: it works
	since    time.Time     // it fails since
	moved    time.Time     // last progress
	progress chan struct{} // closed and replaced at each progress or failure

	dropping bool
	lost     int   // dropped since the last notice
	why      error // err at that time; nil: the target stood still
}

func (q *queue) len() int { return len(q.flying) + len(q.waiting) }

// stands says whether the target fails, or has not moved for too long.
func (q *queue) stands() bool {
	return q.err != nil || len(q.flying) > 0 && time.Since(q.moved) > patience
}

// hopeless says whether it has stood for so long that nobody waits for it.
func (q *queue) hopeless() bool {
	if q.err != nil {
		return time.Since(q.since) > patience
	}
	return q.stands()
}

func (q *queue) push(e *item) {
	q.waiting = append(q.waiting, *e)
	q.bytes += len(e.Line) + entryBytes
}

func (q *queue) step() {
	close(q.progress)
	q.progress = make(chan struct{})
}

// enqueue needs l.mu. While the target stands, what does not fit is dropped, and
// goes on being dropped until half of the queue is free.
func (l *Log) enqueue(e *item) {
	q := &l.queue
	full := q.bytes > queueBytes || q.dropping && q.bytes > queueBytes/2
	if full && q.stands() {
		q.dropping = true
		q.lost++
		q.why = q.err
		l.counts.Lost++
		return
	}
	q.dropping = false
	l.pushNotice()
	q.push(e)
}

// pushNotice needs l.mu. It puts "12 lines lost" where the lines are missing.
func (l *Log) pushNotice() {
	if l.queue.lost == 0 {
		return
	}
	why := "the log stood still"
	var errno syscall.Errno
	if errors.As(l.queue.why, &errno) {
		why = errno.Error()
	} else if l.queue.why != nil {
		why = l.queue.why.Error()
	}
	l.queue.push(&item{entry: entry{0, l.notice(fmt.Sprintf("%d lines lost: %s", l.queue.lost, why))}})
	l.queue.lost = 0
}

// notice is a record about the app itself.
func (l *Log) notice(text string) api.Record {
	return api.Record{Time: time.Now(), App: l.app, Slot: -1, Stream: stderr, Line: "muster: " + text}
}

// waitForRoom returns once there is room in the queue, or no use in waiting.
func (l *Log) waitForRoom(ctx context.Context) {
	l.wait(ctx, func(q *queue) bool { return q.bytes <= queueBytes || q.stands() })
}

// waitWritten waits until a record is written, or there is no use in waiting: then
// its source may be committed, if it must.
func (l *Log) waitWritten(ctx context.Context, seq uint64) (written, hopeless bool) {
	l.wait(ctx, func(q *queue) bool {
		written, hopeless = q.written >= seq, q.hopeless()
		return written || hopeless || q.err != nil
	})
	return written, hopeless
}

// wait returns when the queue is as wanted or ctx has ended.
func (l *Log) wait(ctx context.Context, wanted func(*queue) bool) {
	var tick *time.Timer
	for {
		l.mu.Lock()
		ok, progress := wanted(&l.queue), l.queue.progress
		l.mu.Unlock()
		if ok {
			return
		}
		if tick == nil {
			tick = time.NewTimer(patience)
			defer tick.Stop()
		}
		select {
		case <-progress:
		case <-tick.C: // time alone may have made the difference
			tick.Reset(patience)
		case <-ctx.Done():
			return
		}
	}
}

// writer is the goroutine that owns the target. It ends with Log.quit.
type writer struct {
	log    *Log
	target target
}

func (w *writer) run() {
	defer close(w.log.gone)
	retry := time.NewTicker(retryEvery)
	defer retry.Stop()
	for {
		select {
		case <-w.log.kick:
			if !w.fails() {
				w.drain()
			}
		case <-retry.C:
			if w.fails() {
				w.drain()
			}
		case do := <-w.log.orders:
			do(w)
			w.drain()
		case <-w.log.quit:
			w.drain()
			w.log.replace(w.bury)
			w.log.ledger.Close()
			return
		}
	}
}

// bury ends the target; its file stays readable by its path.
func (w *writer) bury() view {
	v := w.target.view()
	w.target.close()
	return view{path: v.path}
}

func (w *writer) fails() bool {
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	return w.log.queue.err != nil
}

// drain writes until the queue is empty or the target fails.
func (w *writer) drain() {
	for {
		list := w.log.take()
		if len(list) == 0 {
			return
		}
		done, err := w.target.write(list)
		for i := range list[:done] {
			w.log.ledger.Done(list[i].Mark)
		}
		w.log.done(done, err, w.target.view())
		if err != nil {
			w.log.warns.warn(fault.New(fault.LogWrite, "the log of %s cannot be written: %w", w.log.app, err))
			return
		}
	}
}

// take moves what waits into the writer's hands.
func (l *Log) take() []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.queue
	if len(q.flying) == 0 {
		if len(q.waiting) == 0 {
			l.pushNotice()
		}
		q.flying, q.waiting = q.waiting, nil
		q.moved = time.Now()
	}
	return q.flying
}

// done takes the first n entries off the queue and shows readers the file as it
// is then.
func (l *Log) done(n int, err error, v view) {
	l.mu.Lock()
	defer l.mu.Unlock()
	q := &l.queue
	for i := range q.flying[:n] {
		q.bytes -= len(q.flying[i].Line) + entryBytes
		q.written = max(q.written, q.flying[i].seq)
	}
	q.flying = q.flying[n:]
	if n > 0 {
		q.moved = time.Now()
	}
	if err != nil && q.err == nil {
		q.since = time.Now()
	}
	q.err = err
	l.view = v
	q.step()
}

// replace changes the log file, so that readers see either the old or the new
// state of directory and view.
func (l *Log) replace(change func() view) {
	l.moving.Lock()
	defer l.moving.Unlock()
	v := change()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.view = v
}

// warner passes faults on, each cause at most once a minute.
type warner struct {
	tell func(*fault.Fault)
	mu   sync.Mutex
	last map[string]time.Time
}

func (w *warner) warn(f *fault.Fault) {
	if w.tell == nil {
		return
	}
	cause := f.Text
	var errno syscall.Errno
	if errors.As(f.Err, &errno) {
		cause = errno.Error()
	}
	w.mu.Lock()
	known := time.Since(w.last[cause]) < time.Minute
	if !known {
		if w.last == nil || len(w.last) >= 16 {
			w.last = map[string]time.Time{}
		}
		w.last[cause] = time.Now()
	}
	w.mu.Unlock()
	if !known {
		w.tell(f)
	}
}
