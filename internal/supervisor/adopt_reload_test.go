package supervisor

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// isNew says whether a command is of the release that a test reloads to.
func isNew(c process.Command) bool { return strings.Contains(string(c.Meta), `"r2"`) }

// wantRelease checks that every worker is ready with a release.
func wantRelease(w *world, app, release string, workers int) {
	w.Helper()
	list := w.workers(app)
	if len(list) != workers {
		w.Fatalf("%d workers, want %d: %s", len(list), workers, w.states(app))
	}
	for _, v := range list {
		if v.State != event.Ready || v.Release != release || v.Restarts != 0 {
			w.Errorf("%s#%d is %s of %s with %d restarts, want %s", v.App, v.Slot, v.State, v.Release, v.Restarts, release)
		}
	}
}

// A reload goes on in each of its phases: what has taken its slot stays, a
// candidate is taken up, the rest follows, and never is a slot without a worker.
func TestReloadGoesOn(t *testing.T) {
	for name, until := range map[string]func(w *world){
		"candidate starting": func(w *world) { w.setAccepts(listener.No); w.reload(); w.pass(time.Second) },
		"candidate soaking":  func(w *world) { w.reload(); w.pass(5 * time.Second) },
		"draining": func(w *world) {
			w.fake.OnSignal(func(string, syscall.Signal) bool { return true })
			w.reload()
			w.pass(12 * time.Second)
		},
		"second soaking": func(w *world) { w.reload(); w.pass(15 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, func(w *world, end func()) {
				soak := func(a *spec.App) { a.Reload.Soak = spec.Duration(10 * time.Second) }
				w.apply(app("web", 3, soak))
				peak := w.peak()
				until(w)
				starts, gone := len(w.fake.Commands()), w.app("web").Reload
				if gone == nil {
					t.Fatalf("no reload under way: %s", w.states("web"))
				}
				w.renew(end)
				if a := w.app("web"); a.Status != event.Reloading || a.Reload == nil || a.Reload.Done != gone.Done {
					t.Errorf("%+v, was %+v", a, gone)
				}
				w.setAccepts(listener.Yes)
				w.pass(5 * time.Minute)
				wantRelease(w, "web", "r2", 3)
				if n := len(w.fake.Commands()); n != 6 || starts > 6 {
					t.Errorf("%d starts, %d before", n, starts)
				}
				if peak() > 4 || w.bound != 1 {
					t.Errorf("%d processes at once, %d listeners", peak(), w.bound)
				}
				if a := w.app("web"); a.Status != event.Healthy || a.Generation != 2 {
					t.Errorf("%+v", a)
				}
				if f := w.sup.Rollback(w.Context(), order("web")).Fault(); f != nil {
					t.Error(f)
				}
			})
		})
	}
}

// reload begins one that nobody waits for.
func (w *world) reload() { go w.sup.Reload(w.Context(), order("web")) }

// Without a surge, too.
func TestReloadInPlaceGoesOn(t *testing.T) {
	for name, after := range map[string]time.Duration{"old draining": 5 * time.Second, "new starting": 31 * time.Second} {
		t.Run(name, func(t *testing.T) {
			eachEnd(t, func(w *world, end func()) {
				w.apply(app("web", 2, func(a *spec.App) { a.Reload.Surge = 0 }))
				w.fake.OnSignal(func(string, syscall.Signal) bool { return true })
				w.setAccepts(listener.No)
				peak := w.peak()
				w.reload()
				w.pass(after)
				w.renew(end)
				w.setAccepts(listener.Yes)
				w.pass(5 * time.Minute)
				wantRelease(w, "web", "r2", 2)
				if peak() > 2 || len(w.fake.Commands()) != 4 {
					t.Errorf("%d processes at once, %d starts", peak(), len(w.fake.Commands()))
				}
			})
		})
	}
}

// A build is done again, and its listeners are bound once.
func TestPreparationIsDoneAgain(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 2))
		block := make(chan struct{})
		w.block = block
		next := app("web", 2, func(a *spec.App) {
			a.Listen = append(a.Listen, spec.Listener{Name: "more", Network: "tcp", Address: "127.0.0.1:9999"})
		})
		go w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{next}})
		w.pass(time.Second)
		go close(block)
		w.renew(end)
		w.pass(time.Minute)
		wantRelease(w, "web", "r2", 2)
		if len(listening(w)) != 2 {
			t.Errorf("listeners %q", listening(w))
		}
	})
}

// A release that has failed goes on being undone; one whose candidate failed
// while no agent was there is undone, too.
func TestRevertGoesOn(t *testing.T) {
	fails := func(w *world) func(process.Command) {
		return func(c process.Command) {
			if isNew(c) && strings.Contains(string(c.Meta), `"slot":1`) {
				w.fake.Exit(c.ID, 1, 0)
			}
		}
	}
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 3))
		before := w.pids("web")
		w.onStart(fails(w))
		w.fake.OnSignal(func(string, syscall.Signal) bool { return true }) // so that undoing takes time
		w.reload()
		w.pass(45 * time.Second)
		if a := w.app("web"); a.Reload == nil || a.Reload.Phase != event.ReloadReverting {
			t.Fatalf("%+v", a.Reload)
		}
		w.renew(end)
		w.pass(5 * time.Minute)
		wantRelease(w, "web", "r1", 3)
		if after := w.pids("web"); after[1] != before[1] || after[2] != before[2] {
			t.Errorf("pids %v then %v", before, after)
		}
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
			t.Errorf("the next reload: %v", f)
		}
	})
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 2))
		before := w.pids("web")
		w.setAccepts(listener.No)
		w.reload()
		w.pass(time.Second)
		end()
		w.fake.Exit(w.fake.List()[2].ID, 1, 0)
		w.begin()
		w.pass(time.Minute)
		wantRelease(w, "web", "r1", 2)
		if after := w.pids("web"); after[0] != before[0] || after[1] != before[1] {
			t.Errorf("pids %v then %v", before, after)
		}
		warned := false
		for _, e := range events[event.Reload](w) {
			f := e.Data.(event.Reload).Fault
			warned = warned || f != nil && f.Code == fault.ReloadFailed
		}
		if !warned {
			t.Error("the end of the reload was not told")
		}
	})
}

// The renewal of an unwell worker is dropped and asked for again.
func TestRenewalIsAskedForAgain(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		m := &memory{used: map[int]int64{}}
		w.usage = m
		w.renew(end)
		w.apply(app("web", 2, func(a *spec.App) { a.Limits.Memory = 100 << 20 }))
		before := w.pids("web")
		m.set(before[0], 101<<20)
		w.setAccepts(listener.No)
		w.pass(10 * time.Second)
		w.renew(end)
		w.setAccepts(listener.Yes)
		w.pass(time.Minute)
		list := w.workers("web")
		if len(list) != 2 || list[0].PID == before[0] || list[1].PID != before[1] || list[0].Restarts != 1 {
			t.Errorf("%v then %+v", before, list)
		}
	})
}

// One that waits in line behind another is lost, and asked for again.
func TestRenewalInLineIsAskedForAgain(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		m := &memory{used: map[int]int64{}}
		w.usage = m
		w.renew(end)
		w.apply(app("web", 3, func(a *spec.App) { a.Limits.Memory = 100 << 20 }))
		before := w.pids("web")
		for _, pid := range before {
			m.set(pid, 101<<20)
		}
		w.setAccepts(listener.No)
		w.pass(10 * time.Second)
		w.renew(end)
		w.setAccepts(listener.Yes)
		w.pass(time.Minute)
		list := w.workers("web")
		for i, v := range list {
			if v.PID == before[i] || v.Restarts != 1 || v.State != event.Ready {
				t.Errorf("pid %d, then %+v", before[i], v)
			}
		}
	})
}

// A change of size goes on, both ways.
func TestScaleGoesOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 2))
		w.setAccepts(listener.No)
		go w.sup.Scale(w.Context(), scaleTo("web", 4))
		w.pass(time.Second)
		w.renew(end)
		w.setAccepts(listener.Yes)
		w.pass(time.Second)
		wantRelease(w, "web", "r1", 4)
		w.fake.OnSignal(func(string, syscall.Signal) bool { return true })
		go w.sup.Scale(w.Context(), scaleTo("web", 1))
		w.pass(time.Second)
		w.renew(end)
		w.pass(time.Minute)
		wantRelease(w, "web", "r1", 1)
	})
}

// An Apply that was under way goes on: apps that were not begun are started,
// those that are gone are removed.
func TestApplyGoesOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("old", 2), app("web", 2))
		w.fake.OnSignal(func(string, syscall.Signal) bool { return true })
		next := app("web", 3, func(a *spec.App) { a.Env = map[string]string{"V": "2"} })
		go w.sup.Apply(w.Context(), specOf(app("new", 1), next))
		w.pass(10 * time.Second) // old is still being stopped
		w.wantStates("old", "draining draining")
		w.renew(end)
		w.pass(10 * time.Minute)
		wantRelease(w, "web", "r2", 3)
		wantRelease(w, "new", "r1", 1)
		if len(w.sup.Snapshot()) != 2 || len(listening(w)) != 2 {
			t.Errorf("%d apps, listeners %q", len(w.sup.Snapshot()), listening(w))
		}
		w.renew(end)
		w.pass(time.Minute)
		if n := len(w.fake.Commands()); n != 2+2+1+3 {
			t.Errorf("%d starts", n)
		}
	})
}
