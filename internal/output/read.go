package output

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/output/form"
)

// Read gives the newest n records (n < 0: all) that pass the filter to yield,
// oldest first: from memory where that suffices, else from the files, rotated
// ones too. It returns yield's error if that ends it. A record torn by a crash
// is left out.
func (l *Log) Read(f Filter, n int, yield func(api.Record) error) error {
	return l.snapshot(f, n, nil).each(f, n, yield)
}

// TailFollow is ReadFollow for an amount that fits the memory.
func (l *Log) TailFollow(f Filter, n, buffer int) ([]api.Record, *Follower, error) {
	var list []api.Record
	fo, err := l.ReadFollow(f, n, buffer, func(r api.Record) error { list = append(list, r); return nil })
	return list, fo, err
}

// ReadFollow is Read and a follower of what comes after it, without a gap or a
// double between the two; both obey the filter. What arrives while yield is still
// being fed waits in the follower's buffer.
func (l *Log) ReadFollow(f Filter, n, buffer int, yield func(api.Record) error) (*Follower, error) {
	var fo *Follower
	s := l.snapshot(f, n, func() { fo = l.follow(f, buffer) })
	if err := s.each(f, n, yield); err != nil {
		fo.Close()
		return nil, err
	}
	return fo, nil
}

// File is a log file and its rotated ones without a Log, e.g. when no agent runs.
type File struct {
	Path string
	// App names it in lines that do not say it themselves.
	App     string
	Packing Packing // nil: none of them is packed
}

// Read is Log.Read of what the files hold.
func (from File) Read(f Filter, n int, yield func(api.Record) error) error {
	s := snapshot{app: from.App, old: backups(from.Path, from.Packing)}
	if file, err := os.Open(from.Path); err == nil {
		s.file = file
		if info, err := file.Stat(); err == nil {
			s.size = info.Size()
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.each(f, n, yield)
}

// snapshot is everything recorded up to one moment.
type snapshot struct {
	app  string
	old  []backup
	file *os.File // up to size; nil: none
	size int64
	tail []api.Record // not yet in the file, or all there is when it is in memory
}

// snapshot takes only the memory where that holds the last n records; then it
// does not wait for a disk. also runs at its moment, with l.mu held.
func (l *Log) snapshot(f Filter, n int, also func()) snapshot {
	if s, ok := l.inMemory(f, n, also); ok {
		return s
	}
	l.moving.Lock()
	defer l.moving.Unlock()
	l.mu.Lock()
	if also != nil {
		also()
	}
	s := snapshot{app: l.app, size: l.view.size, tail: l.unwritten()}
	path, file := l.view.path, l.view.file
	l.mu.Unlock()
	// The file is not replaced while l.moving is held.
	s.old = backups(path, l.packing)
	s.file = again(file, path)
	if file == nil && s.file != nil {
		if info, err := s.file.Stat(); err == nil {
			s.size = info.Size()
		}
	}
	return s
}

func (l *Log) inMemory(f Filter, n int, also func()) (snapshot, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail, enough := l.remembered(f, n)
	if !enough && l.view.path != "" {
		return snapshot{}, false
	}
	if also != nil {
		also()
	}
	return snapshot{app: l.app, tail: tail}, true
}

// again opens an open file once more, for reading, also when it was moved.
func again(file *os.File, path string) *os.File {
	if file != nil {
		if conn, err := file.SyscallConn(); err == nil {
			conn.Control(func(fd uintptr) { path = "/proc/self/fd/" + strconv.Itoa(int(fd)) })
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	return f
}

// remembered needs l.mu. It returns what the rings hold of the last n records, in
// order, and whether that is all of them.
func (l *Log) remembered(f Filter, n int) (list []api.Record, enough bool) {
	var found []entry
	var gone uint64
	for slot, r := range l.rings {
		if f.Slots != nil && slot >= 0 && !slices.Contains(f.Slots, slot) {
			continue
		}
		gone = max(gone, r.gone)
		for _, e := range r.all() {
			if f.match(&e.Record) {
				found = append(found, e)
			}
		}
	}
	sortEntries(found)
	if n >= 0 && len(found) > n {
		found = found[len(found)-n:]
	}
	complete := gone == 0 && !l.history
	enough = complete || n >= 0 && len(found) == n && (n == 0 || found[0].seq > gone)
	return records(found), enough
}

// unwritten needs l.mu. It returns what a reader of the file does not find there
// yet, and what the file will never get of the newest records.
func (l *Log) unwritten() []api.Record {
	var list []entry
	for _, e := range slices.Concat(l.queue.flying, l.queue.waiting) {
		list = append(list, e.entry)
	}
	if l.queue.lost > 0 {
		last := l.queue.written
		if len(list) > 0 {
			last = max(last, list[len(list)-1].seq)
		}
		var newer []entry
		for _, r := range l.rings {
			for _, e := range r.all() {
				if e.seq > last {
					newer = append(newer, e)
				}
			}
		}
		sortEntries(newer)
		list = append(list, newer...)
	}
	return records(list)
}

func sortEntries(list []entry) {
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.seq, b.seq) })
}

func records(list []entry) []api.Record {
	out := make([]api.Record, len(list))
	for i := range list {
		out[i] = list[i].Record
	}
	return out
}

// each yields the last n matching records and closes the snapshot.
func (s snapshot) each(f Filter, n int, yield func(api.Record) error) error {
	if s.file != nil {
		defer s.file.Close()
	}
	s.old = slices.DeleteFunc(s.old, func(b backup) bool { return b.at.Before(f.Since) })
	from := start{}
	if n >= 0 {
		from = s.locate(f, n)
	}
	skip := from.skip
	each := func(r api.Record) error {
		if !f.match(&r) {
			return nil
		}
		if skip > 0 {
			skip--
			return nil
		}
		return yield(r)
	}
	for i := from.segment; i <= len(s.old); i++ {
		var offset int64
		if i == from.segment {
			offset = from.offset
		}
		if err := s.scan(i, offset, each); err != nil {
			return err
		}
	}
	for _, r := range s.tail {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// start is where the last n records begin: after skip matching ones behind
// offset of a segment. Segments are the rotated files, then the file, then the tail.
type start struct {
	segment int
	offset  int64
	skip    int
}

// locate counts backwards, in a plain file from ever earlier offsets.
func (s snapshot) locate(f Filter, n int) start {
	found := 0
	for i := range s.tail {
		if f.match(&s.tail[i]) {
			found++
		}
	}
	if found >= n {
		return start{len(s.old) + 1, 0, found - n}
	}
	n -= found
	for i := len(s.old); i >= 0; i-- {
		for back := int64(256 << 10); ; back *= 8 {
			offset := max(s.plainSize(i)-back, 0)
			found = 0
			_ = s.scan(i, offset, func(r api.Record) error {
				if f.match(&r) {
					found++
				}
				return nil
			})
			if found >= n {
				return start{i, offset, found - n}
			}
			if offset == 0 {
				break
			}
		}
		n -= found
	}
	return start{}
}

// plainSize of a segment in which offsets can be jumped to; else 0.
func (s snapshot) plainSize(segment int) int64 {
	if segment == len(s.old) {
		return s.size
	}
	if info, err := os.Stat(s.old[segment].path); err == nil {
		return info.Size()
	}
	return 0
}

// scan yields the records behind offset; a line that offset cuts is left out.
// What has been deleted meanwhile is empty.
func (s snapshot) scan(segment int, offset int64, yield func(api.Record) error) error {
	var r io.Reader
	if segment == len(s.old) {
		if s.file == nil {
			return nil
		}
		r = io.NewSectionReader(s.file, 0, s.size)
	} else {
		f, err := s.old[segment].open()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		r = f
	}
	err := scanLines(r, offset, func(line []byte) error {
		if rec, ok := form.Decode(line, s.app); ok {
			return yield(rec)
		}
		return nil
	})
	var bad *damage
	if errors.As(err, &bad) && segment < len(s.old) {
		b := s.old[segment]
		return yield(api.Record{
			Time: b.at, App: s.app, Slot: -1, Stream: stderr,
			Line: "muster: the rest of " + b.path + " is damaged: " + bad.err.Error(),
		})
	}
	return err
}

// damage is an error of reading, not of a yield.
type damage struct{ err error }

func (d *damage) Error() string { return "the log cannot be read: " + d.err.Error() }
func (d *damage) Unwrap() error { return d.err }

// scanLines yields the lines behind offset, without their newline.
func scanLines(r io.Reader, offset int64, yield func([]byte) error) error {
	in := bufio.NewReaderSize(r, 128<<10)
	if offset > 0 {
		// One byte earlier, so that a line that begins at offset is not left out.
		if err := jump(r, offset-1); err != nil {
			return &damage{err}
		}
		if _, err := line(in, nil); err != nil {
			return end(err)
		}
	}
	var long []byte
	for {
		text, err := line(in, long)
		if n := len(text); n > 0 && text[n-1] == '\n' {
			text = text[:n-1]
		}
		if len(text) > 0 {
			if err := yield(text); err != nil {
				return err
			}
		}
		if err != nil {
			return end(err)
		}
		if cap(text) > in.Size() {
			long = text[:0] // reuse the memory of a long line
		}
	}
}

// line reads up to and with the next newline; buf is used where it is too long
// for the reader's own buffer.
func line(in *bufio.Reader, buf []byte) ([]byte, error) {
	text, err := in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return text, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		buf = append(buf, text...)
		text, err = in.ReadSlice('\n')
	}
	return append(buf, text...), err
}

func end(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return &damage{err}
}

// jump moves a reader forward.
func jump(r io.Reader, n int64) error {
	if s, ok := r.(io.Seeker); ok {
		_, err := s.Seek(n, io.SeekCurrent)
		return err
	}
	_, err := io.CopyN(io.Discard, r, n)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
