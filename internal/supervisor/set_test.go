package supervisor

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// named gives an app a port of its own, as ports: does.
func named(a *spec.App) {
	a.Ports = []spec.Port{{Name: "admin", Number: 40100, Increment: 1, Env: "ADMIN_PORT"}}
}

// envs notes a variable of each process that is started.
func envs(w *world, name string) func() []string {
	var values []string
	w.onStart(func(c process.Command) {
		for _, kv := range c.Env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				values = append(values, v)
			}
		}
	})
	return func() []string { synctest.Wait(); v := values; values = nil; return v }
}

func (w *world) set(o api.SetPort) string {
	w.Helper()
	out := w.sup.SetPort(w.Context(), o)
	if f := out.Fault(); f != nil {
		w.Fatalf("%+v: %v", o, f)
	}
	return out.Results[0].Text
}

func (w *world) declared(name string) spec.App {
	w.Helper()
	for _, a := range w.sup.Spec().Apps {
		if a.Name == name {
			return a
		}
	}
	w.Fatalf("no app %s", name)
	return spec.App{}
}

// S1.11: with now the workers are replaced by ones with the new port, rolling.
func TestSetPortNow(t *testing.T) {
	inWorld(t, func(w *world) {
		started := envs(w, "ADMIN_PORT")
		w.apply(app("web", 2, named))
		started()
		text := w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true})
		if want := "ports.admin 40100 → 41000; 2 workers replaced, release r2"; text != want {
			t.Errorf("%q, want %q", text, want)
		}
		if got := started(); !slices.Equal(got, []string{"41000", "41001"}) {
			t.Errorf("started with %v", got)
		}
		w.wantStates("web", "ready ready")
		if got := w.app("web").Set; !slices.Equal(got, []api.Setting{{Field: "ports.admin", Was: "40100", Now: "41000"}}) {
			t.Errorf("set: %v", got)
		}
	})
}

// S1.11: else it holds from the next start, or reload; a worker that is started again
// after an accident stays one of its generation.
func TestSetPortLater(t *testing.T) {
	for name, next := range map[string]func(w *world) api.Outcome{
		"reload": func(w *world) api.Outcome { return w.sup.Reload(w.Context(), order("web")) },
		"reload, file read again": func(w *world) api.Outcome {
			return w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{app("web", 1, named)}})
		},
		"start": func(w *world) api.Outcome {
			w.sup.Stop(w.Context(), order("web"))
			return w.sup.Start(w.Context(), order("web"))
		},
		"start, file read again": func(w *world) api.Outcome {
			w.sup.Stop(w.Context(), order("web"))
			return w.sup.Start(w.Context(), api.Order{Selector: "web", Apps: []spec.App{app("web", 1, named)}})
		},
		"apply of the same": func(w *world) api.Outcome {
			return w.sup.Apply(w.Context(), specOf(app("web", 1, func(a *spec.App) { named(a); a.Ports[0].Number = 41000 }))).Outcome
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				started := envs(w, "ADMIN_PORT")
				w.apply(app("web", 1, named))
				text := w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000})
				if want := "ports.admin 40100 → 41000; it holds from the next start or reload"; text != want {
					t.Errorf("%q, want %q", text, want)
				}
				w.crash("web", 0, 1, 0)
				w.pass(time.Minute)
				if got := started(); !slices.Equal(got, []string{"40100", "40100"}) {
					t.Errorf("started with %v before", got)
				}
				if f := next(w).Fault(); f != nil {
					t.Fatal(f)
				}
				if got := started(); !slices.Equal(got, []string{"41000"}) {
					t.Errorf("started with %v", got)
				}
			})
		})
	}
}

// A listener's port is one, too; its host stays.
func TestSetPortOfAListener(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1))
		w.set(api.SetPort{Selector: "web", Name: "http", Port: 45000, Now: true})
		if got := w.declared("web").Listen[0].Address; got != "127.0.0.1:45000" {
			t.Errorf("declared with %s", got)
		}
		if got := listening(w); len(got) != 1 || !strings.Contains(got[0], "127.0.0.1:45000") {
			t.Errorf("listens on %v", got)
		}
	})
}

// What is refused changes nothing.
func TestSetPortRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 2, named), app("api", 1), app("unix", 1, func(a *spec.App) {
			a.Listen[0] = spec.Listener{Name: "sock", Network: "unix", Address: "/run/x.sock", Mode: 0o600}
		}))
		for _, c := range []struct {
			o    api.SetPort
			code fault.Code
			say  string
		}{
			{api.SetPort{Selector: "nobody", Name: "http", Port: 45000}, fault.NoApp, "matches no app"},
			{api.SetPort{Selector: "web#0", Name: "http", Port: 45000}, fault.Usage, "whole app"},
			{api.SetPort{Selector: "web", Name: "htp", Port: 45000}, fault.Usage, "did you mean http?"},
			{api.SetPort{Selector: "web", Name: "zzz", Port: 45000}, fault.Usage, "it has admin, http"},
			{api.SetPort{Selector: "unix", Name: "sock", Port: 45000}, fault.Usage, "declare it under ports:"},
			{api.SetPort{Selector: "web", Name: "http", Port: 0}, fault.Usage, "0 is no port"},
			{api.SetPort{Selector: "web", Name: "http", Port: -1}, fault.Usage, "-1 is no port"},
			{api.SetPort{Selector: "web", Name: "http", Port: 65536}, fault.Usage, "65536 is no port"},
			{api.SetPort{Selector: "web", Name: "admin", Port: 65535}, fault.Usage, "65536"}, // of slot 1
			{api.SetPort{Selector: "web", Name: "http", Port: 40101}, fault.Usage, "ports.admin"},
			{api.SetPort{Selector: "web,api", Name: "http", Port: 45000}, fault.Usage, "is taken by"},
			{api.SetPort{Selector: "all", Name: "admin", Port: 45000}, fault.Usage, "has no port"},
		} {
			before := w.sup.Spec()
			f := w.sup.SetPort(w.Context(), c.o).Fault()
			if f == nil || f.Code != c.code || !strings.Contains(f.Where+f.Text+f.Fix, c.say) {
				t.Errorf("%+v: %+v", c.o, f)
			}
			if d := spec.Diff(before, w.sup.Spec()); len(d) > 0 {
				t.Errorf("%+v changed %v", c.o, d)
			}
		}
		if got := w.app("web"); got.Set != nil || got.Generation != 1 {
			t.Errorf("%v, generation %d", got.Set, got.Generation)
		}
	})
}

func TestMayBind(t *testing.T) {
	free, lowest := listener.FreePort(), listener.LowestPort()
	mine := api.Setting{Field: "listen.http"}
	if f := mayBind(spec.App{}, mine, lowest); f != nil {
		t.Errorf("%d: %v", lowest, f)
	}
	if lowest > 1 && mayBind(spec.App{}, mine, lowest-1) == nil {
		t.Errorf("%d is below what this process may bind", lowest-1)
	}
	own := api.Setting{Field: "ports.http"}
	if free > 1 && mayBind(spec.App{User: "nobody"}, own, free-1) == nil {
		t.Errorf("nobody can bind %d", free-1)
	}
	if f := mayBind(spec.App{User: "nobody"}, own, free); f != nil {
		t.Error(f)
	}
}

// A release that cannot serve on the new port leaves everything as it was.
func TestSetPortThatFails(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1, named))
		w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true})
		w.setAccepts(listener.No)
		f := w.sup.SetPort(w.Context(), api.SetPort{Selector: "web", Name: "admin", Port: 42000, Now: true}).Fault()
		if f == nil || f.Code != fault.ReloadFailed {
			t.Errorf("%v", f)
		}
		w.setAccepts(listener.Yes)
		if got := w.declared("web").Ports[0].Number; got != 41000 {
			t.Errorf("declared with %d", got)
		}
		if got := w.app("web").Set; !slices.Equal(got, []api.Setting{{Field: "ports.admin", Was: "40100", Now: "41000"}}) {
			t.Errorf("set: %v", got)
		}
	})
}

// Set over and over it is still known what the file said; set back, nothing is set.
func TestSetPortAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1, named))
		for _, port := range []int{41000, 42000, 42000} {
			w.set(api.SetPort{Selector: "web", Name: "admin", Port: port})
		}
		if got := w.app("web").Set; !slices.Equal(got, []api.Setting{{Field: "ports.admin", Was: "40100", Now: "42000"}}) {
			t.Errorf("set: %v", got)
		}
		w.set(api.SetPort{Selector: "web", Name: "admin", Port: 40100})
		if got := w.app("web").Set; got != nil {
			t.Errorf("set: %v", got)
		}
		if len(w.sup.settings) != 0 {
			t.Errorf("remembers %v", w.sup.settings)
		}
	})
}

// A file that was changed says what it wants, and so does an apply in any case.
func TestSetPortEnds(t *testing.T) {
	inWorld(t, func(w *world) {
		file := func(number int) spec.App {
			return app("web", 1, func(a *spec.App) { named(a); a.Ports[0].Number = number })
		}
		w.apply(file(40100))
		w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true})
		if f := w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{file(43000)}}).Fault(); f != nil {
			t.Fatal(f)
		}
		if got := w.declared("web").Ports[0].Number; got != 43000 {
			t.Errorf("reloaded with %d", got)
		}
		w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true})
		next := specOf(file(43000))
		changes := w.sup.Diff(next)
		if len(changes) != 1 || changes[0].Field != "ports[0]" || !strings.Contains(changes[0].Old, "41000") {
			t.Errorf("an apply would change %v", changes)
		}
		w.apply(next.Apps...)
		if got := w.declared("web").Ports[0].Number; got != 43000 || w.app("web").Set != nil {
			t.Errorf("applied with %d, %v", got, w.app("web").Set)
		}
	})
}

// A rollback goes back to the port of its release.
func TestRollbackAfterSetPort(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1, named))
		w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true})
		if f := w.sup.Rollback(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		if got := w.declared("web").Ports[0].Number; got != 40100 || w.app("web").Set != nil {
			t.Errorf("rolled back to %d, %v", got, w.app("web").Set)
		}
	})
}

// What was set survives the agent, in force or not yet.
func TestSetPortSurvives(t *testing.T) {
	for _, now := range []bool{false, true} {
		eachEnd(t, func(w *world, end func()) {
			started := envs(w, "ADMIN_PORT")
			w.apply(app("web", 1, named))
			w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: now})
			w.renew(end)
			if got := w.declared("web").Ports[0].Number; got != 41000 {
				t.Errorf("declared with %d", got)
			}
			started()
			if f := w.sup.Reload(w.Context(), api.Order{Selector: "web", Apps: []spec.App{app("web", 1, named)}}).Fault(); f != nil {
				t.Fatal(f)
			}
			if got := started(); !slices.Equal(got, []string{"41000"}) {
				t.Errorf("now %v: started with %v", now, got)
			}
		})
	}
}

// Orders that set the same port of two apps at once are checked one after the other.
func TestSetPortAtOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		w.apply(app("web", 1), app("api", 1))
		answers := make(chan *fault.Fault, 2)
		for _, name := range []string{"web", "api"} {
			go func() {
				answers <- w.sup.SetPort(context.Background(), api.SetPort{Selector: name, Name: "http", Port: 45000, Now: true}).Fault()
			}()
		}
		one, other := <-answers, <-answers
		if (one == nil) == (other == nil) {
			t.Errorf("%v and %v", one, other)
		}
	})
}

// Of a stopped app the declaration changes, whatever is said of now.
func TestSetPortWhileStopped(t *testing.T) {
	inWorld(t, func(w *world) {
		started := envs(w, "ADMIN_PORT")
		w.apply(app("web", 1, named))
		w.sup.Stop(w.Context(), order("web"))
		started()
		if text := w.set(api.SetPort{Selector: "web", Name: "admin", Port: 41000, Now: true}); text != "ports.admin 40100 → 41000" {
			t.Error(text)
		}
		if f := w.sup.Start(w.Context(), order("web")).Fault(); f != nil {
			t.Fatal(f)
		}
		if got := started(); !slices.Equal(got, []string{"41000"}) {
			t.Errorf("started with %v", got)
		}
	})
}

func checked(a *spec.App) {
	h := spec.DefaultHealth()
	h.Type, h.Address = "tcp", "127.0.0.1:1"
	a.Health = &h
}

// S1.10: the interval changes at once, and no worker is touched.
func TestSetProbe(t *testing.T) {
	inWorld(t, func(w *world) {
		w.setAccepts(listener.Yes)
		w.apply(app("api", 1))
		with := app("web", 1, checked, func(a *spec.App) { a.Ready.Mode = spec.ReadyListening })
		w.apply(app("api", 1), with)
		pids := w.pids("web")
		set := func(selector string, d time.Duration) *fault.Fault {
			return w.sup.SetProbe(w.Context(), api.SetProbe{Selector: selector, Interval: spec.Duration(d)}).Fault()
		}
		if f := set("web", 5*time.Second); f != nil {
			t.Fatal(f)
		}
		a := w.app("web")
		if want := (api.Setting{Field: "health.interval", Was: "10s", Now: "5s"}); len(a.Set) != 1 || a.Set[0] != want {
			t.Errorf("set: %v", a.Set)
		}
		if got := w.declared("web").Health.Interval.D(); got != 5*time.Second || !slices.Equal(w.pids("web"), pids) {
			t.Errorf("interval %s, pids %v, before %v", got, w.pids("web"), pids)
		}
		if f := set("api", time.Second); f == nil || f.Code != fault.Usage || !strings.Contains(f.Text, "no health check") {
			t.Errorf("%v", f)
		}
		for _, d := range []time.Duration{0, time.Microsecond, -time.Second} {
			if f := set("web", d); f == nil || f.Code != fault.Usage {
				t.Errorf("%s: %v", d, f)
			}
		}
	})
}
