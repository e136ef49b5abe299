package spec

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/muster-run/muster/spec/secret"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// anySpec draws small specs, most of them wrong.
func anySpec() *rapid.Generator[Spec] {
	return rapid.Custom(func(t *rapid.T) Spec {
		return Spec{
			Project: rapid.String().Draw(t, "project"),
			Environ: rapid.SliceOfN(rapid.StringMatching(`[A-C]?=?[x-z]?`), 0, 3).Draw(t, "environ"),
			Control: rapid.Make[Control]().Draw(t, "control"),
			OnExit:  rapid.SliceOfN(rapid.SliceOfN(rapid.String(), 0, 2), 0, 2).Draw(t, "on_exit"),
			Apps:    rapid.SliceOfN(rapid.Make[App](), 0, 2).Draw(t, "apps"),
		}
	})
}

// S: Diff(a, a) is empty, and what differs has a change.
func TestDiffIsExact(t *testing.T) {
	same := cmp.Options{cmpopts.EquateEmpty(), cmpopts.EquateNaNs()}
	rapid.Check(t, func(t *rapid.T) {
		a, b := anySpec().Draw(t, "a"), anySpec().Draw(t, "b")
		if c := Diff(a, a); len(c) != 0 {
			t.Fatalf("a spec differs from itself: %+v", c)
		}
		x, y := DefaultApp("x"), rapid.Make[App]().Draw(t, "app")
		if c := DiffApp(y, y); len(c) != 0 {
			t.Fatalf("an app differs from itself: %+v", c)
		}
		Diff(a, b)
		y.Name = x.Name
		if there, back := DiffApp(x, y), DiffApp(y, x); len(there) != len(back) {
			t.Fatalf("%d changes there, %d back", len(there), len(back))
		}
		if len(DiffApp(x, y)) == 0 && !cmp.Equal(x, y, same) {
			t.Fatal("a difference without a change: " + cmp.Diff(x, y, same))
		}
	})
}

func TestDiffApp(t *testing.T) {
	// Each change alone: its field, its action, and its values.
	for _, c := range []struct {
		field    string
		action   Action
		old, new string
		change   func(a *App)
	}{
		{"workers", ScaleApp, "1", "0", func(a *App) { a.Workers = 0 }},
		{"command", ReloadApp, "./web", "./web --password=****** 'a b'", func(a *App) { a.Command = []string{"./web", "--password=x", "a b"} }},
		{"shell", ReloadApp, "", "true", func(a *App) { a.Shell = true }},
		{"dir", ReloadApp, "/srv", "/opt", func(a *App) { a.Dir = "/opt" }},
		{"env.FOO", ReloadApp, "", "bar", func(a *App) { a.Env["FOO"] = "bar" }},
		{"env.EMPTY", ReloadApp, "", "''", func(a *App) { a.Env["EMPTY"] = "" }},
		{"env.DB_PASSWORD", ReloadApp, "******", "******", func(a *App) { a.Env["DB_PASSWORD"] = "new" }},
		{"env.URL", ReloadApp, "redis://:******@h/0", "", func(a *App) { delete(a.Env, "URL") }},
		{"slot_env.3.API_KEY", ReloadApp, "", "******", func(a *App) { a.SlotEnv = map[int]map[string]string{3: {"API_KEY": "x"}} }},
		{"user", ReloadApp, "", "www", func(a *App) { a.User = "www" }},
		{"umask", ReloadApp, "", "0077", func(a *App) { m := FileMode(0o77); a.Umask = &m }},
		{"build", ReloadApp, "", "make all", func(a *App) { a.Build = []string{"make", "all"} }},
		{"listen[0]", ReloadApp, ":8000=http", "127.0.0.1:8000=http", func(a *App) { a.Listen[0].Address = "127.0.0.1:8000" }},
		{"listen[1]", ReloadApp, "", "unix:/x=u mode 0660 owner www:", func(a *App) {
			a.Listen = append(a.Listen, Listener{Name: "u", Network: "unix", Address: "/x", Mode: 0o660, Owner: "www"})
		}},
		{"ports[0]", ReloadApp, "", "http 8000+1 in $PORT", func(a *App) { a.Ports = []Port{{"http", 8000, 1, "PORT"}} }},
		{"ready.mode", ReloadApp, "auto", "notify", func(a *App) { a.Ready.Mode = ReadyNotify }},
		{"limits.nofile", ReloadApp, "", "1024", func(a *App) { a.Limits.NoFile = 1024 }},
		{"limits.nice", ReloadApp, "", "0", func(a *App) { a.Limits.Nice = new(int) }},
		{"limits.memory", UpdateApp, "", "512MiB", func(a *App) { a.Limits.Memory = 512 << 20 }},
		{"restart.policy", UpdateApp, "always", "never", func(a *App) { a.Restart.Policy = RestartNever }},
		{"restart.factor", UpdateApp, "2", "NaN", func(a *App) { a.Restart.Factor = math.NaN() }},
		{"stop.timeout", UpdateApp, "30s", "0s", func(a *App) { a.Stop.Timeout = 0 }},
		{"stop.command", UpdateApp, "", "./stop", func(a *App) { a.Stop.Command = []string{"./stop"} }},
		{"reload.surge", UpdateApp, "-1", "0", func(a *App) { a.Reload.Surge = 0 }},
		{"health", UpdateApp, "", "tcp :1", func(a *App) { a.Health = &Health{Type: "tcp", Address: ":1"} }},
		{"log.show", UpdateApp, "true", "false", func(a *App) { a.Log.Show = false }},
		{"depends_on[0]", UpdateApp, "", "db: ready", func(a *App) { a.DependsOn = []Dependency{{"db", IsReady}} }},
		{"tags", UpdateApp, "", "edge", func(a *App) { a.Tags = []string{"edge"} }},
		{"allow", UpdateApp, "", "stop_agent", func(a *App) { a.Allow = []string{"stop_agent"} }},
		{"labels.x", ReloadApp, "", "1", func(a *App) { a.Labels = map[string]string{"x": "1"} }},
		{"balance", ReloadApp, "", "slots", func(a *App) { a.Balance = BalanceSlots }},
		{"listen[0]", ReloadApp, ":8000=http", ":8000=http round-robin", func(a *App) { a.Listen[0].Balance = BalanceRoundRobin }},
		{"node.cluster", ReloadApp, "", "off", func(a *App) { a.Node.Cluster = NodeOff }},
		{"node.drain", ReloadApp, "", "off", func(a *App) { a.Node.NoDrain = true }},
		{"stop.message", UpdateApp, "", "shutdown", func(a *App) { a.Stop.Message = "shutdown" }},
		{"type", ReloadApp, "service", "task", func(a *App) { a.Type = Task }},
	} {
		make := func() App {
			a := DefaultApp("web")
			a.Command, a.Dir = []string{"./web"}, "/srv"
			a.Env = map[string]string{"DB_PASSWORD": "old", "URL": "redis://:s3cret@h/0"}
			a.Listen = []Listener{{Name: "http", Network: "tcp", Address: ":8000"}}
			return a
		}
		before, after := make(), make()
		c.change(&after)
		want := []Change{{App: "web", Action: c.action, Field: c.field, Old: c.old, New: c.new}}
		if d := cmp.Diff(want, DiffApp(before, after)); d != "" {
			t.Errorf("%s: %s", c.field, d)
		}
		back := []Change{{App: "web", Action: c.action, Field: c.field, Old: c.new, New: c.old}}
		if d := cmp.Diff(back, DiffApp(after, before)); d != "" {
			t.Errorf("%s back: %s", c.field, d)
		}
	}
}

func TestDiffHealthField(t *testing.T) {
	a, b := DefaultApp("web"), DefaultApp("web")
	h, g := DefaultHealth(), DefaultHealth()
	h.Type, h.URL = "http", "http://u:geheim@x/"
	g.Type, g.Address, g.Failures = "tcp", ":1", 5
	a.Health, b.Health = &h, &g
	want := []Change{
		{"web", UpdateApp, "health.failures", "3", "5"},
		{"web", UpdateApp, "health.http", "http://u:******@x/", ""},
		{"web", UpdateApp, "health.tcp", "", ":1"},
		{"web", UpdateApp, "health.type", "http", "tcp"},
	}
	if d := cmp.Diff(want, DiffApp(a, b)); d != "" {
		t.Error(d)
	}
	b.Health = nil
	want = []Change{{"web", UpdateApp, "health", "http http://u:******@x/", ""}}
	if d := cmp.Diff(want, DiffApp(a, b)); d != "" {
		t.Error(d)
	}
}

// What the user changed in the environment is really applied: every app that
// takes it from there is reloaded, and no other.
func TestDiffSpec(t *testing.T) {
	a, b := sound(), sound()
	a.Environ = []string{"GONE=1", "LANG=C", "TOKEN=a"}
	b.Environ = []string{"LANG=de", "TOKEN=b"}
	b.Apps[1].Env = map[string]string{"LANG": "fr"}
	a.Apps[1].Env = map[string]string{"LANG": "fr"}
	b.Control = Control{Mode: 0o660, Group: "ops"}
	b.OnExit = [][]string{{"./bye", "--token=x"}}
	job := DefaultApp("job")
	job.Command = []string{"job", "--secret", "x"}
	b.Apps = append(b.Apps, job)
	old := DefaultApp("old")
	old.Command = []string{"old"}
	a.Apps = append(a.Apps, old)
	want := []Change{
		{"", UpdateSpec, "control.group", "", "ops"},
		{"", UpdateSpec, "control.mode", "0600", "0660"},
		{"", UpdateSpec, "on_exit[0]", "", "./bye --token=******"},
		{"db", ReloadApp, "environ.GONE", "1", ""},
		{"db", ReloadApp, "environ.LANG", "C", "de"},
		{"db", ReloadApp, "environ.TOKEN", "******", "******"},
		{"job", AddApp, "", "", "job --secret ******"},
		{"old", RemoveApp, "", "old", ""},
		{"web", ReloadApp, "environ.GONE", "1", ""},
		{"web", ReloadApp, "environ.TOKEN", "******", "******"},
	}
	if d := cmp.Diff(want, Diff(a, b)); d != "" {
		t.Error(d)
	}
}

// A spec crosses the control socket unchanged.
func TestWire(t *testing.T) {
	s := sound()
	s.Apps[0].SlotEnv = map[int]map[string]string{2: {"A": ""}}
	nice := 0
	s.Apps[0].Limits = Limits{Nice: &nice, Memory: 1 << 30, CPU: 0.5}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var again Spec
	if err := json.Unmarshal(b, &again); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, again); d != "" {
		t.Error(d)
	}
}

// No secret is left anywhere, and the spec itself keeps them.
func TestMasked(t *testing.T) {
	make := func() Spec {
		s := sound()
		w := &s.Apps[1]
		secrets := map[string]string{"TOKEN": "s3cret", "URL": "x://u:s3cret@h", "EMPTY_KEY": ""}
		s.Environ = []string{"AUTH=s3cret"}
		s.OnExit = [][]string{{"x", "--token=s3cret"}}
		w.Command, w.Build = []string{"x", "--pass", "s3cret"}, []string{"x", "KEY=s3cret"}
		w.Env, w.Labels, w.SlotEnv = secrets, secrets, map[int]map[string]string{1: secrets}
		w.Health.URL = "http://u:s3cret@h/"
		w.Stop.Command = []string{"x", "--cookie=s3cret"}
		return s
	}
	s := make()
	b, err := json.Marshal(s.Masked())
	if err != nil || strings.Contains(string(b), "s3cret") {
		t.Errorf("%s %v", b, err)
	}
	if d := cmp.Diff(make(), s); d != "" {
		t.Errorf("Masked changed the spec itself: %s", d)
	}
	if got := secret.Env("EMPTY_KEY", ""); got != "" {
		t.Errorf("an empty value is shown as %q", got)
	}
	if d := cmp.Diff(s.Masked(), s.Masked().Masked()); d != "" {
		t.Errorf("masking twice differs: %s", d)
	}
}
