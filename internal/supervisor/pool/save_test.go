package pool

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// large is a pool of many ready workers whose goroutine does not run.
func large(tb testing.TB, workers int) *Pool {
	tb.Helper()
	store := process.NewDirectStore()
	tb.Cleanup(func() { store.Close() })
	p := bare(tb.Context(), &Shared{Records: process.Records{Store: store}, Log: slog.New(slog.DiscardHandler)}, "web")
	app := spec.DefaultApp("web")
	app.Workers = workers
	p.declare(app, []string{"PATH=/bin"})
	gen := &generation.Generation{Number: 1, Release: &generation.Release{Name: "r1", App: app}}
	p.serve(gen)
	for n := range workers {
		s := p.slot(n)
		s.cur = p.add(s, gen)
		s.cur.State = event.Ready
		s.cur.Run = attempt.Adopt(tb.Context(), attempt.Config{}, record.Process{
			ID: fmt.Sprintf("web.%d.abc-%d", n, n), Launched: time.Now(), Started: time.Now(), Ready: time.Now(),
		})
	}
	return p
}

// A record is written only when something has changed, and what was changed in
// place is found again.
func TestSave(t *testing.T) {
	p := large(t, 3)
	written := func() string {
		t.Helper()
		p.save()
		text, err := p.shared.Records.Load(record.PoolName("web"))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.shared.Records.Forget(record.PoolName("web")); err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if written() == "" || written() != "" {
		t.Error("not written once")
	}
	p.slots[1].Restarts++
	if written() == "" {
		t.Error("a change was not written")
	}
	p.update(p.app)
	if written() == "" {
		t.Error("an update was not written")
	}
	rec, _, err := record.Load[record.Releases](p.shared.Records, record.ReleasesName("web"))
	if err != nil || len(rec.Releases) < 2 {
		t.Fatalf("%+v, %v", rec, err)
	}
	delete(p.slots, 2)
	if written() == "" {
		t.Error("a slot that has gone was not written")
	}
}

// BenchmarkSave is the record of 500 workers after a change of one.
func BenchmarkSave(b *testing.B) {
	p := large(b, 500)
	p.save()
	for b.Loop() {
		p.slots[7].Restarts++
		p.save()
	}
}

// BenchmarkSaveNothing is a look that finds no change.
func BenchmarkSaveNothing(b *testing.B) {
	p := large(b, 500)
	p.save()
	for b.Loop() {
		p.save()
	}
}
