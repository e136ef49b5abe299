package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output/form"
	"github.com/muster-run/muster/internal/output/intent"
)

const (
	// commitEvery is how long a source waits for its commit; commitBytes how
	// much it may have given in that time.
	commitEvery = 20 * time.Millisecond
	commitBytes = 256 << 10
	// heldBytes of a source may wait behind an unfinished line before that is
	// recorded as far as it goes, or for a target that fails before they are committed
	// all the same. A spool holds twice as much.
	heldBytes = 4 << 20

	stdout, stderr = form.Stdout, form.Stderr
)

// tailLines is how many lines of its own a process keeps: the memory of its slot
// is shared, and in a reload the old worker may print far more than the new one
// that fails.
const tailLines = 20

// Worker is the process that a source belongs to.
type Worker struct {
	// ID names the source over the lives of agents (the process's ID); "": none.
	ID        string
	Slot, PID int
	// Adopted: the process was started under an earlier agent, so that the log
	// file may hold lines of it (for Last).
	Adopted bool
}

// Attachment is one process's output on its way into the Log.
type Attachment struct {
	log    *Log
	worker Worker
	src    Source
	onLine func(api.Record)
	cancel context.CancelFunc
	done   chan struct{}
	err    atomic.Pointer[fault.Fault]

	tailMu sync.Mutex
	tail   []string // the last lines, at most tailLines

	// Owned by run.
	lines     [2]splitter // stdout, stderr
	batch     []item
	seq       uint64    // of its last record
	open      int       // bytes given by the source since the last commit
	ripe      time.Time // when they are committed; zero: not before there are more
	at        time.Time // of the last bytes
	progress  *intent.Progress
	recorded  intent.Ruler // the lines that are records
	committed intent.Place
	kept      int64 // from where on the source keeps its bytes; -1: nothing was read
}

// Attach reads a source to its end in a goroutine of its own, records its lines
// and closes it. onLine (nil: none) gets every record, in order; it must not
// block. When ctx or the Log ends before, what is not recorded stays uncommitted
// in the source. A source that an earlier Log has read begins where the records
// of that end, as the Intent tells by the worker's ID.
func (l *Log) Attach(ctx context.Context, w Worker, src Source, onLine func(api.Record)) *Attachment {
	ctx, cancel := context.WithCancel(ctx)
	a := &Attachment{
		log: l, worker: w, src: src, onLine: onLine, cancel: cancel, done: newDone(),
		progress: intent.NewProgress(w.ID), committed: intent.Place{Pos: -1}, kept: -1,
	}
	a.resume()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		cancel()
		src.Close()
		close(a.done)
		return a
	}
	l.attached[a] = true
	go a.run(ctx)
	return a
}

// resume moves the source behind what an earlier Log has recorded of it, and
// finds the last lines of it.
func (a *Attachment) resume() {
	if p, ok := a.log.ledger.Take(a.worker.ID); ok {
		if err := a.src.Commit(p.Pos, p.Skip); err != nil {
			a.log.warns.warn(fault.New(fault.LogWrite, "output of %s cannot be committed: %w", a.name(), err))
		}
		a.log.ledger.Forget(a.worker.ID)
	}
	if !a.worker.Adopted {
		return
	}
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	if r := a.log.rings[a.worker.Slot]; r != nil {
		for _, e := range r.all() {
			if e.PID == a.worker.PID || e.PID == 0 { // a text file does not tell
				a.tail = append(a.tail, e.Line)
			}
		}
		a.tail = slices.Clone(a.tail[max(0, len(a.tail)-tailLines):])
	}
}

// Done is closed once everything up to the end of the source is recorded (or
// ctx has ended).
func (a *Attachment) Done() <-chan struct{} { return a.done }

// Err says why the source could not be read to its end; nil: it was, or is still read.
func (a *Attachment) Err() error {
	if f := a.err.Load(); f != nil {
		return f
	}
	return nil
}

// Last returns the newest lines that the process printed, oldest first, at most
// 20. Safe for concurrent use.
func (a *Attachment) Last() []string {
	a.tailMu.Lock()
	defer a.tailMu.Unlock()
	return slices.Clone(a.tail)
}

func (a *Attachment) remember(batch []item) {
	a.tailMu.Lock()
	defer a.tailMu.Unlock()
	for _, e := range batch[max(0, len(batch)-tailLines):] {
		a.tail = append(a.tail, e.Line)
	}
	a.tail = slices.Delete(a.tail, 0, max(0, len(a.tail)-tailLines))
}

func (a *Attachment) run(ctx context.Context) {
	defer close(a.done)
	defer a.forget()
	defer a.src.Close()
	tick := ticker{}
	defer tick.stop()
	for {
		now := tick.until(ctx, a.ripe)
		stream, data, at, err := a.src.Next(now)
		switch {
		case err == nil:
			a.take(ctx, stream, data, at)
		case errors.Is(err, io.EOF):
			a.finish(ctx)
			return
		case ctx.Err() != nil:
			a.leave(ctx)
			return
		case now.Err() != nil: // nothing more at hand
		default:
			a.fail(ctx, err)
			return
		}
		if a.open >= commitBytes || !a.ripe.IsZero() && !time.Now().Before(a.ripe) {
			a.commit(ctx)
		}
	}
}

// ticker keeps one context per deadline, however many reads share it.
type ticker struct {
	ctx      context.Context
	deadline time.Time
	cancel   context.CancelFunc
}

// until is ctx with a deadline; zero: ctx itself.
func (t *ticker) until(ctx context.Context, deadline time.Time) context.Context {
	if deadline.IsZero() {
		return ctx
	}
	if t.ctx == nil || !t.deadline.Equal(deadline) {
		t.stop()
		t.ctx, t.cancel = context.WithDeadline(ctx, deadline)
		t.deadline = deadline
	}
	return t.ctx
}

func (t *ticker) stop() {
	if t.cancel != nil {
		t.cancel()
	}
}

func (a *Attachment) forget() {
	a.log.mu.Lock()
	defer a.log.mu.Unlock()
	delete(a.log.attached, a)
	a.cancel()
}

// take records the lines in some bytes.
func (a *Attachment) take(ctx context.Context, stream int, data []byte, at time.Time) {
	if a.ripe.IsZero() {
		a.ripe = time.Now().Add(commitEvery)
	}
	a.open += len(data)
	a.at = at
	i := stream - 1
	if i != 1 {
		i = 0
	}
	pos, next, skipped := a.src.Where()
	if a.kept < 0 {
		a.kept = pos
	}
	a.progress.Add(intent.Chunk{Stream: i, Pos: pos, Next: next, Size: skipped + len(data), Skipped: skipped})
	a.recorded.To[i] += int64(skipped)
	a.lines[i].feed(data, a.log.lineMax(), a.yield(i))
	a.makeRoom()
	a.flush(ctx)
}

// makeRoom records an unfinished line as far as it goes, when too much waits
// behind it: the source keeps all from its first byte on.
func (a *Attachment) makeRoom() {
	for range a.lines {
		place, i := a.progress.Place(&a.recorded)
		if i < 0 || a.progress.Held(place) < heldBytes {
			return
		}
		a.lines[i].cut(a.log.lineMax(), a.yield(i))
	}
}

// yield adds lines of a stream to the batch.
func (a *Attachment) yield(i int) lineFunc {
	stream := stdout
	if i == 1 {
		stream = stderr
	}
	return func(line string, cut bool, used int) {
		a.recorded.To[i] += int64(used)
		r := api.Record{
			Time: a.at, App: a.log.app, Slot: a.worker.Slot, PID: a.worker.PID,
			Stream: stream, Line: line, Cut: cut,
		}
		a.batch = append(a.batch, item{entry{0, r}, intent.Mark{Source: a.progress, Stream: i, End: a.recorded.To[i]}})
	}
}

// flush records the batch.
func (a *Attachment) flush(ctx context.Context) {
	if len(a.batch) == 0 {
		return
	}
	a.remember(a.batch)
	a.seq = a.log.record(ctx, a.batch)
	if a.onLine != nil {
		for i := range a.batch {
			a.onLine(a.batch[i].Record)
		}
	}
	clear(a.batch)
	a.batch = a.batch[:0]
}

// commit commits the source as far as its lines are written, and else tries
// again soon. Of an unfinished line, which is nowhere else yet, it keeps all.
func (a *Attachment) commit(ctx context.Context) {
	a.ripe = time.Now().Add(5 * commitEvery)
	written, hopeless := a.log.waitWritten(ctx, a.seq)
	// As long as the source has room, it is the better place: memory ends with the
	// agent.
	if written || hopeless && a.progress.Held(intent.Place{Pos: a.kept}) >= heldBytes {
		a.tryCommit()
	}
}

func (a *Attachment) tryCommit() {
	p, _ := a.progress.Place(&a.recorded)
	if p != a.committed {
		if err := a.src.Commit(p.Pos, p.Skip); err != nil {
			a.log.warns.warn(fault.New(fault.LogWrite, "output of %s cannot be committed: %w", a.name(), err))
			return
		}
		a.committed, a.kept = p, p.Pos
		a.progress.Commit(&a.recorded)
	}
	a.open, a.ripe = 0, time.Time{}
}

// finish records the unfinished lines at the end of the source.
func (a *Attachment) finish(ctx context.Context) {
	a.takeRest(ctx)
	for {
		if written, hopeless := a.log.waitWritten(ctx, a.seq); written || hopeless {
			break
		}
		if !a.pause(ctx) {
			return
		}
	}
	a.tryCommit()
}

func (a *Attachment) takeRest(ctx context.Context) {
	for i := range a.lines {
		a.lines[i].rest(a.log.lineMax(), a.yield(i))
	}
	a.flush(ctx)
}

// pause waits a moment; false when ctx has ended.
func (a *Attachment) pause(ctx context.Context) bool {
	select {
	case <-time.After(commitEvery):
		return true
	case <-ctx.Done():
		return false
	}
}

// leave ends before the source does: the next reader finds what is not
// committed, an unfinished line from its beginning.
func (a *Attachment) leave(ctx context.Context) {
	if a.open == 0 {
		return
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if written, _ := a.log.waitWritten(last, a.seq); written {
		a.tryCommit()
	}
}

// fail ends after an error of the source.
func (a *Attachment) fail(ctx context.Context, err error) {
	a.takeRest(ctx)
	f := fault.New(fault.LogWrite, "output of %s cannot be read: %w", a.name(), err)
	a.err.Store(f)
	if fault.CodeOf(err) != fault.KeeperLost { // then all ends, and is told as that
		a.log.warns.warn(f)
	}
}

func (a *Attachment) name() string {
	return fmt.Sprintf("%s#%d (pid %d)", a.log.app, a.worker.Slot, a.worker.PID)
}

func (l *Log) lineMax() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.set.LineMax)
}
