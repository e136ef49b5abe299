package supervisor

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

func TestStartAndStop(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 3))
		w.wantStates("web", "ready ready ready")
		if a := w.app("web"); a.Status != event.Healthy || a.Ready != 3 || a.Release != "r1" || a.Generation != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// S1.6: a worker that dies is replaced, and the exit is reported in full.
func TestCrashIsReplacedAfterBackoff(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		before := w.pids("web")
		w.fake.Print(w.id(before[1]), 2, "boom\n")
		w.pass(2 * time.Second)
		w.crash("web", 1, -1, syscall.SIGKILL)
		w.wantStates("web", "ready backoff")
		w.pass(100 * time.Millisecond)
		w.pass(100 * time.Millisecond)
		w.wantStates("web", "ready ready")
		after := w.workers("web")
		if after[0].PID != before[0] || after[1].PID == before[1] {
			t.Errorf("pids %v then %v", before, w.pids("web"))
		}
		v := after[1]
		if v.Restarts != 1 || v.LastRestart == nil || v.LastExit == nil {
			t.Fatalf("%+v", v)
		}
		if e := v.LastExit; e.Signal != "SIGKILL" || e.Code != -1 || e.PID != before[1] || e.Planned ||
			e.Uptime < 2*time.Second || len(e.Lines) != 1 || e.Lines[0] != "boom" {
			t.Errorf("%+v", e)
		}
	})
}

// One end of a worker that was ready is no crash loop, and that of a task is a
// task's.
func TestCodeOfOneEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		web, task := app("web", 1), app("job", 1)
		web.Restart.Policy = spec.RestartNever
		task.Type = spec.Task
		w.onStart(func(c process.Command) {
			if strings.HasPrefix(c.ID, "job") {
				w.fake.Exit(c.ID, 3, 0)
			}
		})
		w.sup.Apply(w.Context(), specOf(web, task))
		w.pass(2 * time.Second)
		w.crash("web", 0, 3, 0)
		for name, want := range map[string]fault.Code{"web": fault.Exited, "job": fault.TaskFailed} {
			w.wantStates(name, "failed")
			if found := w.app(name).Warnings; len(found) != 1 || found[0].Code != want {
				t.Errorf("%s warns %v, want %s", name, found, want)
			}
		}
	})
}

func TestCrashLoopGivesUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.onStart(func(c process.Command) { w.fake.Exit(c.ID, 3, 0) })
		r := w.sup.Apply(w.Context(), specOf(app("web", 1)))
		if f := r.Fault(); f == nil || f.Code != fault.ExitedEarly {
			t.Fatalf("the order was told %v", f)
		}
		w.wantStates("web", "backoff")
		w.pass(2 * time.Minute)
		w.wantStates("web", "failed")
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f == nil || f.Code != fault.ReloadFailed || strings.Contains(f.Text, "serves on") {
			t.Errorf("a reload of what does not run: %v", f)
		}
		w.wantStates("web", "failed")
		if n := len(w.fake.Commands()); n != 11 {
			t.Errorf("%d starts, want 10 and that of the reload", n)
		}
		if a := w.app("web"); a.Status != event.AppFailed {
			t.Errorf("%+v", a)
		}
	})
}

// Workers that somebody kills again and again: the back-off grows while others serve,
// and is cut short when nobody does. It is no crash loop.
func TestSomebodyServes(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		kill := func(slot int) {
			w.pass(1100 * time.Millisecond) // it is ready
			w.crash("web", slot, -1, syscall.SIGKILL)
		}
		for range 12 {
			kill(1)
			w.wantStates("web", "ready backoff")
			w.pass(time.Until(*w.workers("web")[1].Next))
		}
		kill(1)
		if left := time.Until(*w.workers("web")[1].Next); left < 20*time.Second {
			t.Errorf("the back-off has grown to %s only", left)
		}
		kill(0)
		w.pass(time.Millisecond)
		w.wantStates("web", "backoff starting") // the other has waited for a second already
		for range 12 {
			w.pass(1100 * time.Millisecond)
			if w.states("web") != "ready ready" {
				t.Fatalf("states %s", w.states("web"))
			}
			w.crash("web", 0, -1, syscall.SIGKILL)
			w.crash("web", 1, -1, syscall.SIGKILL)
			for _, v := range w.workers("web") {
				if v.Next == nil || time.Until(*v.Next) > time.Second {
					t.Fatalf("%+v", v)
				}
			}
			w.pass(time.Second)
		}
	})
}

// One that does not come up waits as long as ever, though nobody serves.
func TestNobodyServesTheSooner(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		w.fake.FailStart(func(process.Command) error { return fault.New(fault.CommandNotFound, "gone: %w", syscall.ENOENT) })
		w.pass(2 * time.Second)
		w.crash("web", 0, 3, 0)
		w.pass(8 * time.Second)
		before := *w.workers("web")[0].Next
		w.crash("web", 1, 3, 0)
		w.pass(time.Millisecond)
		if v := w.workers("web")[0]; v.State != event.Backoff || !v.Next.Equal(before) {
			t.Errorf("%+v, it was to wait until %s", v, before)
		}
	})
}

// An executable that is missing at one restart and back at the next.
func TestExecFailsOnceThenSucceeds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		fails := 0
		w.fake.FailStart(func(process.Command) error {
			if fails++; fails <= 2 {
				return fault.New(fault.CommandNotFound, "no /bin/web: %w", syscall.ENOENT)
			}
			return nil
		})
		w.pass(time.Second)
		w.crash("web", 0, 1, 0)
		w.pass(150 * time.Millisecond)
		w.wantStates("web", "backoff")
		if v := w.workers("web")[0]; v.Why == "" {
			t.Error("no reason for the back-off")
		}
		w.pass(2 * time.Second)
		w.wantStates("web", "ready")
	})
}

// A planned stop is no crash, whatever the code.
func TestPlannedStopNeverCounts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		w.fake.OnSignal(func(id string, sig syscall.Signal) bool {
			w.fake.Exit(id, 1, 0)
			return true
		})
		if o := w.sup.Restart(w.Context(), order("web")); o.Fault() != nil {
			t.Fatal(o.Fault())
		}
		v := w.workers("web")[0]
		if v.Restarts != 0 || v.State != event.Ready || v.LastExit == nil || !v.LastExit.Planned {
			t.Errorf("%+v", v)
		}
	})
}

// A worker that ignores the stop signal is killed after the timeout, not before.
func TestStopTimeoutKills(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		id := w.id(w.pids("web")[0])
		w.fake.OnSignal(func(_ string, sig syscall.Signal) bool { return sig == syscall.SIGTERM })
		began := time.Now()
		if o := w.sup.Stop(w.Context(), order("web")); o.Fault() != nil {
			t.Fatal(o.Fault())
		}
		if took := time.Since(began); took < 30*time.Second || took > 31*time.Second {
			t.Errorf("took %s", took)
		}
		_ = id
		w.wantStates("web", "stopped")
		if a := w.app("web"); a.Status != event.AppStopped || len(a.Warnings) == 0 {
			t.Errorf("%+v", a)
		}
	})
}

// Stop waits until the group is empty, also when the leader left first.
func TestStopWaitsForStrays(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		id := w.id(w.pids("web")[0])
		stray := w.fake.Stray(id)
		began := time.Now()
		time.AfterFunc(7*time.Second, func() { w.fake.EndStray(id, stray) })
		if o := w.sup.Stop(w.Context(), order("web")); o.Fault() != nil {
			t.Fatal(o.Fault())
		}
		if took := time.Since(began); took < 7*time.Second || took > 8*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

func TestReadyTimeoutIsAFailedStart(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setAccepts(0 + 1) // No
		var f *fault.Fault
		go func() { f = w.sup.Apply(w.Context(), specOf(app("web", 1))).Fault() }()
		w.pass(59 * time.Second)
		w.wantStates("web", "starting")
		w.pass(2 * time.Second)
		w.wantStates("web", "starting")
		if len(w.fake.Commands()) != 2 {
			t.Errorf("%d starts", len(w.fake.Commands()))
		}
		w.pass(3 * time.Minute)
		if f == nil || f.Code != fault.ReadyTimeout {
			t.Errorf("%v", f)
		}
	})
}
