package supervisor

import (
	"context"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// A stop makes a start void that still waits for a dependency, and whoever gave
// the start is told.
func TestStopEndsAWaitForADependency(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setAccepts(listener.No)
		db := app("db", 1, func(a *spec.App) { a.Ready.Timeout = spec.Duration(time.Hour) })
		applied := make(chan []string, 1)
		go func() {
			var codes []string
			for _, r := range w.sup.Apply(w.Context(), specOf(db, app("web", 1, needs("db", spec.IsReady)))).Results {
				codes = append(codes, r.App+" "+string(r.Fault.Code))
			}
			applied <- codes
		}()
		w.pass(time.Second)
		for _, name := range []string{"web", "db"} {
			if f := w.sup.Stop(w.Context(), order(name)).Fault(); f != nil {
				t.Fatal(f)
			}
		}
		synctest.Wait()
		select {
		case codes := <-applied:
			for i, want := range []string{"db " + string(fault.NotRunning), "web " + string(fault.NotRunning)} {
				if codes[i] != want {
					t.Errorf("%v", codes)
				}
			}
		default:
			t.Fatal("the apply still waits")
		}
	})
}

// An order whose giver has left goes on: the listeners follow the last worker.
func TestListenersFollowAnAbandonedStop(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		w.fake.OnSignal(func(_ string, sig syscall.Signal) bool { return sig == syscall.SIGTERM })
		ctx, cancel := context.WithTimeout(w.Context(), time.Second)
		defer cancel()
		if f := w.sup.Stop(ctx, order("web")).Fault(); f == nil || f.Code != fault.Timeout {
			t.Fatalf("%v", f)
		}
		if n := len(listening(w)); n != 1 {
			t.Errorf("%d listeners while a worker still runs", n)
		}
		w.pass(time.Minute)
		w.wantStates("web", "stopped")
		if left := listening(w); len(left) != 0 {
			t.Errorf("listeners left: %v", left)
		}
	})
}

// A stop in the midst of a rollout that changes listeners closes those of both
// releases.
func TestStopHalfWayClosesTheListenersOfBothReleases(t *testing.T) {
	inWorld(t, func(w *world) {
		at := func(port string) func(*spec.App) {
			return func(a *spec.App) { a.Listen[0].Address = "127.0.0.1:" + port }
		}
		w.apply(app("web", 2, at("8001")))
		soak := func(a *spec.App) { a.Reload.Soak = spec.Duration(10 * time.Second) }
		done := make(chan *fault.Fault, 1)
		go func() { done <- w.sup.Apply(w.Context(), specOf(app("web", 2, at("8002"), soak))).Fault() }()
		w.pass(15 * time.Second) // slot 0 is replaced, slot 1 not yet
		if n := len(listening(w)); n != 2 {
			t.Fatalf("%d listeners in the midst of the rollout", n)
		}
		if f := w.sup.Stop(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		if f := <-done; f == nil || f.Code != fault.ReloadAborted {
			t.Errorf("%v", f)
		}
		if left := listening(w); len(left) != 0 {
			t.Errorf("listeners left: %v", left)
		}
	})
}

// An app that is being removed is not started again by an order that comes late.
func TestAnAppBeingRemovedIsNotStarted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("one", 1), app("two", 1))
		w.fake.OnSignal(func(_ string, sig syscall.Signal) bool { return sig == syscall.SIGTERM })
		removed := make(chan *fault.Fault, 1)
		go func() { removed <- w.sup.Apply(w.Context(), specOf(app("two", 1))).Fault() }()
		w.pass(time.Second)
		if f := w.sup.Start(w.Context(), order("one")).Fault(); f == nil || f.Code != fault.NotRunning {
			t.Errorf("%v", f)
		}
		if f := <-removed; f != nil {
			t.Error(f)
		}
		if n := len(w.fake.List()); n != 1 {
			t.Errorf("%d processes", n)
		}
		w.fake.OnSignal(nil)
	})
}

// A listener that the declaration lost while all workers had failed is closed
// by the next start.
func TestStartAfterAFailureClosesWhatIsNoLongerDeclared(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1, func(a *spec.App) { a.Restart.Policy = spec.RestartNever }))
		w.crash("web", 0, 1, 0)
		w.wantStates("web", "failed")
		w.apply(app("web", 1, func(a *spec.App) { a.Listen[0].Address = "127.0.0.1:8001" }))
		if list := listening(w); len(list) != 1 {
			t.Errorf("listeners %v", list)
		}
	})
}

// The second Ctrl-C: a shutdown that kills does not wait for the one that is
// patient with a worker that ignores TERM.
func TestShutdownNowOvertakesAPatientOne(t *testing.T) {
	inWorld(t, func(w *world) {
		w.fake.OnSignal(func(string, syscall.Signal) bool { return true })
		w.apply(app("db", 1), app("web", 2, needs("db", spec.IsReady)))
		begun, patient := time.Now(), make(chan error, 1)
		go func() { patient <- w.sup.Shutdown(context.Background(), false) }()
		w.pass(time.Second)
		if err := w.sup.Shutdown(context.Background(), true); err != nil {
			t.Error(err)
		}
		if err := <-patient; err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// A worker whose renewal was ended by a reload that failed is still renewed.
func TestRenewalAfterAReloadThatTookItsPlace(t *testing.T) {
	inWorld(t, func(w *world) {
		m := &memory{used: map[int]int64{}}
		w.sup.shared.Usage = m
		w.apply(app("web", 1, func(a *spec.App) { a.Limits.Memory = 100 << 20 }))
		old := w.pids("web")[0]
		w.setAccepts(listener.No)
		m.set(old, 1<<30)
		w.pass(10 * time.Second) // its replacement does not become ready
		w.fake.FailStart(func(process.Command) error { return fault.New(fault.StartFailed, "no") })
		if f := w.sup.Reload(w.Context(), api.Order{Selector: "web", Now: true}).Fault(); f == nil || f.Code != fault.ReloadFailed {
			t.Fatalf("%v", f)
		}
		if now := w.pids("web")[0]; now != old {
			t.Fatalf("pid %d, was %d", now, old)
		}
		w.fake.FailStart(nil)
		w.setAccepts(listener.Yes)
		w.pass(10 * time.Second)
		w.wantStates("web", "ready")
		if now := w.pids("web")[0]; now == old {
			t.Error("the worker was not renewed")
		}
	})
}

// Workers that share a port of their own (SO_REUSEPORT) are replaced without a
// gap; one that has a port to itself goes first.
func TestSurgeWithPorts(t *testing.T) {
	for increment, peak := range map[int]int{0: 3, 1: 2} {
		inWorld(t, func(w *world) {
			shares := func(a *spec.App) {
				a.Listen = nil
				a.Ports = []spec.Port{{Name: "http", Number: 9000, Increment: increment, Env: "PORT"}}
			}
			w.own = []listener.Socket{{Network: "tcp", Port: 9000}, {Network: "tcp", Port: 9001}}
			w.apply(app("web", 2, shares))
			most := w.peak()
			if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
				t.Fatal(f)
			}
			if got := most(); got != peak {
				t.Errorf("increment %d: %d processes at once, want %d", increment, got, peak)
			}
		})
	}
}
