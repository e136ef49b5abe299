package output

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func TestAttachRecordsEverything(t *testing.T) { // S1.14
	o := options(t)
	l := open(t, o)
	s := newScript()
	var seen []string
	a := l.Attach(t.Context(), Worker{Slot: 1, PID: 4711}, s, func(r api.Record) { seen = append(seen, r.Line) })
	s.out("one\ntw")
	s.err("oops\n")
	s.out("o\r\nlast without newline")
	s.end()
	done(t, a)
	want := []string{"one", "oops", "two", "last without newline"}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, l.Last(1, -1)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"two", "last without newline"}, l.Last(1, 2)); diff != "" {
		t.Error(diff)
	}
	if l.Last(7, 3) != nil {
		t.Error("lines of a slot that never was")
	}
	list := tail(t, l, Filter{}, -1)
	if r := list[1]; r.App != "web" || r.Slot != 1 || r.PID != 4711 || r.Stream != "stderr" || time.Since(r.Time) > time.Minute {
		t.Errorf("%+v", r)
	}
	given, committed, closed := s.state()
	if given != committed || !closed {
		t.Errorf("%d of %d committed, closed %v", committed, given, closed)
	}
	if got := strings.Count(read(t, o.File), "\n"); got != 4 {
		t.Errorf("%d lines in the file", got)
	}
	if c := l.Counts(); c.Stdout != 3 || c.Stderr != 1 || c.Bytes != 30 || c.Lost != 0 {
		t.Errorf("%+v", c)
	}
	if err := a.Err(); err != nil {
		t.Error(err)
	}
}

// TestCommitFollowsTheFile: what is committed is in the file, at each commit.
func TestCommitFollowsTheFile(t *testing.T) {
	o := options(t)
	l := open(t, o)
	s := newScript()
	commits := 0
	s.onSync = func() {
		commits++
		b, err := os.ReadFile(o.File)
		if got := bytes.Count(b, []byte("\n")); err != nil || got != s.given/10 {
			t.Errorf("commit of %d lines, %d in the file, %v", s.given/10, got, err)
		}
	}
	a := l.Attach(t.Context(), Worker{}, s, nil)
	for i := range 20 {
		s.out(strings.Repeat("123456789\n", 1000))
		waitFor(t, "the commit", func() bool { _, committed, _ := s.state(); return committed == (i+1)*10_000 })
	}
	s.end()
	done(t, a)
	if commits < 20 {
		t.Error(commits, "commits")
	}
}

func TestUnfinishedLineIsNotCommitted(t *testing.T) {
	l := open(t, options(t))
	s := newScript()
	ctx, cancel := context.WithCancel(t.Context())
	a := l.Attach(ctx, Worker{}, s, nil)
	s.out("finished\nname: ")
	waitFor(t, "the commit", func() bool { _, committed, _ := s.state(); return committed == len("finished\n") })
	<-time.After(5 * commitEvery) // nothing may happen in this time
	if _, committed, _ := s.state(); committed != len("finished\n") {
		t.Error("the unfinished line is committed")
	}
	s.out("joe\n")
	waitFor(t, "the commit", func() bool { given, committed, _ := s.state(); return given == committed })
	s.out("again unfinished")
	waitFor(t, "the read", func() bool { given, committed, _ := s.state(); return given > committed })
	cancel()
	done(t, a)
	given, committed, closed := s.state()
	if given-committed != len("again unfinished") || !closed {
		t.Errorf("%d of %d committed, closed %v", committed, given, closed)
	}
	if diff := cmp.Diff([]string{"finished", "name: joe"}, l.Last(0, -1)); diff != "" {
		t.Error(diff)
	}
}

// TestUnfinishedLineIsCommittedInTheEnd: block-buffered output nearly always ends
// in the middle of a line, and still the spool must not grow for ever.
func TestUnfinishedLineIsCommittedInTheEnd(t *testing.T) {
	l := open(t, options(t))
	s := newScript()
	ctx, cancel := context.WithCancel(t.Context())
	a := l.Attach(ctx, Worker{}, s, nil)
	for range 40 {
		s.out("rest\n" + strings.Repeat(strings.Repeat("x", 99)+"\n", 500) + "begin of ")
	}
	waitFor(t, "a commit", func() bool { _, committed, _ := s.state(); return committed > 0 })
	waitFor(t, "the end", func() bool { return l.Counts().Stdout == 40*501 })
	cancel()
	done(t, a)
	given, committed, _ := s.state()
	if given-committed > heldBytes+(64<<10) {
		t.Errorf("%d of %d committed", committed, given)
	}
}

func TestLongLines(t *testing.T) {
	o := options(t)
	l := open(t, o)
	printed(t, l, Worker{}, strings.Repeat("a", 64<<10)+"\n"+strings.Repeat("b", 150_000)+"\nend\n")
	list := tail(t, l, Filter{}, -1)
	var got []any
	for _, r := range list {
		got = append(got, len(r.Line), r.Cut)
	}
	want := []any{64 << 10, false, 64 << 10, true, 64 << 10, true, 150_000 - 128<<10, false, 3, false}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if s := read(t, o.File); strings.Count(s, `"cut":true`) != 2 {
		t.Error("the file does not mark what is cut")
	}
}

type broken struct {
	*script
	err error
}

func (b broken) Next(ctx context.Context) (int, []byte, time.Time, error) {
	stream, data, at, err := b.script.Next(ctx)
	if string(data) == "break" {
		return 0, nil, at, b.err
	}
	return stream, data, at, err
}

func TestSourceThatFails(t *testing.T) {
	var warned faults
	o := options(t)
	o.Warn = warned.add
	l := open(t, o)
	s := newScript()
	s.out("before\nhalf")
	s.out("break")
	a := l.Attach(t.Context(), Worker{Slot: 2, PID: 9}, broken{s, os.ErrInvalid}, nil)
	done(t, a)
	if err := a.Err(); !errors.Is(err, os.ErrInvalid) || fault.CodeOf(err) != fault.LogWrite {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"before", "half"}, l.Last(2, -1)); diff != "" {
		t.Error(diff)
	}
	if warned.len() != 1 {
		t.Error(warned.all())
	}
	// The end of the keeper is that of everything, and told as that: no disk is full.
	s = newScript()
	s.out("break")
	a = l.Attach(t.Context(), Worker{Slot: 1, PID: 10}, broken{s, fault.New(fault.KeeperLost, "the keeper is gone")}, nil)
	if done(t, a); a.Err() == nil || warned.len() != 1 {
		t.Error(a.Err(), warned.all())
	}
}

type stubborn struct{ *script }

func (stubborn) Where() (pos, next int64, skipped int) { return 0, 0, 0 }
func (stubborn) Commit(pos int64, skip [2]int64) error { return os.ErrPermission }

func TestCommitThatFails(t *testing.T) {
	var warned faults
	o := options(t)
	o.Warn = warned.add
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, stubborn{s}, nil)
	s.out("x\n")
	waitFor(t, "the warning", func() bool { return warned.len() == 1 })
	s.end()
	done(t, a)
	if warned.len() != 1 {
		t.Error("one cause, one warning:", warned.all())
	}
}

func TestRingOutlivesWorkers(t *testing.T) {
	o := options(t)
	o.Log.Lines = 5
	l := open(t, o)
	printed(t, l, Worker{Slot: 0, PID: 1}, "a\nb\nc\n")
	printed(t, l, Worker{Slot: 0, PID: 2}, "d\ne\nf\ng\n")
	printed(t, l, Worker{Slot: 1, PID: 3}, "other\n")
	if diff := cmp.Diff([]string{"c", "d", "e", "f", "g"}, l.Last(0, -1)); diff != "" {
		t.Error(diff)
	}
}

func TestCloseLeavesTheSourceAlone(t *testing.T) {
	o := options(t)
	l := open(t, o)
	s := newScript()
	a := l.Attach(t.Context(), Worker{}, s, nil)
	s.out("written\n")
	waitFor(t, "the record", func() bool { return l.Counts().Stdout == 1 })
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	done(t, a)
	given, committed, closed := s.state()
	if given != committed || !closed {
		t.Errorf("%d of %d committed, closed %v", committed, given, closed)
	}
	if err := l.Close(); err != nil {
		t.Error("second Close:", err)
	}
	late := newScript()
	late.out("too late\n")
	done(t, l.Attach(t.Context(), Worker{}, late, nil))
	if _, committed, closed := late.state(); committed != 0 || !closed {
		t.Error("attached to a closed Log:", committed, closed)
	}
	if got := lines(tail(t, l, Filter{}, 5)); !cmp.Equal(got, []string{"written"}) {
		t.Error("after Close:", got)
	}
	if f := l.Follow(1); len(drained(f)) != 0 {
		t.Error("a follower of a closed Log gets records")
	}
}

func drained(f *Follower) (list []api.Record) {
	for r := range f.C {
		list = append(list, r)
	}
	return list
}

// In a reload the old worker and the new one share a slot. The lines of the one
// that fails must not be lost among those of the one that serves.
func TestLastLinesOfOneProcess(t *testing.T) { // S1.6
	l := open(t, options(t))
	failing := newScript()
	a := l.Attach(t.Context(), Worker{Slot: 0, PID: 2}, failing, nil)
	failing.err("Traceback\nSyntaxError")
	waitFor(t, "the first line", func() bool { return len(a.Last()) == 1 })
	printed(t, l, Worker{Slot: 0, PID: 1}, numbered("GET", 0, 5000))
	failing.end()
	done(t, a)
	if diff := cmp.Diff([]string{"Traceback", "SyntaxError"}, a.Last()); diff != "" {
		t.Error(diff)
	}

	many := newScript()
	b := l.Attach(t.Context(), Worker{Slot: 0, PID: 3}, many, nil)
	many.out(numbered("x", 0, 100))
	many.end()
	done(t, b)
	if diff := cmp.Diff(strings.Split(strings.TrimSpace(numbered("x", 80, 100)), "\n"), b.Last()); diff != "" {
		t.Error(diff)
	}
}
