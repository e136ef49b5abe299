package supervisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

func needs(app string, c spec.Condition) func(*spec.App) {
	return func(a *spec.App) { a.DependsOn = append(a.DependsOn, spec.Dependency{App: app, Condition: c}) }
}

func task(a *spec.App) {
	a.Type, a.Listen, a.Restart.Policy = spec.Task, nil, spec.RestartNever
}

// started lists the apps in the order of their first process.
func (w *world) started() []string {
	var names []string
	for _, c := range w.fake.Commands() {
		name, _, _ := strings.Cut(c.ID, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// The bar, 10: start order with readiness between apps, reverse at stop.
func TestStartOrder(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setAccepts(listener.No)
		done := make(chan *fault.Fault, 1)
		go func() {
			done <- w.sup.Apply(w.Context(), specOf(app("db", 1), app("web", 1, needs("db", spec.IsReady)))).Fault()
		}()
		w.pass(5 * time.Second)
		if got := w.started(); !slices.Equal(got, []string{"db"}) {
			t.Fatalf("started %v before db was ready", got)
		}
		if a := w.app("web"); a.Status != event.Recovering || !strings.Contains(a.Why, "db: ready") {
			t.Errorf("%s: %s", a.Status, a.Why)
		}
		w.setAccepts(listener.Yes)
		if f := <-done; f != nil {
			t.Fatal(f)
		}
		var ended []string
		w.fake.OnSignal(func(id string, _ syscall.Signal) bool {
			name, _, _ := strings.Cut(id, ".")
			ended = append(ended, name)
			return false
		})
		if f := w.sup.Stop(w.Context(), order("all")).Fault(); f != nil {
			t.Fatal(f)
		}
		if !slices.Equal(ended, []string{"web", "db"}) {
			t.Errorf("ended in the order %v", ended)
		}
	})
}

func TestTaskIsAwaited(t *testing.T) {
	inWorld(t, func(w *world) {
		done := make(chan *fault.Fault, 1)
		migrate, web := app("migrate", 1, task), app("web", 1, needs("migrate", spec.Completed))
		go func() { done <- w.sup.Apply(w.Context(), specOf(migrate, web)).Fault() }()
		w.pass(time.Minute)
		if got := w.started(); !slices.Equal(got, []string{"migrate"}) {
			t.Fatalf("started %v", got)
		}
		w.fake.Exit(w.fake.Commands()[0].ID, 0, 0)
		if f := <-done; f != nil {
			t.Fatal(f)
		}
		w.wantStates("web", "ready")
		if a := w.app("migrate"); a.Status != event.AppStopped || a.Why != "completed" {
			t.Errorf("%s: %s", a.Status, a.Why)
		}
		// A task runs once per `up`.
		go func() { done <- w.sup.Apply(w.Context(), specOf(migrate, web)).Fault() }()
		w.pass(time.Second)
		list := w.fake.List()
		if len(list) != 2 {
			t.Fatalf("%d processes", len(list))
		}
		w.fake.Exit(list[1].ID, 0, 0)
		if f := <-done; f != nil {
			t.Error(f)
		}
	})
}

func TestFailedTaskTellsItsDependents(t *testing.T) {
	inWorld(t, func(w *world) {
		w.onStart(func(c process.Command) {
			if strings.HasPrefix(c.ID, "migrate") {
				w.fake.Print(c.ID, 2, "no such table\n")
				w.fake.Exit(c.ID, 4, 0)
			}
		})
		r := w.sup.Apply(w.Context(), specOf(app("migrate", 1, task), app("web", 1, needs("migrate", spec.Completed))))
		codes := map[string]fault.Code{}
		for _, res := range r.Results {
			codes[res.App] = res.Fault.Code
			if !slices.Contains(res.Fault.Output, "no such table") {
				t.Errorf("%s: output %q", res.App, res.Fault.Output)
			}
		}
		if codes["migrate"] != fault.TaskFailed || codes["web"] != fault.Dependency {
			t.Errorf("%v", codes)
		}
		if f := w.sup.Stop(w.Context(), order("all")).Fault(); f != nil {
			t.Error(f)
		}
	})
}

// An app that could not even begin is failed and says why; what depends on it
// does not wait for ever; a stop makes it stopped, a start that works healthy.
func TestAStartThatCannotBeginIsToldAndKept(t *testing.T) {
	inWorld(t, func(w *world) {
		dir := filepath.Join(t.TempDir(), "gone")
		db := app("db", 1, func(a *spec.App) { a.Dir = dir })
		r := w.sup.Apply(w.Context(), specOf(db, app("web", 1, needs("db", spec.IsReady))))
		codes := map[string]fault.Code{}
		for _, res := range r.Results {
			codes[res.App] = res.Fault.Code
		}
		if codes["db"] != fault.DirMissing || codes["web"] != fault.Dependency {
			t.Errorf("%v", codes)
		}
		if a := w.app("db"); a.Status != event.AppFailed || !strings.Contains(a.Why, dir) {
			t.Errorf("%s: %s", a.Status, a.Why)
		}
		if f := w.sup.Stop(w.Context(), order("db")).Fault(); f != nil {
			t.Error(f)
		}
		if a := w.app("db"); a.Status != event.AppStopped || a.Why != "" {
			t.Errorf("%s: %s", a.Status, a.Why)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if f := w.sup.Start(w.Context(), order("db")).Fault(); f != nil {
			t.Error(f)
		}
		w.pass(time.Second)
		w.wantStates("db", "ready")
		w.wantStates("web", "ready")
	})
}

// A bind that fails changes nothing.
func TestBindFailureChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		before := w.pids("web")
		w.bindError = fault.New(fault.PortInUse, "taken: %w", syscall.EADDRINUSE)
		other := app("other", 1)
		web := app("web", 2, func(a *spec.App) { a.Env = map[string]string{"V": "2"} })
		r := w.sup.Apply(w.Context(), specOf(web, other))
		if f := r.Fault(); f == nil || f.Code != fault.PortInUse || !errors.Is(f, syscall.EADDRINUSE) {
			t.Fatalf("%v", f)
		}
		if !slices.Equal(before, w.pids("web")) || len(w.sup.Snapshot()) != 1 {
			t.Error("something was changed")
		}
		if n := len(w.sup.Diff(specOf(web, other))); n == 0 {
			t.Error("the next `up` would not try again")
		}
	})
}

// Apply takes the mildest way: only what must be replaced is.
func TestApplyIsMild(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2))
		before := w.pids("web")
		w.apply(app("web", 2, func(a *spec.App) { a.Stop.Timeout = spec.Duration(5 * time.Second) }))
		w.apply(app("web", 3, func(a *spec.App) { a.Stop.Timeout = spec.Duration(5 * time.Second) }))
		if after := w.pids("web"); len(after) != 3 || !slices.Equal(before, after[:2]) {
			t.Errorf("pids %v then %v", before, after)
		}
		w.fake.OnSignal(func(_ string, sig syscall.Signal) bool { return sig == syscall.SIGTERM })
		began := time.Now()
		w.sup.Stop(w.Context(), order("web"))
		if took := time.Since(began); took < 5*time.Second || took > 6*time.Second {
			t.Errorf("the new stop timeout was not taken over: %s", took)
		}
	})
}

// S: what the user changed (environment, command) is really applied.
func TestEnvironmentIsApplied(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		next := specOf(app("web", 1))
		next.Environ = []string{"FOO=2"}
		r := w.sup.Apply(w.Context(), next)
		if r.Fault() != nil || len(r.Changes) != 1 {
			t.Fatalf("%v %v", r.Changes, r.Fault())
		}
		last := w.fake.Commands()[len(w.fake.Commands())-1]
		if !slices.Contains(last.Env, "FOO=2") {
			t.Error("the worker runs with the old environment")
		}
	})
}

// A failed reload leaves the old declaration, so that the next `up` tries again.
func TestFailedApplyIsTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		w.fake.FailStart(func(process.Command) error { return fault.New(fault.CommandNotFound, "gone") })
		next := specOf(app("web", 1, func(a *spec.App) { a.Command = []string{"/bin/new"} }))
		if f := w.sup.Apply(w.Context(), next).Fault(); f == nil || f.Code != fault.ReloadFailed {
			t.Fatalf("%v", f)
		}
		w.wantStates("web", "ready")
		w.fake.FailStart(nil)
		r := w.sup.Apply(w.Context(), next)
		if r.Fault() != nil || len(r.Changes) == 0 || w.app("web").Release == "r1" {
			t.Errorf("%v %v", r.Changes, r.Fault())
		}
	})
}

func TestRemovedAppLeavesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("one", 2), app("two", 1))
		w.apply(app("two", 1))
		if n := len(w.fake.List()); n != 1 {
			t.Errorf("%d processes", n)
		}
		if kept := listening(w); len(kept) != 1 {
			t.Errorf("listeners %v", kept)
		}
		if f := w.sup.Start(w.Context(), order("one")).Fault(); f == nil || f.Code != fault.NoApp {
			t.Errorf("%v", f)
		}
	})
}

// A socket that moves from one app to another is the same socket.
func TestListenerMovesBetweenApps(t *testing.T) {
	inWorld(t, func(w *world) {
		at := func(a *spec.App) { a.Listen[0].Address = "127.0.0.1:8000" }
		w.apply(app("old", 1, at))
		w.bindError = fault.New(fault.PortInUse, "bound twice")
		w.apply(app("new", 1, at))
		w.wantStates("new", "ready")
	})
}

func TestInvalidSpecIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		bad := app("web", 1, func(a *spec.App) { a.Command = nil })
		f := w.sup.Apply(w.Context(), specOf(bad)).Fault()
		if f == nil || f.Code != fault.Config || len(f.Output) == 0 {
			t.Errorf("%v", f)
		}
		w.wantStates("web", "ready")
	})
}

// An unknown user is found before anything is touched.
func TestUnknownUserChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		bad := app("bad", 1, func(a *spec.App) { a.User = "nobody-of-that-name" })
		if f := w.sup.Apply(w.Context(), specOf(bad)).Fault(); f == nil || f.Code != fault.UserUnknown {
			t.Errorf("%v", f)
		}
		w.wantStates("web", "ready")
	})
}

func TestSelectors(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("api", 2, func(a *spec.App) { a.Tags = []string{"edge"} }), app("web", 2))
		if f := w.sup.Stop(w.Context(), order("web#1")).Fault(); f != nil {
			t.Fatal(f)
		}
		w.wantStates("web", "ready stopped")
		w.wantStates("api", "ready ready")
		if f := w.sup.Start(w.Context(), order("web#1")).Fault(); f != nil {
			t.Fatal(f)
		}
		w.wantStates("web", "ready ready")
		if o := w.sup.Restart(w.Context(), order("tag:edge")); len(o.Results) != 1 || o.Results[0].App != "api" {
			t.Errorf("%+v", o)
		}
		for _, bad := range []string{"nope", "web#7", ""} {
			if f := w.sup.Stop(w.Context(), order(bad)).Fault(); f == nil {
				t.Errorf("%q matched", bad)
			}
		}
		if f := w.sup.Reload(w.Context(), order("web#0")).Fault(); f == nil || f.Code != fault.Usage {
			t.Errorf("%v", f)
		}
		o := w.sup.Signal(w.Context(), api.Order{Selector: "all", Signal: "USR1"})
		if o.Fault() != nil || len(o.Results) != 2 {
			t.Errorf("%+v", o)
		}
		if f := w.sup.Signal(w.Context(), api.Order{Selector: "all", Signal: "NOPE"}).Fault(); f == nil || f.Code != fault.Usage {
			t.Errorf("%v", f)
		}
	})
}

// `run`: all ended with 0, or failed; the code is that of the last one.
func TestAllEnded(t *testing.T) {
	for _, tt := range []struct {
		policy spec.RestartPolicy
		exits  []int // by slot, a second apart
		want   int
	}{
		{spec.RestartOnFailure, []int{0, 0}, 0},
		{spec.RestartNever, []int{3, 0}, 3},
		{spec.RestartNever, []int{0, 5}, 0},
	} {
		t.Run(fmt.Sprint(tt.policy, tt.exits), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.apply(app("job", 2, func(a *spec.App) { a.Restart.Policy = tt.policy }))
				pids := w.pids("job")
				for slot, code := range tt.exits {
					w.pass(2 * time.Second)
					w.fake.Exit(w.id(pids[slot]), code, 0)
				}
				synctest.Wait()
				select {
				case got := <-w.sup.AllEnded():
					if got != tt.want {
						t.Errorf("code %d, want %d", got, tt.want)
					}
				default:
					t.Error("not told")
				}
			})
		})
	}
}
