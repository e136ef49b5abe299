package spool

import (
	"context"
	"errors"
	"time"
)

// ErrBusy is the answer for a second reader.
var ErrBusy = errors.New("the output has a reader already")

// State is what a reader has to know of a spool that another process may write.
type State struct {
	// Committed and Skip are the place that was committed last.
	Committed int64
	Skip      [2]int64
	// End is behind the last chunk on disk; files may hold half a chunk more.
	End int64
	// Over says that nothing will be added.
	Over bool
	// Held are the chunks that are on no disk yet, in order. Some of them may be
	// left out at the beginning, as the reader has asked for what is behind them.
	Held []HeldChunk
}

// HeldChunk is a chunk that the disk has not taken. Data is not to be changed.
type HeldChunk struct {
	Pos    int64
	Stream int // 1 or 2
	Time   time.Time
	Data   []byte
}

// end is the position of the next chunk.
func (h HeldChunk) end() int64 { return h.Pos + chunkHead + int64(len(h.Data)) }

// Tail is a reader's line to the writer of its spool. It is used by one
// goroutine at a time.
type Tail interface {
	// Wait returns once the spool reaches beyond pos, or is over, or ctx has ended
	// (with its error). With pos -1 it returns at once.
	Wait(ctx context.Context, pos int64) (State, error)
	// Commit is that of Spool. A Wait after it sees it done.
	Commit(pos int64, skip [2]int64) error
	// Close lets another reader in.
	Close() error
}

// local is the Tail in the writer's own process.
type local struct{ s *Spool }

// Wait implements Tail.
func (l local) Wait(ctx context.Context, pos int64) (State, error) { return l.s.Wait(ctx, pos) }

// Commit implements Tail.
func (l local) Commit(pos int64, skip [2]int64) error { return l.s.Commit(pos, skip) }

// Close implements Tail.
func (l local) Close() error { return l.s.Reading(false) }

// Reading says whether a reader is open, in this process or another: while one
// is, the files outlive Close(true), and another one gets ErrBusy.
func (s *Spool) Reading(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && s.reading {
		return ErrBusy
	}
	s.reading = on
	if !on && s.forgotten {
		s.remove()
	}
	return nil
}

// Watch calls f at every change of State, with the Spool locked: f must neither
// wait nor call the Spool. nil ends that. There is one watcher.
func (s *Spool) Watch(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watcher = f
}

// Dir is the directory of the spool's files.
func (s *Spool) Dir() string { return s.dir }

// State returns the present state, with the held chunks from pos on.
func (s *Spool) State(pos int64) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state(pos)
}

// Wait returns the state once the spool reaches beyond pos, or is over, or ctx
// has ended (with its error).
func (s *Spool) Wait(ctx context.Context, pos int64) (State, error) {
	for {
		s.mu.Lock()
		if s.end+s.queued > pos || s.closed {
			defer s.mu.Unlock()
			return s.state(pos), nil
		}
		wait := s.changed()
		s.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return State{}, ctx.Err()
		}
	}
}

// state is State; mu is held.
func (s *Spool) state(pos int64) State {
	st := State{Committed: s.committed, Skip: s.skip, End: s.end, Over: s.closed}
	at := s.end
	for _, c := range s.queue {
		if at >= pos {
			st.Held = append(st.Held, HeldChunk{Pos: at, Stream: c.stream, Time: c.at, Data: c.data})
		}
		at += c.size()
	}
	return st
}
