package lifecycle

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestTeardownLastInFirstOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l log
		var down Teardown
		release := make(chan struct{})
		add := func(name string, undo func(context.Context) error) {
			if err := down.Add(name, time.Second, func(ctx context.Context) error { l.add("%s", name); return undo(ctx) }); err != nil {
				t.Error(err)
			}
		}
		add("socket", func(context.Context) error { return nil })
		add("file", func(context.Context) error { return errBoom })
		add("panics", func(context.Context) error { panic("oh") })
		add("hangs", func(context.Context) error { <-release; return nil })
		add("slow", func(ctx context.Context) error { <-ctx.Done(); return nil })
		began := time.Now()
		err := down.Run()
		if got := l.String(); got != "slow, hangs, panics, file, socket" {
			t.Error(got)
		}
		if took := time.Since(began); took != 2*time.Second {
			t.Error(took)
		}
		var p *PanicError
		if !errors.Is(err, errBoom) || !errors.Is(err, ErrTimeout) || !errors.As(err, &p) {
			t.Error(err)
		}
		if again := down.Run(); again != err {
			t.Error(again)
		}
		close(release)
	})
}

func TestTeardownAfterRun(t *testing.T) {
	var down Teardown
	if err := down.Run(); err != nil {
		t.Error(err)
	}
	ran := false
	err := down.Add("late", 0, func(context.Context) error { ran = true; return errBoom })
	if !ran || !errors.Is(err, errBoom) {
		t.Error("what comes too late is undone at once:", ran, err)
	}
}

// TestTeardownStress: each function once, whoever calls what.
func TestTeardownStress(t *testing.T) {
	for range 200 {
		var down Teardown
		var runs [10]atomic.Int64
		var group sync.WaitGroup
		for i := range runs {
			group.Go(func() {
				if err := down.Add("x", 0, func(context.Context) error { runs[i].Add(1); return nil }); err != nil {
					t.Error(err)
				}
			})
			group.Go(func() {
				if err := down.Run(); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		for i := range runs {
			if n := runs[i].Load(); n != 1 {
				t.Fatal(i, n)
			}
		}
	}
}
