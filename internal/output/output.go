package output

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/output/intent"
	"github.com/muster-run/muster/spec"
)

// Source is what a process printed, in order, each byte once. Next blocks until
// there is more; stream is 1 or 2, data is valid until the next call, io.EOF
// follows the last byte of a process that has ended. A Next whose context ends
// loses nothing. Where and Commit are those of process.Output. An Attachment uses
// it from one goroutine (Commit first, perhaps, from that of Attach) and closes it.
type Source interface {
	Next(ctx context.Context) (stream int, data []byte, at time.Time, err error)
	Where() (pos, next int64, skipped int)
	Commit(pos int64, skip [2]int64) error
	Close() error
}

// Options of a Log.
type Options struct {
	// App names the app in every record.
	App string
	// Log rules the target and the sizes; its File is not looked at.
	Log spec.Log
	// File is the absolute path of the log file, for the target file.
	File string
	// Packing of rotated files; nil: they stay as they are.
	Packing Packing
	// Intent is a memory file (NewIntent), kept in a Store that outlives the agent: with it each
	// line is in the log file exactly once however the agent ends, as long as the
	// workers are attached with their ID. What an earlier Log has left there is
	// settled by Open, which takes it over: it is closed with the Log, or when Open
	// fails. nil: none.
	Intent *os.File
	// Warn is told what is wrong with the target, at most once a minute for
	// each cause, from a goroutine of the Log; nil: nobody is.
	Warn func(*fault.Fault)
	// JournalSocket and SyslogSocket are paths of datagram sockets; "":
	// /run/systemd/journal/socket and /dev/log.
	JournalSocket, SyslogSocket string
}

// Log keeps the output of one app. Its methods may be used concurrently.
type Log struct {
	app             string
	packing         Packing
	warns           warner
	journal, syslog string // socket paths

	mu        sync.Mutex
	set       spec.Log
	seq       uint64 // of the last record
	rings     map[int]*ring
	followers map[*Follower]bool
	attached  map[*Attachment]bool
	counts    Counts
	closed    bool
	queue     queue // what the target has not got yet
	view      view  // the log file as far as the queue has been written to it
	ledger    *intent.Ledger
	history   bool // the files hold records from before the Log was opened

	// moving is held while files are renamed or replaced, before mu.
	moving sync.Mutex

	kick   chan struct{} // there is something to write
	orders chan func(*writer)
	quit   chan struct{} // closed by Close
	gone   chan struct{} // closed by the writer
}

// Counts of what a Log has seen since it was opened.
type Counts struct {
	Stdout, Stderr uint64 // records
	Bytes          uint64 // of text
	Lost           uint64 // records that the target did not get
}

// closeTimeout bounds Close: the attachments and the target get this long.
const closeTimeout = 5 * time.Second

// NewIntent makes the file for Options.Intent.
func NewIntent() (*os.File, error) { return intent.New() }

// Open starts a Log. It fails only on a setting that makes no sense; a target
// that is not there yet is a warning, and tried again every second.
func Open(o Options) (*Log, error) {
	build, err := choose(o.Log, o.File)
	if err != nil {
		if o.Intent != nil {
			o.Intent.Close()
		}
		return nil, err
	}
	l := &Log{
		app: o.App, packing: o.Packing, set: bounded(o.Log), journal: o.JournalSocket, syslog: o.SyslogSocket,
		rings: map[int]*ring{}, followers: map[*Follower]bool{}, attached: map[*Attachment]bool{},
		kick: make(chan struct{}, 1), orders: make(chan func(*writer)), quit: newDone(), gone: newDone(),
	}
	l.warns.tell = o.Warn
	l.queue.progress = newDone()
	l.ledger = intent.Open(o.Intent, l.warns.warn) // before the target looks at its file
	if o.Intent != nil && o.Log.Target == spec.LogFile {
		l.refill(o.File)
	}
	w := &writer{log: l, target: build(l)}
	l.view = w.target.view()
	l.history = hasLines(l.view.path, l.packing)
	go w.run()
	return l, nil
}

// hasLines says whether there is anything in a log file or its rotated ones.
func hasLines(path string, packing Packing) bool {
	info, err := os.Stat(path)
	return err == nil && info.Size() > 0 || len(backups(path, packing)) > 0
}

func newDone() chan struct{} { return make(chan struct{}) }

// bounded is the setting with LineMax within its bounds.
func bounded(s spec.Log) spec.Log {
	if s.LineMax <= 0 {
		s.LineMax = lineMaxDefault
	}
	s.LineMax = min(max(s.LineMax, lineMaxLeast), lineMaxMost)
	s.Lines = max(s.Lines, 0)
	return s
}

// choose returns what makes the target of a setting.
func choose(s spec.Log, file string) (func(*Log) target, error) {
	switch s.Target {
	case spec.LogNone:
		return func(*Log) target { return discard{} }, nil
	case spec.LogJournald:
		return func(l *Log) target { return newJournal(l.app, l.journal) }, nil
	case spec.LogSyslog:
		return func(l *Log) target { return newSyslog(l.app, l.syslog) }, nil
	case spec.LogFile:
	default:
		return nil, fault.New(fault.Config, "log target %q is not one of file, journald, syslog, none", s.Target)
	}
	if s.Format != "json" && s.Format != "text" {
		return nil, fault.New(fault.Config, "log format %q is not json or text", s.Format)
	}
	if !filepath.IsAbs(file) {
		return nil, fault.New(fault.Config, "log file %q is no absolute path", file)
	}
	return func(l *Log) target { return newFileTarget(l, s, file) }, nil
}

// Reconfigure changes the setting of a running Log. What was recorded before
// goes to the old target if that works, else to the new one.
func (l *Log) Reconfigure(s spec.Log, file string) error {
	build, err := choose(s, file)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.set = bounded(s)
	for _, r := range l.rings {
		r.shrink(l.set.Lines)
	}
	l.mu.Unlock()
	return l.order(func(w *writer) {
		w.drain()
		l.replace(func() view {
			w.target.close()
			w.target = build(l)
			return w.target.view()
		})
	})
}

// Reopen makes the target open its file or socket anew, e.g. after logrotate
// moved the file. A moved or deleted file is noticed anyway at the next write.
func (l *Log) Reopen() error { return l.order(func(w *writer) { w.target.reopen() }) }

// order has the writer do something between two writes, and waits until it is
// done; a target that stands still in a write makes it fail.
func (l *Log) order(do func(*writer)) error {
	late := time.NewTimer(closeTimeout)
	defer late.Stop()
	done := newDone()
	select {
	case l.orders <- func(w *writer) { defer close(done); do(w) }:
		select {
		case <-done:
			return nil
		case <-late.C:
		}
	case <-l.quit:
		return nil
	case <-late.C:
	}
	return fault.New(fault.LogWrite, "%s: the log stands still", l.app)
}

// Counts returns the counters.
func (l *Log) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Last returns the newest n lines (n < 0: all) that a slot has in memory,
// oldest first, over restarts of its worker. It never waits for a disk.
func (l *Log) Last(slot, n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rings[slot]
	if r == nil {
		return nil
	}
	var lines []string
	for _, e := range r.last(n) {
		lines = append(lines, e.Line)
	}
	return lines
}

// record keeps a batch of records of one slot and returns the place of the last.
func (l *Log) record(ctx context.Context, batch []item) uint64 {
	l.waitForRoom(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range batch {
		e := &batch[i]
		l.seq++
		e.seq = l.seq
		l.ring(e.Slot).add(e.entry, l.set.Lines)
		for f := range l.followers {
			f.offer(e.Record)
		}
		l.enqueue(e)
		l.counts.Bytes += uint64(len(e.Line))
		if e.Record.Stream == stderr {
			l.counts.Stderr++
		} else {
			l.counts.Stdout++
		}
	}
	select {
	case l.kick <- struct{}{}:
	default:
	}
	return l.seq
}

// ring needs l.mu.
func (l *Log) ring(slot int) *ring {
	r := l.rings[slot]
	if r == nil {
		r = &ring{}
		l.rings[slot] = r
	}
	return r
}

// Close ends the attachments (what their sources still hold stays there), writes
// what is recorded, and ends the followers. It may be called twice.
func (l *Log) Close() error {
	deadline := time.NewTimer(closeTimeout)
	defer deadline.Stop()
	l.mu.Lock()
	again := l.closed
	l.closed = true
	var ending []*Attachment
	for a := range l.attached {
		a.cancel()
		ending = append(ending, a)
	}
	l.mu.Unlock()
	var late bool
	for _, a := range ending {
		late = late || !within(a.done, deadline)
	}
	if !again {
		close(l.quit)
	}
	late = late || !within(l.gone, deadline)
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.followers {
		f.end()
	}
	if left := l.queue.len(); left > 0 || late {
		return fault.New(fault.LogWrite, "%s: %d lines could not be written at the end", l.app, left)
	}
	return nil
}

func within(done <-chan struct{}, deadline *time.Timer) bool {
	select {
	case <-done:
		return true
	default:
	}
	select {
	case <-done:
		return true
	case <-deadline.C:
		deadline.Reset(0) // stays expired for the next one
		return false
	}
}
