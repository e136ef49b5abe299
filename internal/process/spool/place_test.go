package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// got is one answer of Next.
type got struct {
	stream    int
	text      string
	pos, next int64
	skipped   int
}

// left reads what a Spool that is gone has left in its directory: from the
// committed place to the last whole chunk, then io.EOF.
func left(dir string) (*Reader, error) {
	s := &Spool{dir: dir, closed: true, buffers: NewBuffers()}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s.Reader()
}

func next(t *testing.T, r *Reader) got {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	stream, data, _, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	g := got{stream: stream, text: string(data)}
	g.pos, g.next, g.skipped = r.Where()
	return g
}

// chunks makes a spool of these chunks, "1text" for stdout.
func chunks(t *testing.T, dir string, list ...string) *Spool {
	t.Helper()
	s, err := Open(dir, DefaultMax, NewBuffers())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(false) })
	for _, c := range list {
		s.add(chunk{int(c[0] - '0'), time.Unix(7, 0), []byte(c[1:])})
	}
	return s
}

// at is the position of a chunk after others of these sizes.
func at(sizes ...int64) int64 {
	var sum int64
	for _, n := range sizes {
		sum += chunkHead + n
	}
	return sum
}

func TestPlaceWithSkips(t *testing.T) {
	dir := t.TempDir()
	s := chunks(t, dir, "1aaaa", "2bbbb", "1cccc", "2dddd")
	out := open(t, s)
	if g := next(t, out); g != (got{1, "aaaa", 0, at(4), 0}) {
		t.Errorf("%+v", g)
	}
	if err := out.Commit(0, [2]int64{3, 4}); err != nil {
		t.Fatal(err)
	}
	want := []got{
		{1, "a", 0, at(4), 3},
		{2, "", at(4), at(4, 4), 4}, // committed, though what is before it is not
		{1, "cccc", at(4, 4), at(4, 4, 4), 0},
		{2, "dddd", at(4, 4, 4), at(4, 4, 4, 4), 0},
	}
	check := func(name string, out *Reader) {
		t.Helper()
		for _, w := range want {
			if g := next(t, out); g != w {
				t.Errorf("%s: %+v, want %+v", name, g, w)
			}
		}
		out.Close()
	}
	out.Close()
	check("the same writer", open(t, s))
	follower := Follow(dir, local{s}, NewBuffers())
	check("a follower", follower)
	s.Close(false)
	later, err := left(dir)
	if err != nil {
		t.Fatal(err)
	}
	check("read from the files", later)
	check("the next writer", open(t, chunks(t, dir)))
}

func TestCommitOnlyGoesForward(t *testing.T) {
	s := chunks(t, t.TempDir(), "1aaaa", "2bbbb")
	for _, c := range []struct{ give, want place }{
		{place{0, [2]int64{2, 1}}, place{0, [2]int64{2, 1}}},
		{place{0, [2]int64{1, 3}}, place{0, [2]int64{2, 3}}},
		{place{at(4), [2]int64{0, 1}}, place{at(4), [2]int64{0, 1}}},
		{place{0, [2]int64{4, 4}}, place{at(4), [2]int64{0, 1}}},
		{place{-5, [2]int64{9, 9}}, place{at(4), [2]int64{0, 1}}},
		{place{1 << 40, [2]int64{5, 5}}, place{pos: at(4, 4)}}, // beyond the end
	} {
		if err := s.Commit(c.give.pos, c.give.skip); err != nil {
			t.Fatal(err)
		}
		if st := s.State(0); (place{st.Committed, st.Skip}) != c.want {
			t.Errorf("%+v: %+v, want %+v", c.give, st, c.want)
		}
	}
}

// A place that another reader has recorded moves this one, before and after it began.
func TestCommitMovesTheReader(t *testing.T) {
	for _, begun := range []bool{false, true} {
		s := chunks(t, t.TempDir(), "1aaaa", "2bbbb", "1cccc", "2dddd")
		out := open(t, s)
		if begun {
			next(t, out)
		}
		if err := out.Commit(at(4), [2]int64{1, 2}); err != nil {
			t.Fatal(err)
		}
		if err := out.Commit(at(4), [2]int64{2, 0}); err != nil { // at pos: only more
			t.Fatal(err)
		}
		if err := out.Commit(0, [2]int64{9, 9}); err != nil { // before it: nothing
			t.Fatal(err)
		}
		for _, w := range []got{{2, "bb", at(4), at(4, 4), 2}, {1, "cc", at(4, 4), at(4, 4, 4), 2}} {
			if g := next(t, out); g != w {
				t.Errorf("%v: %+v, want %+v", begun, g, w)
			}
		}
		if err := out.Commit(at(4, 4, 4, 4), [2]int64{}); err != nil {
			t.Fatal(err)
		}
		s.add(chunk{1, time.Unix(7, 0), []byte("new")})
		if g := next(t, out); g.text != "new" {
			t.Errorf("%+v", g)
		}
	}
}

func TestPositionFile(t *testing.T) {
	for text, want := range map[string]place{
		"": {}, "rubbish": {}, "-1 0 0\n": {},
		"000000000000001c\n":                              {pos: at(8)}, // of the first release
		"000000000000001c 3 0\n":                          {at(8), [2]int64{3, 0}},
		"000000000000001c 3\n":                            {pos: at(8)},
		"000000000000001c 3 x\n":                          {pos: at(8)},
		"000000000000001c a 1                         \n": {at(8), [2]int64{10, 1}},
		"0000000000000000 2 0\n":                          {0, [2]int64{2, 0}},
		"00000000000fffff 2 0\n":                          {pos: at(8, 8)}, // beyond: the end
	} {
		dir := t.TempDir()
		chunks(t, dir, "1aaaaaaaa", "2bbbbbbbb").Close(false)
		path := filepath.Join(dir, positionFile)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := chunks(t, dir)
		if st := s.State(0); (place{st.Committed, st.Skip}) != want {
			t.Errorf("%q: %+v, want %+v", text, st, want)
		}
		for _, p := range []place{{}, {1 << 40, [2]int64{1 << 40, 1 << 40}}} { // never shorter or longer
			s.committed, s.skip = p.pos, p.skip
			if err := s.savePosition(); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Stat(path); err != nil || info.Size() != positionSize {
				t.Errorf("%v: %v", info, err)
			}
		}
	}
}

func TestReadingByAnother(t *testing.T) {
	dir := t.TempDir() + "/spool"
	s := chunks(t, dir, "1text")
	if err := s.Reading(true); err != nil {
		t.Fatal(err)
	}
	if err := s.Reading(true); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	if _, err := s.Reader(); !errors.Is(err, ErrBusy) {
		t.Errorf("%v", err)
	}
	out := Follow(dir, local{s}, NewBuffers())
	s.Close(true)
	if g := next(t, out); g.text != "text" {
		t.Errorf("%+v", g)
	}
	out.Close()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the files stay: %v", err)
	}
}

// What the disk refuses reaches a follower through its Tail.
func TestFollowHeld(t *testing.T) {
	dir := t.TempDir() + "/spool"
	s := chunks(t, dir, "1on disk")
	s.mu.Lock()
	s.file.Close()
	s.file = nil
	s.mu.Unlock()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	s.add(chunk{2, time.Unix(8, 0), []byte("held 1")})
	s.add(chunk{1, time.Unix(9, 0), []byte("held 2")})
	if st := s.State(at(7, 6)); len(st.Held) != 1 || st.Held[0].Pos != at(7, 6) || string(st.Held[0].Data) != "held 2" || st.End != at(7) {
		t.Errorf("%+v", st)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	out := Follow(dir, local{s}, NewBuffers())
	for _, w := range []got{{1, "on disk", 0, at(7), 0}, {2, "held 1", at(7), at(7, 6), 0}, {1, "held 2", at(7, 6), at(7, 6, 6), 0}} {
		if g := next(t, out); g != w {
			t.Errorf("%+v, want %+v", g, w)
		}
	}
	eventually(t, "it is written", func() bool { return s.State(0).End == at(7, 6, 6) })
	if err := commit(out); err != nil {
		t.Fatal(err)
	}
	s.add(chunk{1, time.Unix(9, 0), []byte("on")})
	if g := next(t, out); g.text != "on" {
		t.Errorf("%+v", g)
	}
}

// lost is a Tail whose writer is gone.
type lost struct{}

func (lost) Wait(context.Context, int64) (State, error) { return State{}, io.ErrUnexpectedEOF }
func (lost) Commit(int64, [2]int64) error               { return io.ErrUnexpectedEOF }
func (lost) Close() error                               { return nil }

func TestFollowLosesItsWriter(t *testing.T) {
	out := Follow(t.TempDir(), lost{}, NewBuffers())
	if _, _, _, err := out.Next(t.Context()); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}

// script is what a writer adds, and what readers have recorded of it.
type script struct {
	list     []chunk
	texts    [2][]byte
	recorded [2]int
}

// newScript makes 3 MiB of random chunks.
func newScript(rnd *rand.Rand) *script {
	m := &script{}
	for total := 0; total < 3<<20; {
		c := chunk{1 + rnd.IntN(2), time.Unix(int64(total), 0), make([]byte, 1+rnd.IntN(1+rnd.IntN(chunkMax)))}
		for i := range c.data {
			c.data[i] = byte(rnd.Uint32())
		}
		m.list = append(m.list, c)
		m.texts[c.stream-1] = append(m.texts[c.stream-1], c.data...)
		total += len(c.data)
	}
	return m
}

// place is where the first chunk begins that is not wholly recorded.
func (m *script) place() place {
	var p place
	left := m.recorded
	for _, c := range m.list {
		if left[c.stream-1] < len(c.data) {
			p.skip = [2]int64{int64(left[0]), int64(left[1])}
			return p
		}
		left[c.stream-1] -= len(c.data)
		p.pos += c.size()
	}
	return p
}

// session is the life of a reader, which is told to begin at a place that may not
// be committed yet; true: it has seen the end.
func (m *script) session(t *testing.T, out *Reader, rnd *rand.Rand) bool {
	read := m.recorded
	commit := func() {
		p := m.place()
		if err := out.Commit(p.pos, p.skip); err != nil {
			t.Fatal(err)
		}
	}
	commit()
	for range 1 + rnd.IntN(60) {
		stream, data, _, err := out.Next(t.Context())
		if errors.Is(err, io.EOF) {
			if read != [2]int{len(m.texts[0]), len(m.texts[1])} {
				t.Errorf("the end after %d bytes", read)
			}
			return true
		}
		if err != nil {
			t.Fatal(err)
		}
		i := stream - 1
		if !bytes.HasPrefix(m.texts[i][read[i]:], data) {
			t.Fatalf("stream %d: %d bytes are not what comes at %d", stream, len(data), read[i])
		}
		read[i] += len(data)
		for i := range read {
			m.recorded[i] += rnd.IntN(read[i] - m.recorded[i] + 1)
		}
		if rnd.IntN(3) == 0 {
			commit()
		}
	}
	return false
}

// TestFollowFromAnywhere: readers come and go, each commits what it has recorded
// of either stream or leaves that to the next, which finds the rest; while the
// writer writes.
func TestFollowFromAnywhere(t *testing.T) {
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			dir := t.TempDir()
			s, err := Open(dir, 64<<20, NewBuffers())
			if err != nil {
				t.Fatal(err)
			}
			m := newScript(rnd)
			go func() {
				for _, c := range m.list {
					s.add(c)
				}
				s.mu.Lock()
				defer s.mu.Unlock()
				s.closed = true
				s.change()
			}()
			for over := false; !over; {
				out := Follow(dir, local{s}, NewBuffers())
				over = m.session(t, out, rnd)
				out.Close()
			}
			m.recorded = [2]int{len(m.texts[0]), len(m.texts[1])}
			p := m.place()
			if st := s.State(0); st.End != p.pos {
				t.Errorf("the end is %d, not %d", st.End, p.pos)
			}
			if err := s.Commit(p.pos, p.skip); err != nil {
				t.Fatal(err)
			}
			if left := files(t, dir); len(left) > 1 {
				t.Errorf("segments stay: %v", left)
			}
			s.Close(true)
		})
	}
}
