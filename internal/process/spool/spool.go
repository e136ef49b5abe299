package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// segmentMax is the size at which a new segment file is begun.
	segmentMax = 512 << 10
	// segmentDrop is the size from which a segment is removed as soon as all of
	// it is committed, though it is the last.
	segmentDrop = 64 << 10
	// queueMax bounds what is kept in memory while the disk takes nothing.
	queueMax = 256 << 10
	// retryEvery is the pause between two tries to write what is in memory.
	retryEvery = 250 * time.Millisecond
	// DefaultMax is a fair limit for Open, in bytes.
	DefaultMax = 8 << 20

	segmentSuffix = ".spool"
	positionFile  = "position"
)

// Spool is what a process printed and nobody has recorded elsewhere yet: a
// logical log, whose positions count from the first byte ever written. Its
// files are named by the position of their first byte; chunks that the disk
// would not take stand after them in memory.
type Spool struct {
	dir     string
	max     int64 // of bytes not committed
	buffers *sync.Pool
	over    chan struct{} // closed after the last byte has come

	mu        sync.Mutex
	wake      chan struct{} // closed at the next change; nil: nobody waits
	watcher   func()        // called at every change; nil: nobody watches
	segments  []segment     // ascending
	file      *os.File      // the last segment; nil: the next chunk begins one
	end       int64         // after the last chunk on disk
	queue     []chunk       // not on disk: their positions follow end
	queued    int64         // their size
	retry     *time.Timer   // set while queue is not empty
	committed int64
	skip      [2]int64 // of each stream, behind committed
	lastData  time.Time
	pipes     []*os.File // read ends that are open
	ending    bool       // read what is in the pipes, then no more
	closed    bool       // nothing will be added
	reading   bool       // a reader is open
	stopped   bool       // close was called
	forgotten bool       // remove the files once no reader is open
	writeErr  error      // of the last write; nil when it succeeded
}

// segment is one file.
type segment struct{ start, size int64 }

func (g segment) end() int64 { return g.start + g.size }

// Open begins, or continues, the spool in a directory.
func Open(dir string, limit int64, buffers *sync.Pool) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &Spool{dir: dir, max: limit, buffers: buffers, over: make(chan struct{})}
	if err := s.load(); err != nil {
		return nil, err
	}
	if err := s.savePosition(); err != nil {
		return nil, err
	}
	return s, nil
}

// load finds what an earlier writer has left.
func (s *Spool) load() error {
	starts, err := segmentStarts(s.dir)
	if err != nil {
		return err
	}
	for _, start := range starts {
		g := segment{start: start}
		if g.size, err = wholeSize(s.path(start)); err != nil {
			return err
		}
		s.segments = append(s.segments, g)
	}
	p := s.loadPosition()
	s.end = p.pos
	if n := len(s.segments); n > 0 {
		s.end = s.segments[n-1].end()
		p = p.within(s.segments[0].start, s.end)
	}
	s.committed, s.skip = p.pos, p.skip
	return nil
}

// wholeSize is the size of a segment up to its last whole chunk: a writer that
// was killed may have left a part of one.
func wholeSize(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	whole := 0
	for {
		n, err := need(text[whole:])
		if err != nil || whole+n > len(text) {
			return int64(whole), nil
		}
		if _, err := decodeChunk(text[whole : whole+n]); err != nil {
			return int64(whole), nil
		}
		whole += n
	}
}

func (s *Spool) path(start int64) string { return segmentPath(s.dir, start) }

// parseSegment reads the position of a segment's first byte from its name.
func parseSegment(name string) (start int64, ok bool) {
	text, ok := strings.CutSuffix(name, segmentSuffix)
	start, err := strconv.ParseInt(text, 16, 64)
	return start, ok && err == nil && start >= 0 && len(text) == 16
}

// Over is closed after the last byte has come.
func (s *Spool) Over() <-chan struct{} { return s.over }

// change wakes whoever waits; mu is held.
func (s *Spool) change() {
	if s.wake != nil {
		close(s.wake)
		s.wake = nil
	}
	if s.watcher != nil {
		s.watcher()
	}
}

// changed returns what is closed at the next change; mu is held.
func (s *Spool) changed() <-chan struct{} {
	if s.wake == nil {
		s.wake = make(chan struct{})
	}
	return s.wake
}

// Pipe makes the pipe for a stream, for a process of a user (-1: ours). The write end is the process's: the caller
// closes it; the read end is read from when start is called.
func (s *Spool) Pipe(stream int, uid int) (write *os.File, start func(), err error) {
	read, write, err := NewPipe()
	if err != nil {
		return nil, nil, err
	}
	GivePipe(write, uid)
	s.mu.Lock()
	s.pipes = append(s.pipes, read)
	s.mu.Unlock()
	return write, func() { go s.pump(stream, read) }, nil
}

// NewPipe makes a pipe whose read end waits in the runtime's poller. Its write
// end is blocking, as a program expects of its stdout (os.Pipe's is not).
func NewPipe() (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "|0"), os.NewFile(uintptr(fds[1]), "|1"), nil
}

// GivePipe makes a user own a pipe, so that it may open /dev/stdout by name.
// Where that is not possible, it is not needed.
func GivePipe(write *os.File, uid int) {
	if uid >= 0 {
		_ = write.Chown(uid, -1)
	}
}

// pump reads one pipe to its end, or until Finish.
func (s *Spool) pump(stream int, read *os.File) {
	defer s.pipeDone(read)
	for s.room() {
		if !s.readPipe(stream, read) {
			return
		}
	}
	for left := s.piped(read); left > 0; {
		n := s.drainPipe(stream, read)
		if n <= 0 {
			return
		}
		left -= n
	}
}

// room blocks while too much waits to be committed or to be written. false:
// Finish was called.
func (s *Spool) room() bool {
	for {
		s.mu.Lock()
		if s.ending {
			s.mu.Unlock()
			return false
		}
		if s.end+s.queued-s.committed < s.max && s.queued < queueMax {
			s.mu.Unlock()
			return true
		}
		changed := s.changed()
		s.mu.Unlock()
		<-changed
	}
}

// readPipe waits for data and takes it; a buffer is in use only meanwhile.
// false: the end of the pipe.
func (s *Spool) readPipe(stream int, read *os.File) bool {
	raw, err := read.SyscallConn()
	if err != nil {
		return false
	}
	open := false
	err = raw.Read(func(fd uintptr) bool {
		n, again := s.take(stream, int(fd))
		open = n > 0
		return !again
	})
	return open || errors.Is(err, os.ErrDeadlineExceeded) // finish woke it
}

// piped is how many bytes a pipe holds. No more are drained: a stranger that has
// it may go on writing for ever.
func (s *Spool) piped(read *os.File) (n int) {
	raw, err := read.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	return n
}

// drainPipe takes what is there without waiting.
func (s *Spool) drainPipe(stream int, read *os.File) (n int) {
	raw, err := read.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) { n, _ = s.take(stream, int(fd)) })
	return n
}

// take reads once and adds what it got.
func (s *Spool) take(stream, fd int) (n int, again bool) {
	buf := s.buffers.Get().(*buffer)
	defer s.buffers.Put(buf)
	n, err := unix.Read(fd, buf[:chunkMax])
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Read(fd, buf[:chunkMax])
	}
	if n > 0 {
		s.add(chunk{stream, time.Now(), buf[:n]})
	}
	return n, errors.Is(err, unix.EAGAIN)
}

func (s *Spool) pipeDone(read *os.File) {
	read.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pipes = slices.DeleteFunc(s.pipes, func(f *os.File) bool { return f == read })
	if s.closed = len(s.pipes) == 0; s.closed {
		close(s.over)
	}
	s.change()
}

// add appends a chunk, on disk or else in memory. Its data is not kept.
func (s *Spool) add(c chunk) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastData = c.at
	if len(s.queue) == 0 {
		s.writeErr = s.write(c)
	}
	if s.writeErr != nil {
		c.data = slices.Clone(c.data)
		s.queue = append(s.queue, c)
		s.queued += c.size()
		s.retryLater()
	}
	s.change()
}

// write puts a chunk at the end of the last segment. What a failed write has
// left there is overwritten by the next one.
func (s *Spool) write(c chunk) error {
	if s.file != nil && s.segments[len(s.segments)-1].size >= segmentMax {
		s.file.Close()
		s.file = nil
	}
	if s.file == nil {
		// O_TRUNC: a segment of this name holds nothing that is counted.
		f, err := os.OpenFile(s.path(s.end), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		s.segments = slices.DeleteFunc(s.segments, func(g segment) bool { return g.start == s.end })
		s.file, s.segments = f, append(s.segments, segment{start: s.end})
	}
	last := &s.segments[len(s.segments)-1]
	head := c.head()
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	n, size := 0, int(c.size())
	ctrl := raw.Control(func(fd uintptr) {
		n, err = unix.Pwritev(int(fd), [][]byte{head[:], c.data}, last.size)
	})
	if err = errors.Join(err, ctrl); err != nil {
		return err
	}
	if n != size {
		return unix.ENOSPC
	}
	last.size += int64(size)
	s.end += int64(size)
	return nil
}

// retryLater arms the next try; mu is held.
func (s *Spool) retryLater() {
	if s.retry == nil && !s.stopped {
		s.retry = time.AfterFunc(retryEvery, s.flush)
	}
}

// flush writes what is in memory, as far as the disk takes it.
func (s *Spool) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retry = nil
	if s.stopped {
		return
	}
	for len(s.queue) > 0 {
		c := s.queue[0]
		if s.writeErr = s.write(c); s.writeErr != nil {
			s.retryLater()
			break
		}
		s.queue, s.queued = s.queue[1:], s.queued-c.size()
	}
	s.change()
}

// Commit says that all before pos is recorded elsewhere, and of what is behind it
// the first skip[0] bytes of stdout and skip[1] of stderr. Whole segments before
// pos are removed. A place before what is committed changes nothing. Safe for
// concurrent use.
func (s *Spool) Commit(pos int64, skip [2]int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := place{s.committed, s.skip}
	p := old.later(place{pos, skip}.within(0, s.end+s.queued))
	if p == old {
		return nil
	}
	s.committed, s.skip = p.pos, p.skip
	var err error
	if !s.forgotten {
		// First: a segment without its position would be read again from its start.
		err = s.savePosition()
	}
	s.discard(p.pos)
	s.change()
	return err
}

// discard gives up what is before pos; mu is held.
func (s *Spool) discard(pos int64) {
	for len(s.queue) > 0 && s.end+s.queue[0].size() <= pos {
		// It never reaches the disk: the next segment begins after it.
		size := s.queue[0].size()
		s.queue, s.queued, s.end = s.queue[1:], s.queued-size, s.end+size
		if s.file != nil {
			s.file.Close()
			s.file = nil
		}
	}
	for len(s.segments) > 0 && s.segments[0].end() <= pos && (s.file == nil || len(s.segments) > 1 || s.segments[0].size >= segmentDrop) {
		if len(s.segments) == 1 && s.file != nil {
			s.file.Close()
			s.file = nil
		}
		_ = os.Remove(s.path(s.segments[0].start))
		s.segments = s.segments[1:]
	}
}

// Finish takes what is in the pipes now and ends the spool, also when somebody
// still holds their other end. It returns when that is done.
func (s *Spool) Finish() {
	s.mu.Lock()
	s.ending = true
	for _, f := range s.pipes {
		_ = f.SetReadDeadline(time.Unix(1, 0))
	}
	s.change()
	s.mu.Unlock()
	<-s.over
}

// Quiet says that no data came for d, and that none is held up.
func (s *Spool) Quiet(since time.Time, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end+s.queued-s.committed >= s.max || s.queued >= queueMax {
		return false
	}
	if s.lastData.After(since) {
		since = s.lastData
	}
	return time.Since(since) >= d
}

// Done is true after the last byte has come.
func (s *Spool) Done() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// Close frees the files; with forget they are removed, when no reader is open
// (else when it closes). Without, they stay.
func (s *Spool) Close(forget bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped, s.forgotten = true, s.forgotten || forget
	if s.retry != nil {
		s.retry.Stop()
		s.retry = nil
	}
	if s.file != nil {
		s.file.Close()
		s.file = nil
	}
	if s.forgotten && !s.reading {
		s.remove()
	}
}

// Discard undoes Open and Pipe for a process that never ran.
func (s *Spool) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.pipes {
		f.Close()
	}
	if len(s.segments) == 0 { // else an earlier process's
		s.remove()
	}
}

// remove deletes the files; a directory that holds more stays.
func (s *Spool) remove() {
	for _, g := range s.segments {
		_ = os.Remove(s.path(g.start))
	}
	_ = os.Remove(filepath.Join(s.dir, positionFile))
	_ = os.Remove(s.dir)
}
