package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

func order(selector string) api.Order { return api.Order{Selector: selector} }

func TestReloadReplacesEveryWorker(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 4))
		before := w.pids("web")
		if o := w.sup.Reload(w.Context(), order("web")); o.Fault() != nil {
			t.Fatal(o.Fault())
		}
		after := w.pids("web")
		if len(after) != 4 || slices.ContainsFunc(after, func(pid int) bool { return slices.Contains(before, pid) }) {
			t.Errorf("pids %v then %v", before, after)
		}
		for _, v := range w.workers("web") {
			if v.Release != "r2" || v.Generation != 2 || v.Restarts != 0 {
				t.Errorf("%+v", v)
			}
		}
		peak := 0
		for _, e := range events[event.Reload](w) {
			peak = max(peak, e.Data.(event.Reload).Done)
		}
		if peak != 4 {
			t.Errorf("progress went to %d", peak)
		}
	})
}

// The bar, 2: an old worker drains only after its new one is ready.
func TestOldDrainsOnlyAfterNewIsReady(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		old := w.id(w.pids("web")[0])
		w.setAccepts(listener.No)
		done := make(chan struct{})
		go func() { defer close(done); w.sup.Reload(w.Context(), order("web")) }()
		w.pass(30 * time.Second)
		if got := w.fake.Signals(old); len(got) != 0 {
			t.Fatalf("the old worker got %v before the new one was ready", got)
		}
		w.wantStates("web", "ready starting")
		w.setAccepts(listener.Yes)
		<-done
		w.wantStates("web", "ready")
	})
}

// The bar, 1: a release that fails at start changes nothing and says why.
func TestFailingReleaseChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 3))
		before := w.pids("web")
		starts := len(w.fake.Commands())
		w.onStart(func(c process.Command) {
			if strings.Contains(string(c.Meta), `"r2"`) {
				w.fake.Print(c.ID, 2, "Traceback: no module named app\n")
				w.fake.Exit(c.ID, 1, 0)
			}
		})
		f := w.sup.Reload(w.Context(), order("web")).Fault()
		if f == nil || f.Code != fault.ReloadFailed || fault.ExitCode(f) != 1 {
			t.Fatalf("%v", f)
		}
		if !slices.Contains(f.Output, "Traceback: no module named app") {
			t.Errorf("output %q", f.Output)
		}
		if after := w.pids("web"); !slices.Equal(before, after) {
			t.Errorf("pids %v then %v", before, after)
		}
		if n := len(w.fake.Commands()) - starts; n != 1 {
			t.Errorf("%d new workers were tried", n)
		}
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
			t.Errorf("the next reload: %v", f)
		}
	})
}

// A release that fails at the second slot: the first gets its old release back.
func TestFailureHalfWayIsUndone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 3))
		before := w.pids("web")
		seen := 0
		w.fake.FailStart(func(c process.Command) error {
			if strings.Contains(string(c.Meta), `"r2"`) {
				if seen++; seen == 2 {
					return fault.New(fault.CommandNotFound, "gone: %w", syscall.ENOENT)
				}
			}
			return nil
		})
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f == nil || f.Code != fault.ReloadFailed {
			t.Fatalf("%v", f)
		}
		after := w.workers("web")
		if len(after) != 3 {
			t.Fatalf("%v", w.states("web"))
		}
		for i, v := range after {
			if v.State != event.Ready || v.Release != "r1" {
				t.Errorf("%+v", v)
			}
			if i > 0 && v.PID != before[i] {
				t.Errorf("slot %d was touched", i)
			}
		}
	})
}

// A worker that dies while it soaks fails the release.
func TestSoak(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1, func(a *spec.App) { a.Reload.Soak = spec.Duration(10 * time.Second) }))
		old := w.pids("web")
		done := make(chan *fault.Fault, 1)
		go func() { done <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		w.pass(5 * time.Second)
		w.wantStates("web", "ready ready")
		w.crash("web", 1, 1, 0)
		if f := <-done; f == nil || f.Code != fault.ReloadFailed {
			t.Errorf("%v", f)
		}
		if !slices.Equal(old, w.pids("web")) {
			t.Error("the old worker was touched")
		}
	})
}

func TestReloadsWaitInLine(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		done := make(chan *fault.Fault, 2)
		for range 2 {
			go func() { done <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		}
		for range 2 {
			if f := <-done; f != nil {
				t.Error(f)
			}
		}
		if a := w.app("web"); a.Release != "r3" || a.Generation != 3 {
			t.Errorf("%+v", a)
		}
	})
}

func TestReloadNowReplacesOneThatRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		w.setAccepts(listener.No)
		first := make(chan *fault.Fault, 1)
		go func() { first <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		w.pass(time.Second)
		w.setAccepts(listener.Yes)
		if f := w.sup.Reload(w.Context(), api.Order{Selector: "web", Now: true}).Fault(); f != nil {
			t.Fatal(f)
		}
		if f := <-first; f == nil || f.Code != fault.ReloadAborted {
			t.Errorf("%v", f)
		}
		w.pass(time.Minute)
		w.wantStates("web", "ready ready")
	})
}

func TestStopDuringReload(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		w.setAccepts(listener.No)
		reload := make(chan *fault.Fault, 1)
		go func() { reload <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		w.pass(time.Second)
		if f := w.sup.Stop(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		if f := <-reload; f == nil || f.Code != fault.ReloadAborted {
			t.Errorf("%v", f)
		}
		if left := w.fake.List(); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// Scale during a reload waits in line.
func TestScaleDuringReload(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		done := make(chan *fault.Fault, 2)
		go func() { done <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		go func() {
			done <- w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: 2, Relative: true}).Fault()
		}()
		for range 2 {
			if f := <-done; f != nil {
				t.Error(f)
			}
		}
		w.wantStates("web", "ready ready ready ready")
		if f := w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: 1}).Fault(); f != nil {
			t.Fatal(f)
		}
		w.wantStates("web", "ready")
	})
}

// An old worker that crashes during a reload is started again, and the reload succeeds.
func TestOldWorkerCrashesDuringReload(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		w.pass(2 * time.Second)
		w.setAccepts(listener.No)
		done := make(chan *fault.Fault, 1)
		go func() { done <- w.sup.Reload(w.Context(), order("web")).Fault() }()
		w.pass(time.Second)
		pids := w.pids("web") // slot 0: old, new; slot 1: old
		w.fake.Exit(w.id(pids[2]), -1, syscall.SIGSEGV)
		w.pass(time.Second)
		w.setAccepts(listener.Yes)
		if f := <-done; f != nil {
			t.Fatal(f)
		}
		for _, v := range w.workers("web") {
			if v.Release != "r2" || v.State != event.Ready {
				t.Errorf("%+v", v)
			}
		}
	})
}

func TestRollback(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		if f := w.sup.Rollback(w.Context(), order("web")).Fault(); f == nil || f.Code != fault.NoHistory {
			t.Errorf("%v", f)
		}
		w.apply(app("web", 1, func(a *spec.App) { a.Env = map[string]string{"V": "2"} }))
		if a := w.app("web"); a.Release != "r2" {
			t.Fatalf("%+v", a)
		}
		if f := w.sup.Rollback(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		a := w.app("web")
		if a.Release != "r1" || a.Generation != 3 {
			t.Errorf("%+v", a)
		}
		last := w.fake.Commands()[len(w.fake.Commands())-1]
		if slices.Contains(last.Env, "V=2") {
			t.Error("the old release got the new environment")
		}
		if f := w.sup.Rollback(w.Context(), order("web")).Fault(); f == nil || f.Code != fault.NoHistory {
			t.Errorf("a second rollback: %v", f)
		}
	})
}

// Whatever the order of crashes, reloads, scales and stops: the pool comes to
// rest as declared, and nothing is left at the end.
func TestRandomOrdersComeToRest(t *testing.T) {
	for seed := range 30 {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			inWorld(t, func(w *world) { randomOrders(w, seed) })
		})
	}
}

func randomOrders(w *world, seed int) {
	w.apply(app("web", 3))
	rnd := uint32(seed*2654435761 + 1)
	next := func(n int) int {
		rnd = rnd*1664525 + 1013904223
		return int(rnd>>16) % n
	}
	size := 3
	for range 25 {
		switch next(6) {
		case 0:
			go w.sup.Reload(w.Context(), api.Order{Selector: "web", Now: next(3) == 0})
		case 1:
			size = 1 + next(5)
			w.Logf("%s scale %d", time.Now().Format("05.000"), size)
			go w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: size})
			synctest.Wait()
		case 2:
			if list := w.fake.List(); len(list) > 0 {
				w.fake.Exit(list[next(len(list))].ID, next(3), 0)
			}
		case 3:
			w.setAccepts(listener.Answer(1 + next(2)))
		case 4:
			go w.sup.Restart(w.Context(), order("web"))
		case 5:
			w.pass(time.Duration(next(5000)) * time.Millisecond)
		}
	}
	w.setAccepts(listener.Yes)
	w.pass(10 * time.Minute)
	got := strings.Fields(w.states("web"))
	if len(got) != size || slices.ContainsFunc(got, func(s string) bool { return s != "ready" && s != "failed" }) {
		for _, e := range w.hub.Past() {
			w.Logf("%s %s g%d %T %+v", e.Time.Format("05.000"), e.Worker(), e.Generation, e.Data, e.Data)
		}
		w.Errorf("came to rest as %v, want %d ready", got, size)
	}
}

// A reload takes over what the order declares, but not another size.
func TestReloadTakesOverDeclarations(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("api", 1), app("web", 2))
		next := app("web", 5, func(a *spec.App) { a.Env = map[string]string{"V": "2"} })
		o := w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{app("api", 3), next}})
		if o.Fault() != nil {
			t.Fatal(o.Fault())
		}
		w.wantStates("web", "ready ready")
		w.wantStates("api", "ready")
		last := w.fake.Commands()[len(w.fake.Commands())-1]
		if !slices.Contains(last.Env, "V=2") {
			t.Error("the new declaration was not taken over")
		}
		next.Command = nil
		f := w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{next}}).Fault()
		if f == nil || f.Code != fault.Config {
			t.Errorf("%v", f)
		}
		w.wantStates("web", "ready ready")
	})
}

// workers: 0 keeps an app stopped; it comes back by scale.
func TestScaleToNothingAndBack(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		for _, step := range []struct {
			workers int
			want    event.Health
		}{{0, event.AppStopped}, {2, event.Healthy}} {
			if f := w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: step.workers}).Fault(); f != nil {
				t.Fatal(f)
			}
			if a := w.app("web"); a.Status != step.want || a.Ready != step.workers {
				t.Errorf("%d workers: %s (%s), %d ready", step.workers, a.Status, a.Why, a.Ready)
			}
		}
	})
}
