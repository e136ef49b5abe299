package dealt

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/muster-run/muster"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/test/load"
	"github.com/muster-run/muster/test/rig"
)

// started is a pool of two that ends with the test.
func started(t *testing.T, addr string, balance spec.Balance) *muster.Pool {
	t.Helper()
	app, err := muster.Self()
	if err != nil {
		t.Fatal(err)
	}
	app.Command, app.Balance = app.Command[:1], balance
	app.Env = map[string]string{workVar: "1", listenVar: "tcp " + addr, releaseVar: "1"}
	p, err := muster.Start(t.Context(), muster.Options{
		App: app, Workers: 2, Listen: []string{addr}, Output: io.Discard, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = p.Stop(ctx)
	})
	return p
}

// pids of the workers that are ready, by slot.
func pids(p *muster.Pool) map[int]int {
	list := map[int]int{}
	for _, w := range p.Status().Workers {
		if w.State == event.Ready {
			list[w.Slot] = w.PID
		}
	}
	return list
}

// Pool shows that a Go program that is a pool of itself serves, is reloaded and scaled under
// load without losing a request, and leaves nothing behind.
func Pool(t *testing.T, balance spec.Balance) string {
	addr := rig.Addr(t)
	p := started(t, addr, balance)
	before := pids(p)
	if len(before) != 2 || p.Status().Status != event.Healthy {
		t.Fatalf("%+v", p.Status())
	}
	run := load.Start(load.Options{Addr: addr, Fresh: 8, Kept: 8})
	defer run.Stop()
	if err := p.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	after := pids(p)
	for slot, pid := range before {
		if after[slot] == pid || rig.Alive(pid) {
			t.Errorf("worker #%d is still pid %d", slot, pid)
		}
	}
	if err := p.Scale(t.Context(), 3); err != nil || len(pids(p)) != 3 {
		t.Error(err, pids(p))
	}
	app := p.App()
	app.Env[releaseVar] = "2"
	if err := p.Apply(t.Context(), app); err != nil {
		t.Error(err)
	}
	run.Mark()
	rig.Until(t, 30*time.Second, "an answer of each new worker", func() bool { return len(run.Report().PIDs()) == 3 })
	end := run.Stop()
	if end.Lost() > 0 || !slices.Equal(end.Releases(), []string{"2"}) {
		t.Error(end, end.Releases())
	}
	last := pids(p)
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	for _, pid := range last {
		if rig.Alive(pid) {
			t.Errorf("pid %d is left", pid)
		}
	}
	return fmt.Sprintf("reloaded, scaled and changed: %v", end)
}
