package output

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/output/form"
	"github.com/muster-run/muster/internal/output/zst"
)

// want is "line from" to "line to-1".
func want(from, to int) []string {
	out := []string{}
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprint("line ", i))
	}
	return out
}

// TestTailFromEverywhere: any n gives the same whether the records are in memory,
// in the file, or in rotated ones, compressed or not.
func TestTailFromEverywhere(t *testing.T) {
	for _, kept := range []int{0, 10, 5000} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			o := small(t)
			o.Log.Lines = kept
			l := open(t, o)
			for i := range 30 {
				printed(t, l, Worker{}, numbered("line", i*100, (i+1)*100))
			}
			for _, n := range []int{0, 1, 10, 11, 150, 1500, 2999, 3000, 4000} {
				if diff := cmp.Diff(want(max(0, 3000-n), 3000), lines(tail(t, l, Filter{}, n))); diff != "" {
					t.Errorf("%d: %s", n, diff)
				}
			}
			if diff := cmp.Diff(want(0, 3000), lines(tail(t, l, Filter{}, -1))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestTailOfALargeFile goes backwards in one plain file.
func TestTailOfALargeFile(t *testing.T) {
	o := options(t)
	o.Log.Lines = 1
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 60_000))
	for _, n := range []int{2, 2500, 20_000, 60_000} {
		if diff := cmp.Diff(want(60_000-n, 60_000), lines(tail(t, l, Filter{}, n))); diff != "" {
			t.Errorf("%d: %s", n, diff)
		}
	}
}

func TestFilter(t *testing.T) {
	for _, kept := range []int{1000, 0} {
		o := options(t)
		o.Log.Lines = kept
		l := open(t, o)
		for slot := range 3 {
			s := newScript()
			s.out(fmt.Sprintf("out %d\n", slot))
			s.err(fmt.Sprintf("err %d\n", slot))
			s.end()
			done(t, l.Attach(t.Context(), Worker{Slot: slot}, s, nil))
		}
		middle := tail(t, l, Filter{}, -1)[3].Time
		for _, c := range []struct {
			f    Filter
			n    int
			want string
		}{
			{Filter{}, -1, "out 0,err 0,out 1,err 1,out 2,err 2"},
			{Filter{Slots: []int{1}}, -1, "out 1,err 1"},
			{Filter{Slots: []int{0, 2}, Streams: []string{"stderr"}}, -1, "err 0,err 2"},
			{Filter{Streams: []string{"stdout"}}, 2, "out 1,out 2"},
			{Filter{Slots: []int{}}, -1, ""},
			{Filter{Slots: []int{9}}, 10, ""},
			{Filter{Since: middle}, -1, "err 1,out 2,err 2"},
			{Filter{Since: time.Now().Add(time.Hour)}, 5, ""},
		} {
			if got := strings.Join(lines(tail(t, l, c.f, c.n)), ","); got != c.want {
				t.Errorf("%+v: %q, want %q", c.f, got, c.want)
			}
		}
	}
}

// TestAfterRestartOfTheAgent: what an earlier Log has written is read back.
func TestAfterRestartOfTheAgent(t *testing.T) {
	o := small(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 500))
	l.Close()
	l = open(t, o)
	if diff := cmp.Diff(want(490, 500), lines(tail(t, l, Filter{}, 10))); diff != "" {
		t.Error("before the first new line:", diff)
	}
	printed(t, l, Worker{}, numbered("line", 500, 505))
	if diff := cmp.Diff(want(490, 505), lines(tail(t, l, Filter{}, 15))); diff != "" {
		t.Error(diff)
	}
	var got []api.Record
	if err := logFile(o.File).Read(Filter{}, -1, collect(&got)); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want(0, 505), lines(got)); diff != "" {
		t.Error(diff)
	}
	if err := logFile(o.File+".none").Read(Filter{}, -1, collect(&got)); err != nil {
		t.Error("a log that never was:", err)
	}
	if err := logFile(t.TempDir()).Read(Filter{}, -1, collect(&got)); err == nil {
		t.Error("a directory is read")
	}
}

func TestYieldEndsTheReading(t *testing.T) {
	o := small(t)
	o.Log.Lines = 10
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 500))
	enough := errors.New("enough")
	for _, n := range []int{5, 100, -1} {
		count := 0
		err := l.Read(Filter{}, n, func(api.Record) error {
			if count++; count == 3 {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) || count != 3 {
			t.Error(n, count, err)
		}
	}
	if f, err := l.ReadFollow(Filter{}, -1, 1, func(api.Record) error { return enough }); !errors.Is(err, enough) || f != nil {
		t.Error(f, err)
	}
}

// TestDamagedArchive: the rest is told to be missing, everything else is shown.
func TestDamagedArchive(t *testing.T) {
	o := small(t)
	l := open(t, o)
	printed(t, l, Worker{}, numbered("line", 0, 1000))
	waitFor(t, "compression", func() bool { _, plain := files(t, o); return len(plain) == 1 })
	path := backups(o.File, zst.Packing{})[1].path + ".zst"
	b := read(t, path)
	if err := os.WriteFile(path, []byte(b[:len(b)/2]), 0o600); err != nil {
		t.Fatal(err)
	}
	l.Close()
	l = open(t, o)
	got := lines(tail(t, l, Filter{}, -1))
	all := strings.Join(got, "\n")
	if !strings.Contains(all, "is damaged") || got[0] != "line 0" || got[len(got)-1] != "line 999" {
		t.Error(all)
	}
}

func TestFollow(t *testing.T) {
	l := open(t, options(t))
	printed(t, l, Worker{}, "before\n")
	f := l.Follow(10)
	printed(t, l, Worker{Slot: 1, PID: 5}, "one\ntwo\n")
	l.Close()
	got := drained(f)
	if diff := cmp.Diff([]string{"one", "two"}, lines(got)); diff != "" || got[0].Slot != 1 || got[0].PID != 5 {
		t.Error(diff, got)
	}
	f.Close()
}

// TestSlowFollower: it never slows a worker, and is told what it has missed.
func TestSlowFollower(t *testing.T) {
	l := open(t, options(t))
	f := l.Follow(3)
	printed(t, l, Worker{}, numbered("line", 0, 1000))
	first := []string{(<-f.C).Line, (<-f.C).Line, (<-f.C).Line}
	if diff := cmp.Diff(want(0, 3), first); diff != "" {
		t.Error(diff)
	}
	printed(t, l, Worker{}, "line 1000\nline 1001\n")
	if r := <-f.C; r.Line != "line 1000" || r.Lost != 997 {
		t.Errorf("%+v", r)
	}
	if r := <-f.C; r.Line != "line 1001" || r.Lost != 0 {
		t.Errorf("%+v", r)
	}
	f.Close()
	f.Close()
	if len(drained(f)) != 0 {
		t.Error("records after Close")
	}
	if got := lines(tail(t, l, Filter{}, -1)); len(got) != 1002 {
		t.Error(len(got))
	}
}

// TestTailFollowWithoutGapOrDouble: while workers print and files rotate, tail and
// follower together have each record once.
func TestTailFollowWithoutGapOrDouble(t *testing.T) {
	for _, kept := range []int{0, 50, 10_000} {
		t.Run(fmt.Sprint(kept), func(t *testing.T) {
			o := small(t)
			o.Log.Lines = kept
			l := open(t, o)
			const total = 4000
			s := newScript()
			a := l.Attach(t.Context(), Worker{}, s, nil)
			var group sync.WaitGroup
			group.Go(func() {
				for i := 0; i < total; i += 20 {
					s.out(numbered("line", i, i+20))
				}
				s.end()
			})
			for i := range 20 {
				group.Go(func() {
					n := -1
					if i%2 == 0 {
						n = (i + 1) * 30
					}
					first, f, err := l.TailFollow(Filter{}, n, total)
					if err != nil {
						t.Error(err)
						return
					}
					got := lines(first)
					from := 0
					if n >= 0 && len(got) == n {
						fmt.Sscanf(got[0], "line %d", &from)
					}
					for len(got) < total-from {
						select {
						case r, ok := <-f.C:
							if !ok || r.Lost > 0 {
								t.Error("follower", ok, r.Lost)
								return
							}
							got = append(got, r.Line)
						case <-time.After(20 * time.Second):
							t.Errorf("n=%d: the follower stops after %d", n, len(got))
							return
						}
					}
					f.Close()
					if diff := cmp.Diff(want(from, total), got); diff != "" {
						t.Errorf("n=%d: %s", n, diff)
					}
				})
				<-time.After(time.Millisecond)
			}
			group.Wait()
			done(t, a)
		})
	}
}

// TestManyWorkers: 20 workers print at the same time; every line once, in order.
func TestManyWorkers(t *testing.T) {
	o := small(t)
	o.Log.MaxSize = 500_000
	l := open(t, o)
	var all []*Attachment
	for slot := range 20 {
		s := newScript()
		all = append(all, l.Attach(t.Context(), Worker{Slot: slot}, s, nil))
		go func() {
			for i := range 50 {
				s.out(numbered(fmt.Sprint(slot), i*20, (i+1)*20))
			}
			s.end()
		}()
	}
	for _, a := range all {
		done(t, a)
	}
	next := make([]int, 20)
	for _, r := range tail(t, l, Filter{}, -1) {
		if r.Line != fmt.Sprint(r.Slot, " ", next[r.Slot]) {
			t.Fatalf("%+v, want %d", r, next[r.Slot])
		}
		next[r.Slot]++
	}
	for slot, n := range next {
		if n != 1000 {
			t.Error(slot, n)
		}
	}
}

// TestReadBackAfterARestart: the file's lines are there though memory is empty.
func TestReadBackAfterARestart(t *testing.T) {
	o := options(t)
	for i := range 3 {
		l := open(t, o)
		if diff := cmp.Diff(want(0, i), lines(tail(t, l, Filter{}, -1))); diff != "" {
			t.Error(diff)
		}
		printed(t, l, Worker{}, numbered("line", i, i+1))
		if diff := cmp.Diff(want(0, i+1), lines(tail(t, l, Filter{}, 5))); diff != "" {
			t.Error(diff)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzReadBack(f *testing.F) {
	r := api.Record{Time: time.Unix(5, 0), App: "web", Slot: 2, PID: 4711, Stream: stderr, Line: "x"}
	f.Add(form.Append(form.Append(nil, &r, "json"), &r, "text"), int64(3))
	f.Add([]byte("{\"torn\n\n\x00\nfree text"), int64(0))
	f.Fuzz(func(t *testing.T, b []byte, offset int64) {
		path := t.TempDir() + "/web.log"
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		var all, last []api.Record
		if err := logFile(path).Read(Filter{}, -1, collect(&all)); err != nil {
			t.Fatal(err)
		}
		n := int(offset % 10)
		if err := logFile(path).Read(Filter{}, n, collect(&last)); err != nil {
			t.Fatal(err)
		}
		if n >= 0 && len(last) != min(n, len(all)) {
			t.Fatal(n, len(last), len(all))
		}
	})
}
