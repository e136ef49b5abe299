package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errBoom = errors.New("boom")

// log collects what happens, in order.
type log struct {
	mu   sync.Mutex
	list []string
}

func (l *log) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, fmt.Sprintf(format, args...))
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.list, ", ")
}

// until is a part that works until it is told to end.
func (l *log) until(name string) Part {
	return Part{Name: name, Run: func(ctx context.Context) error {
		<-ctx.Done()
		l.add("%s ended", name)
		return ctx.Err()
	}}
}

func TestStopInReverseOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		g := New(nil)
		b := l.until("b")
		b.Stop = func(context.Context) error { l.add("b stops"); return nil }
		if err := g.Start(t.Context(), l.until("a"), b, l.until("c")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		if got := l.String(); got != "c ended, b stops, b ended, a ended" {
			t.Error(got)
		}
	})
}

func TestFirstEndStopsAll(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"error": {errBoom, "b: boom"},
		"nil":   {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l log
				g := New(func(f Failure) { l.add("%s failed: %v, again %v", f.Part, f.Err, f.Again) })
				b := Part{Name: "b", Run: func(context.Context) error { <-time.After(time.Second); return c.err }}
				if err := g.Start(t.Context(), l.until("a"), b, l.until("c")); err != nil {
					t.Fatal(err)
				}
				err := g.Wait()
				if text := fmt.Sprint(err); err == nil && c.want != "" || err != nil && text != c.want {
					t.Errorf("%v, want %q", err, c.want)
				}
				if !errors.Is(err, c.err) {
					t.Error(err)
				}
				if got := l.String(); got != fmt.Sprintf("b failed: %v, again 0s, c ended, a ended", c.err) {
					t.Error(got)
				}
				if g.Stop() != err {
					t.Error("Stop differs from Wait")
				}
			})
		})
	}
}

func TestContextEndsTheGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		ctx, cancel := context.WithCancel(t.Context())
		g := New(nil)
		if err := g.Start(ctx, l.until("a"), l.until("b")); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := g.Wait(); err != nil || l.String() != "b ended, a ended" {
			t.Error(err, l.String())
		}
	})
}

func TestErrorsAreJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		other := errors.New("other")
		g := New(nil)
		err := g.Start(t.Context(),
			Part{Name: "a", Run: func(ctx context.Context) error { <-ctx.Done(); return errBoom }},
			Part{Name: "b", Run: func(ctx context.Context) error { <-ctx.Done(); return nil }, Stop: func(context.Context) error { return other }},
		)
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Stop(); !errors.Is(err, errBoom) || !errors.Is(err, other) || err.Error() != "b: other\na: boom" {
			t.Error(err)
		}
	})
}

// TestDeadline: parts that hang are left behind, the others still end.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		release := make(chan struct{})
		hang := func(context.Context) error { <-release; return nil }
		g := New(nil)
		err := g.Start(t.Context(), l.until("a"),
			Part{Name: "hangs", Timeout: time.Second, Run: hang},
			Part{Name: "stop hangs", Timeout: 2 * time.Second, Run: l.until("x").Run, Stop: hang},
			Part{Name: "defaults", Run: hang},
		)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = g.Stop()
		if took := time.Since(began); took < DefaultTimeout+3*time.Second || took > DefaultTimeout+5*time.Second {
			t.Error(took)
		}
		if !errors.Is(err, ErrTimeout) || strings.Count(err.Error(), "did not end in time") != 3 || l.String() != "x ended, a ended" {
			t.Error(err, l.String())
		}
		close(release)
	})
}

func TestPanicBecomesAnError(t *testing.T) { // S1.7
	synctest.Test(t, func(t *testing.T) {
		g := New(nil)
		if err := g.Start(t.Context(), Part{Name: "a", Run: func(context.Context) error { panic(errBoom) }}); err != nil {
			t.Fatal(err)
		}
		err := g.Wait()
		var p *PanicError
		if !errors.As(err, &p) || !errors.Is(err, errBoom) || !strings.Contains(string(p.Stack), "lifecycle_test.go") {
			t.Error(err)
		}
		g = New(nil)
		if err := g.Start(t.Context(), Part{Name: "no Run"}); err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); !errors.As(err, &p) {
			t.Error(err)
		}
	})
}

func TestRestartInPlace(t *testing.T) { // S1.7
	synctest.Test(t, func(t *testing.T) {
		var l log
		began := time.Now()
		runs := 0
		bus := Part{Name: "bus", Restart: true, Run: func(ctx context.Context) error {
			switch runs++; runs {
			case 1:
				return errBoom
			case 2:
				panic("at the disco")
			case 3:
				return nil
			case 4: // works for a while: the pause begins anew
				<-time.After(time.Minute)
				return errBoom
			}
			l.add("runs")
			<-ctx.Done()
			return ctx.Err()
		}}
		g := New(func(f Failure) {
			l.add("%s at %v, again %v", strings.Split(fmt.Sprint(f.Err), "\n")[0], time.Since(began), f.Again)
		})
		if err := g.Start(t.Context(), l.until("a"), bus); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Minute)
		if err := g.Stop(); err != nil {
			t.Error(err)
		}
		want := "boom at 0s, again 100ms, panic: at the disco at 100ms, again 200ms, <nil> at 300ms, again 400ms, " +
			"boom at 1m0.7s, again 100ms, runs, a ended"
		if got := l.String(); got != want {
			t.Errorf("\n%s, want\n%s", got, want)
		}
	})
}

func TestPauseHasACap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var last, count atomic.Int64
		g := New(func(f Failure) { last.Store(int64(f.Again)); count.Add(1) })
		err := g.Start(t.Context(), Part{Name: "a", Restart: true, Run: func(context.Context) error { return errBoom }})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour)
		if time.Duration(last.Load()) != lastPause || count.Load() > 140 {
			t.Error(last.Load(), count.Load())
		}
		began := time.Now()
		if err := g.Stop(); err != nil || time.Since(began) > 0 {
			t.Error("a pause delays the end:", err, time.Since(began))
		}
	})
}

// TestEndFromAPart: a part may ask for the end of its own group.
func TestEndFromAPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		g := New(nil)
		err := g.Start(t.Context(), l.until("a"), Part{Name: "b", Run: func(ctx context.Context) error {
			g.End()
			g.End()
			<-ctx.Done()
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := g.Wait(); err != nil || l.String() != "a ended" {
			t.Error(err, l.String())
		}
	})
}

func TestStopBeforeStart(t *testing.T) {
	g := New(nil)
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
	if err := g.Start(t.Context(), Part{}); !errors.Is(err, ErrStarted) {
		t.Error(err)
	}
	if err := errors.Join(g.Stop(), g.Wait()); err != nil {
		t.Error(err)
	}
}

func TestStartTwice(t *testing.T) {
	g := New(nil)
	if err := g.Start(t.Context()); err != nil {
		t.Error(err)
	}
	if err := g.Start(t.Context()); !errors.Is(err, ErrStarted) {
		t.Error(err)
	}
	if err := g.Stop(); err != nil {
		t.Error(err)
	}
}

// TestStress: any mix of calls ends each part once, and everybody gets the same.
func TestStress(t *testing.T) {
	for range 300 {
		var runs, ends atomic.Int64
		part := func(name string, err error) Part {
			return Part{Name: name, Run: func(ctx context.Context) error {
				runs.Add(1)
				<-ctx.Done()
				ends.Add(1)
				return err
			}}
		}
		g := New(nil)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var group sync.WaitGroup
		errs := make(chan error, 100)
		var starts atomic.Int64
		for range 3 {
			group.Go(func() {
				if g.Start(ctx, part("a", nil), part("b", errBoom)) == nil {
					starts.Add(1)
				}
			})
			group.Go(func() { errs <- g.Stop() })
			group.Go(g.End)
			group.Go(cancel)
			group.Go(func() { errs <- g.Wait() })
		}
		group.Wait()
		close(errs)
		first := <-errs
		for err := range errs {
			if err != first {
				t.Fatal(err, first)
			}
		}
		n := starts.Load()
		if n > 1 || runs.Load() != 2*n || ends.Load() != 2*n || (n == 1) != errors.Is(first, errBoom) {
			t.Fatal(n, runs.Load(), ends.Load(), first)
		}
	}
}
