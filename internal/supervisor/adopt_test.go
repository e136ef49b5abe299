package supervisor

import (
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
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/spec"
)

// eachEnd runs a test with both ways in which an agent ends.
func eachEnd(t *testing.T, test func(w *world, end func())) {
	t.Helper()
	for name, end := range map[string]func(*world){"left": (*world).leave, "killed": (*world).kill} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) { test(w, func() { end(w) }) })
		})
	}
}

// seen is what status shows of workers and must stay.
func seen(w *world, app string) []api.Worker {
	w.Helper()
	list := w.workers(app)
	for i := range list {
		list[i].CPU, list[i].Memory, list[i].Processes = 0, 0, 0
		list[i].LastLine = ""
		for _, t := range []*time.Time{list[i].StartedAt, list[i].ReadyAt, list[i].LastRestart, list[i].Next} {
			if t != nil {
				*t = t.Round(0)
			}
		}
	}
	return list
}

// wantSame compares what is shown of an app before and after.
func wantSame(w *world, before, after []api.Worker) {
	w.Helper()
	if len(before) != len(after) {
		w.Fatalf("%d workers, then %d", len(before), len(after))
	}
	for i := range before {
		if got, want := text(after[i]), text(before[i]); got != want {
			w.Errorf("worker %d was\n%s\nand is\n%s", i, want, got)
		}
	}
}

// Same workers, pids, slots, counters, times, listeners, history and size.
func TestAdoptKeepsEverything(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("api", 1), app("web", 3))
		w.pass(2 * time.Second)
		w.crash("web", 1, 7, 0)
		w.pass(time.Second)
		if f := w.sup.Reload(w.Context(), order("api")).Fault(); f != nil {
			t.Fatal(f)
		}
		if f := w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: 4}).Fault(); f != nil {
			t.Fatal(f)
		}
		w.pass(time.Minute)
		before, starts, bound, sockets := seen(w, "web"), len(w.fake.Commands()), w.bound, listening(w)
		spec, apps := text(w.sup.Spec()), w.app("api")
		w.renew(end)
		if n := w.sup.Adopted(); n != 5 {
			t.Errorf("%d processes adopted", n)
		}
		wantSame(w, before, seen(w, "web"))
		if text(w.sup.Spec()) != spec {
			t.Errorf("the spec was\n%s\nand is\n%s", spec, text(w.sup.Spec()))
		}
		if a := w.app("api"); a.Release != apps.Release || a.Generation != apps.Generation || a.Status != event.Healthy {
			t.Errorf("%+v", a)
		}
		w.pass(time.Minute)
		if len(w.fake.Commands()) != starts || w.bound != bound || !slices.Equal(listening(w), sockets) {
			t.Error("something was started or bound")
		}
		if list := events[event.AppState](w); len(list) > 0 {
			t.Errorf("told a change of state: %+v", list)
		}
		if f := w.sup.Rollback(w.Context(), order("api")).Fault(); f != nil || w.app("api").Release != "r1" {
			t.Errorf("rollback: %v", f)
		}
		if f := w.sup.Scale(w.Context(), api.Order{Selector: "web", Workers: -1, Relative: true}).Fault(); f != nil {
			t.Error(f)
		}
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
			t.Error(f)
		}
		w.wantStates("web", "ready ready ready")
		if w.bound != bound {
			t.Error("a listener was bound anew")
		}
	})
}

// An end while no agent was there: same slot, counted once, true code.
func TestExitWhileNoAgentWasThere(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 2))
		w.pass(5 * time.Second)
		pids := w.pids("web")
		id := w.id(pids[1])
		end()
		w.fake.Print(id, 2, "boom\n")
		w.fake.Exit(id, 9, 0)
		w.pass(time.Second)
		w.begin()
		w.pass(time.Second)
		list := w.workers("web")
		v := list[1]
		if list[0].PID != pids[0] || v.PID == pids[1] || v.State != event.Ready || v.Restarts != 1 {
			t.Fatalf("%+v", list)
		}
		if e := v.LastExit; e == nil || e.Code != 9 || e.PID != pids[1] || e.Planned || !slices.Contains(e.Lines, "boom") || e.Uptime < 5*time.Second || e.Uptime > 6*time.Second {
			t.Errorf("%+v", e)
		}
		w.renew(end)
		if v := w.workers("web")[1]; v.Restarts != 1 || v.LastExit == nil || v.LastExit.Code != 9 {
			t.Errorf("after one more agent: %+v", v)
		}
	})
}

// What was met stays met, what comes meanwhile is heard, and the ready timeout
// goes on.
func TestReadinessGoesOn(t *testing.T) {
	notify := func(a *spec.App) { a.Ready.Mode = spec.ReadyNotify }
	eachEnd(t, func(w *world, end func()) {
		w.setAccepts(listener.Yes) // met at once, and then no longer to be seen
		go w.sup.Apply(w.Context(), specOf(app("web", 1, notify)))
		w.pass(time.Second)
		w.wantStates("web", "starting")
		w.setAccepts(listener.No)
		end()
		n := w.notify[strings.TrimPrefix(lastDot(w.fake.List()[0].ID), ".")]
		n.away = append(n.away, sdnotify.Message{Ready: true, HasStatus: true, Status: "here"})
		w.pass(time.Second)
		w.begin()
		w.pass(time.Second)
		w.wantStates("web", "ready")
		if v := w.workers("web")[0]; v.StatusText != "here" || v.Restarts != 0 {
			t.Errorf("%+v", v)
		}
	})
	eachEnd(t, func(w *world, end func()) {
		go w.sup.Apply(w.Context(), specOf(app("web", 1, notify)))
		w.pass(30 * time.Second)
		w.renew(end)
		w.pass(29 * time.Second)
		w.wantStates("web", "starting")
		w.pass(2 * time.Second)
		if v := w.workers("web")[0]; v.LastExit == nil {
			t.Errorf("the ready timeout began anew: %+v", v)
		}
	})
}

func lastDot(id string) string { return id[strings.LastIndex(id, "."):] }

// A line that was seen need not come again.
func TestReadyLineIsRemembered(t *testing.T) {
	line := func(a *spec.App) {
		a.Ready.Mode, a.Ready.Pattern, a.Reload.Soak = spec.ReadyOutput, "^up$", spec.Duration(time.Minute)
	}
	eachEnd(t, func(w *world, end func()) {
		w.onStart(func(c process.Command) { w.fake.Print(c.ID, 1, "up\n") })
		w.apply(app("web", 1, line))
		before := w.pids("web")
		w.renew(end)
		w.pass(2 * time.Minute)
		if after := w.workers("web"); after[0].PID != before[0] || after[0].State != event.Ready {
			t.Errorf("%+v", after)
		}
	})
}

// A stop goes on: the deadline keeps running, and what was stopped stays so.
func TestStopGoesOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.fake.OnSignal(func(_ string, sig syscall.Signal) bool { return true })
		w.apply(app("web", 2))
		id := w.id(w.pids("web")[0])
		began := time.Now()
		go w.sup.Stop(w.Context(), order("web"))
		w.pass(20 * time.Second)
		w.renew(end)
		w.wantStates("web", "draining draining")
		if got := w.fake.Signals(id); !slices.Equal(got, []syscall.Signal{syscall.SIGTERM}) {
			t.Errorf("signals %v", got)
		}
		w.pass(9 * time.Second)
		w.wantStates("web", "draining draining")
		w.pass(2 * time.Second)
		w.wantStates("web", "stopped stopped")
		if v := w.workers("web")[0]; !v.LastExit.Planned || v.Restarts != 0 || v.LastExit.Time.Sub(began) != 30*time.Second {
			t.Errorf("%+v", v.LastExit)
		}
		if left := listening(w); len(left) > 0 {
			t.Errorf("listeners %q", left)
		}
		w.renew(end)
		w.pass(time.Minute)
		if a := w.app("web"); a.Status != event.AppStopped || len(w.fake.List()) > 0 {
			t.Errorf("%+v", a)
		}
		if f := w.sup.Start(w.Context(), order("web")).Fault(); f != nil {
			t.Error(f)
		}
		w.wantStates("web", "ready ready")
	})
}

// What a main process left behind is cleared with what is left of the time, and
// the end stays what it was.
func TestClearingGoesOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 1))
		id := w.id(w.pids("web")[0])
		w.fake.Stray(id)
		began := time.Now()
		go w.sup.Restart(w.Context(), order("web"))
		w.pass(20 * time.Second)
		w.wantStates("web", "stopping")
		w.renew(end)
		w.pass(9 * time.Second)
		w.wantStates("web", "stopping")
		w.pass(2 * time.Second)
		v := w.workers("web")[0]
		if v.State != event.Ready || v.Restarts != 0 || !v.LastExit.Planned || !v.LastExit.Time.Equal(began) {
			t.Errorf("%+v %+v", v, v.LastExit)
		}
	})
}

// A slot that was stopped, a task that has completed and a worker that was given
// up stay so.
func TestWhatEndedStaysSo(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		task := app("task", 1, func(a *spec.App) { a.Type, a.Listen = spec.Task, nil })
		bad := app("bad", 1)
		w.onStart(func(c process.Command) {
			switch {
			case strings.HasPrefix(c.ID, "task."):
				w.fake.Exit(c.ID, 0, 0)
			case strings.HasPrefix(c.ID, "bad."):
				w.fake.Exit(c.ID, 4, 0)
			}
		})
		w.sup.Apply(w.Context(), specOf(bad, task, app("web", 3)))
		if f := w.sup.Stop(w.Context(), order("web#1")).Fault(); f != nil {
			t.Fatal(f)
		}
		w.pass(3 * time.Minute)
		before, warned := seen(w, "bad"), text(w.app("bad").Warnings)
		starts := len(w.fake.Commands())
		w.renew(end)
		w.pass(3 * time.Minute)
		w.wantStates("web", "ready stopped ready")
		w.wantStates("task", "stopped")
		w.wantStates("bad", "failed")
		wantSame(w, before, seen(w, "bad"))
		if got := text(w.app("bad").Warnings); got != warned {
			t.Errorf("warnings were\n%s\nand are\n%s", warned, got)
		}
		if len(w.fake.Commands()) != starts {
			t.Error("something was started")
		}
		if w.app("task").Status != event.AppStopped || w.app("bad").Status != event.AppFailed {
			t.Errorf("%s %s", w.app("task").Status, w.app("bad").Status)
		}
		if f := w.sup.Reload(w.Context(), order("web")).Fault(); f != nil {
			t.Error(f)
		}
		w.wantStates("web", "ready stopped ready")
	})
}

// The back-off goes on, and so does the count of failed starts.
func TestBackoffGoesOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		slow := app("web", 1, func(a *spec.App) {
			a.Restart.Delay, a.Restart.Factor, a.Restart.Limit = spec.Duration(10*time.Second), 1, 4
		})
		w.apply(slow)
		w.pass(5 * time.Second)
		w.fake.FailStart(func(process.Command) error { return fault.New(fault.CommandNotFound, "gone: %w", syscall.ENOENT) })
		w.crash("web", 0, 1, 0)
		before := seen(w, "web")
		w.pass(6 * time.Second)
		w.renew(end)
		wantSame(w, before, seen(w, "web"))
		w.pass(3 * time.Second)
		starts := w.workers("web")[0].Restarts
		w.pass(2 * time.Second)
		if v := w.workers("web")[0]; starts != 0 || v.Restarts != 1 || v.State != event.Backoff {
			t.Errorf("%d, %+v", starts, v)
		}
		w.pass(10 * time.Second)
		w.renew(end)
		w.pass(10 * time.Second)
		w.renew(end)
		w.pass(10 * time.Second)
		if v := w.workers("web")[0]; v.State != event.Failed || v.Restarts != 4 {
			t.Errorf("%+v", v)
		}
	})
}

// A start that waits for another app is taken up again, a stop makes it void.
func TestDependenciesGoOn(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.setAccepts(listener.No)
		after := func(a *spec.App) { a.DependsOn = []spec.Dependency{{App: "db", Condition: spec.IsReady}} }
		go w.sup.Apply(w.Context(), specOf(app("db", 1), app("job", 1, after), app("web", 2, after)))
		w.pass(time.Second)
		go w.sup.Stop(w.Context(), order("job"))
		w.pass(time.Second)
		w.renew(end)
		w.pass(time.Second)
		if a := w.app("web"); len(a.Workers) != 0 || a.Status != event.Recovering || !strings.Contains(a.Why, "waits for db") {
			t.Fatalf("%+v", a)
		}
		w.setAccepts(listener.Yes)
		w.pass(time.Second)
		w.wantStates("web", "ready ready")
		w.wantStates("db", "ready")
		if w.bound != 3 && w.bound != 2 {
			t.Errorf("%d listeners bound", w.bound)
		}
	})
}

// A program that has gone into the background is what the Starter says it is.
func TestMainProcessIsTheStarters(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 1))
		id := w.id(w.pids("web")[0])
		next := w.fake.Stray(id)
		if _, err := w.fake.SetMain(id, next); err != nil { // and the agent died before it knew
			t.Fatal(err)
		}
		w.renew(end)
		if v := w.workers("web")[0]; v.PID != next {
			t.Errorf("pid %d, want %d", v.PID, next)
		}
		w.pass(5 * time.Second)
		w.fake.EndStray(id, w.fake.List()[0].Leader)
		w.fake.Exit(id, 6, 0)
		w.pass(time.Second)
		if v := w.workers("web")[0]; v.Restarts != 1 || v.LastExit.Code != 6 || v.LastExit.PID != next {
			t.Errorf("%+v", v)
		}
	})
}

// AllEnded is told by the agent that is there at the end.
func TestAllEndedAfterAdoption(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("job", 2, func(a *spec.App) { a.Restart.Policy = spec.RestartNever }))
		ids := []string{w.id(w.pids("job")[0]), w.id(w.pids("job")[1])}
		w.pass(2 * time.Second)
		w.fake.Exit(ids[0], 3, 0)
		w.pass(time.Second)
		end()
		w.fake.Exit(ids[1], 5, 0)
		w.begin()
		synctest.Wait()
		select {
		case code := <-w.sup.AllEnded():
			if code != 3 {
				t.Errorf("code %d", code)
			}
		default:
			t.Error("not told")
		}
	})
}

// A process that no record names is ended; what a record names and the Starter
// does not know is started again, and that is no restart.
func TestRecordAndStarterDiffer(t *testing.T) {
	eachEnd(t, func(w *world, end func()) {
		w.apply(app("web", 2))
		lost := w.id(w.pids("web")[1])
		end()
		if _, err := w.fake.Start(process.Command{ID: "who.0.x-1", Argv: []string{"x"}}); err != nil {
			t.Fatal(err)
		}
		w.fake.Exit(lost, 0, 0)
		w.fake.Ack(lost)
		w.begin()
		w.pass(time.Second)
		w.wantStates("web", "ready ready")
		if v := w.workers("web")[1]; v.Restarts != 0 {
			t.Errorf("%+v", v)
		}
		if n := len(w.fake.List()); n != 2 || w.sup.Adopted() != 1 {
			t.Errorf("%d processes, %d adopted", n, w.sup.Adopted())
		}
		if len(events[event.Warning](w)) != 1 {
			t.Errorf("%+v", events[event.Warning](w))
		}
	})
}
