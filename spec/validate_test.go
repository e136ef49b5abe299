package spec

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// sound is a spec with two apps and no problem.
func sound() Spec {
	web, db := DefaultApp("web"), DefaultApp("db")
	for _, a := range []*App{&web, &db} {
		a.Command, a.Dir = []string{"./" + a.Name}, "/srv"
	}
	web.Listen = []Listener{{Name: "http", Network: "tcp", Address: ":8000"}}
	web.DependsOn = []Dependency{{App: "db", Condition: IsReady}}
	h := DefaultHealth()
	h.Type, h.URL = "http", "http://localhost:8000/"
	web.Health = &h
	return Spec{Project: "shop", Control: Control{Mode: 0o600}, Apps: []App{db, web}}
}

// only checks that a spec has exactly one problem, and where.
func only(t *testing.T, s Spec, path, text string) {
	t.Helper()
	problems := s.Validate()
	if len(problems) != 1 || problems[0].Path != path || !strings.Contains(problems[0].String(), text) {
		t.Errorf("want one problem at %s with %q, got %d:", path, text, len(problems))
		for _, p := range problems {
			t.Errorf("  %s", p)
		}
	}
}

func TestSound(t *testing.T) {
	if p := sound().Validate(); p != nil {
		t.Fatal(p)
	}
	if p := (Spec{Project: "p", Control: Control{Mode: 0o660, Group: "ops"}}).Validate(); p != nil {
		t.Fatal(p)
	}
}

type rule struct {
	change func(s *Spec, web *App)
	path   string
	text   string
}

func try(t *testing.T, rules []rule) {
	t.Helper()
	for i, r := range rules {
		t.Run(fmt.Sprintf("%d %s", i, r.path), func(t *testing.T) {
			s := sound()
			r.change(&s, &s.Apps[1])
			path := r.path
			if rest, ok := strings.CutPrefix(path, "."); ok {
				path = "apps.web." + rest
			}
			only(t, s, path, r.text)
		})
	}
}

func TestSpecRules(t *testing.T) {
	try(t, []rule{
		{func(s *Spec, _ *App) { s.Project = "" }, "name", "cannot be the name"},
		{func(s *Spec, _ *App) { s.Project = "Shop" }, "name", "cannot be the name"},
		{func(s *Spec, _ *App) { s.Project = ".." }, "name", "cannot be the name"},
		{func(s *Spec, _ *App) { s.Project = strings.Repeat("x", 65) }, "name", "cannot be the name"},
		{func(s *Spec, _ *App) { s.File = "muster.yaml" }, "file", "not absolute"},
		{func(s *Spec, _ *App) { s.Environ = []string{"A=1", "B"} }, "environ", "NAME=value"},
		{func(s *Spec, _ *App) { s.Control.Mode = 0o660 }, "control.mode", "none is named"},
		{func(s *Spec, _ *App) { s.Control.Mode = 0o666 }, "control.mode", "0666 is not possible"},
		{func(s *Spec, _ *App) { s.Control.Mode = 0 }, "control.mode", "0000 is not possible"},
		{func(s *Spec, _ *App) { s.Control.Group = "a b" }, "control.group", "account"},
		{func(s *Spec, _ *App) { s.OnExit = [][]string{{"x"}, {}} }, "on_exit[1]", "empty"},
		{func(s *Spec, _ *App) { slices.Reverse(s.Apps) }, "apps.db", `after "web"`},
		{func(s *Spec, w *App) { w.Name = "db"; w.DependsOn = nil }, "apps.db", "stands twice"},
		{func(_ *Spec, w *App) { w.Name = "" }, "apps[1]", "cannot be the name"},
		{func(_ *Spec, w *App) { w.Name = "wéb" }, "apps.wéb", "cannot be the name"},
		{func(_ *Spec, w *App) { w.Name = "web#1" }, "apps.web#1", "cannot be the name"},
		{func(_ *Spec, w *App) { w.Name = strings.Repeat("x", 64) }, "apps." + strings.Repeat("x", 64), "cannot be the name"},
		{func(s *Spec, w *App) { w.Name = "all"; slices.Reverse(s.Apps) }, "apps.all", "every app"},
		{func(s *Spec, w *App) { w.Stdin, s.Apps[0].Stdin = "inherit", "inherit" }, ".stdin", "the app db inherits"},
		{func(s *Spec, w *App) { w.Log.File, s.Apps[0].Log.File = "/l/x", "/l/./x" }, ".log.file", "the app db writes"},
	})
}

func TestAppRules(t *testing.T) {
	mask := FileMode(0o1000)
	try(t, []rule{
		{func(_ *Spec, w *App) { w.Type = "daemon" }, ".type", "service or task"},
		{func(_ *Spec, w *App) { w.Command = nil }, ".command", "empty"},
		{func(_ *Spec, w *App) { w.Command = []string{""} }, ".command", "empty"},
		{func(_ *Spec, w *App) { w.Command = []string{"a", "b\x00"} }, ".command", "NUL"},
		{func(_ *Spec, w *App) { w.Shell, w.Command = true, []string{"a", "b"} }, ".command", "one script"},
		{func(_ *Spec, w *App) { w.Build = []string{} }, ".build", "empty"},
		{func(_ *Spec, w *App) { w.Dir = "." }, ".dir", "not absolute"},
		{func(_ *Spec, w *App) { w.Dir = "/a\x00" }, ".dir", "NUL"},
		{func(_ *Spec, w *App) { w.User = "a:b" }, ".user", "account"},
		{func(_ *Spec, w *App) { w.Group = "-x" }, ".group", "account"},
		{func(_ *Spec, w *App) { w.Umask = &mask }, ".umask", "no umask"},
		{func(_ *Spec, w *App) { w.Workers = -1 }, ".workers", "use 0 to 1024"},
		{func(_ *Spec, w *App) { w.Workers = 1025 }, ".workers", "use 0 to 1024"},
		{func(_ *Spec, w *App) { w.Stdin, w.Workers = "inherit", 2 }, ".stdin", "2 workers"},
		{func(_ *Spec, w *App) { w.Stdin = "tty" }, ".stdin", "inherit"},
		{func(_ *Spec, w *App) { w.Env = map[string]string{"A=B": "1"} }, ".env", "variable"},
		{func(_ *Spec, w *App) { w.Env = map[string]string{"A": "\x00"} }, ".env.A", "NUL"},
		{func(_ *Spec, w *App) { w.Env = map[string]string{"LISTEN_FDS": "1"} }, ".env.LISTEN_FDS", "muster sets"},
		{func(_ *Spec, w *App) { w.SlotEnv = map[int]map[string]string{-1: nil} }, ".slot_env.-1", "no slot"},
		{func(_ *Spec, w *App) { w.SlotEnv = map[int]map[string]string{1: {"MUSTER_APP": "x"}} }, ".slot_env.1.MUSTER_APP", "muster sets"},
		{func(_ *Spec, w *App) {
			w.Ports = []Port{{Name: "p", Number: 9000, Env: "PORT"}}
			w.Env = map[string]string{"PORT": "1"}
		}, ".env.PORT", "set by the port p"},
		{func(_ *Spec, w *App) { w.Watchdog = 1 }, ".watchdog", "hot loop"},
		{func(_ *Spec, w *App) { w.Tags = []string{"ok", "a b"} }, ".tags[1]", "tag"},
		{func(_ *Spec, w *App) { w.Allow = []string{""} }, ".allow[0]", "not possible"},
	})
}

func TestPlaceholders(t *testing.T) {
	try(t, []rule{
		{func(_ *Spec, w *App) { w.Command = []string{"x", "{{fd:htpp}}"} }, ".command[1]", `did you mean "http"?`},
		{func(_ *Spec, w *App) { w.Command = []string{"x", "{{port:http}}"} }, ".command[1]", "the app has no ports"},
		{func(_ *Spec, w *App) { w.Command = []string{"x", "{{ fd:http }}"} }, ".command[1]", "write {{fd:http}}"},
		{func(_ *Spec, w *App) { w.Shell, w.Command = true, []string{"x {{fd:other}}"} }, ".command", "listen has http"},
		{func(_ *Spec, w *App) { w.Env = map[string]string{"NGINX": "{{fd:x}};"} }, ".env.NGINX", "{{fd:x}} names nothing"},
		{func(_ *Spec, w *App) { w.SlotEnv = map[int]map[string]string{0: {"A": "{{fd:x}}"}} }, ".slot_env.0.A", "names nothing"},
		{func(_ *Spec, w *App) { w.Health.URL = "http://localhost:{{port:x}}/" }, ".health", "names nothing"},
		{func(_ *Spec, w *App) {
			w.Health.Type, w.Health.URL, w.Health.Command = "cmd", "", []string{"c", "{{fd:x}}"}
		}, ".health", "inherits no descriptors"},
	})
	s := sound()
	s.Apps[1].Command = []string{"x", "{{fd:http}}", "{{.Go}}", "{{other:x}}"}
	if p := s.Validate(); p != nil {
		t.Error(p)
	}
}

func TestRestartRules(t *testing.T) {
	try(t, []rule{
		{func(_ *Spec, w *App) { w.Restart.Policy = "allways" }, ".restart.policy", `did you mean "always"?`},
		{func(_ *Spec, w *App) { w.Restart.Delay = 0 }, ".restart.delay", "hot loop"}, // S1: an interval of 0 is a hot loop
		{func(_ *Spec, w *App) { w.Restart.Delay = -1 }, ".restart.delay", "hot loop"},
		{func(_ *Spec, w *App) { w.Restart.Factor = math.NaN() }, ".restart.factor", "NaN"},
		{func(_ *Spec, w *App) { w.Restart.Factor = 0.5 }, ".restart.factor", "1 or more"},
		{func(_ *Spec, w *App) { w.Restart.Factor = math.Inf(1) }, ".restart.factor", "Inf"},
		{func(_ *Spec, w *App) { w.Restart.MaxDelay = 1 }, ".restart.max_delay", "at least 100ms"},
		{func(_ *Spec, w *App) { w.Restart.Jitter = 1 }, ".restart.jitter", "between 0 and 1"},
		{func(_ *Spec, w *App) { w.Restart.Jitter = math.NaN() }, ".restart.jitter", "between 0 and 1"},
		{func(_ *Spec, w *App) { w.Restart.MinUptime = -1 }, ".restart.min_uptime", "negative"},
		{func(_ *Spec, w *App) { w.Restart.ResetAfter = -1 }, ".restart.reset_after", "negative"},
		{func(_ *Spec, w *App) { w.Restart.Limit = -1 }, ".restart.limit", "no limit"},
		{func(_ *Spec, w *App) { w.Restart.Window = 0 }, ".restart.window", "too short"},
		{func(_ *Spec, w *App) { w.Stop.Signal = "TERM" }, ".stop.signal", "write SIGTERM"},
		{func(_ *Spec, w *App) { w.Stop.Signal = "SIGFOO" }, ".stop.signal", "no signal"},
		{func(_ *Spec, w *App) { w.Stop.Signal = "SIGSTOP" }, ".stop.signal", "ends no program"},
		{func(_ *Spec, w *App) { w.Stop.Timeout = -1 }, ".stop.timeout", "negative"},
		{func(_ *Spec, w *App) { w.Stop.Command = []string{} }, ".stop.command", "empty"},
		{func(_ *Spec, w *App) { w.Reload.Batch = 0 }, ".reload.batch", "use 1 to"},
		{func(_ *Spec, w *App) { w.Reload.Surge = 2 }, ".reload.surge", "more than the batch of 1"},
		{func(_ *Spec, w *App) { w.Reload.Surge = -2 }, ".reload.surge", "auto"},
		{func(_ *Spec, w *App) { w.Reload.Soak = -1 }, ".reload.soak", "negative"},
		{func(_ *Spec, w *App) { w.Reload.ReadyTimeout = -1 }, ".reload.ready_timeout", "negative"},
	})
}

func TestReadyHealthLimitLogRules(t *testing.T) {
	nice, oom, core := 20, -1001, Bytes(-1)
	try(t, []rule{
		{func(_ *Spec, w *App) { w.Ready.Mode = "redy" }, ".ready.mode", "not possible"},
		{func(_ *Spec, w *App) { w.Ready.Mode, w.Listen = ReadyListening, nil }, ".ready.mode", "no listen"},
		{func(_ *Spec, w *App) { w.Ready.Mode, w.Health = ReadyProbe, nil }, ".ready.mode", "no health"},
		{func(_ *Spec, w *App) { w.Ready.Mode = ReadyPort }, ".ready.mode", "no ports"},
		{func(_ *Spec, w *App) { w.Ready.Mode = ReadyOutput }, ".ready.pattern", "missing"},
		{func(_ *Spec, w *App) { w.Ready.Mode, w.Ready.Pattern = ReadyOutput, "a(" }, ".ready.pattern", "missing closing )"},
		{func(_ *Spec, w *App) { w.Ready.Pattern = "a" }, ".ready.pattern", "of no use"},
		{func(_ *Spec, w *App) { w.Ready.Mode, w.Ready.For = ReadyAlive, 0 }, ".ready.for", "too short"},
		{func(_ *Spec, w *App) { w.Ready.For = -1 }, ".ready.for", "negative"},
		{func(_ *Spec, w *App) { w.Ready.Timeout = 0 }, ".ready.timeout", "too short"},
		{func(_ *Spec, w *App) { w.Health.Type = "grpc" }, ".health.type", "http, tcp or cmd"},
		{func(_ *Spec, w *App) { w.Health.URL = "" }, ".health", "has 0"},
		{func(_ *Spec, w *App) { w.Health.Address = ":1" }, ".health", "has 2"},
		{func(_ *Spec, w *App) { w.Health.URL = "ftp://x" }, ".health.http", "http://"},
		{func(_ *Spec, w *App) { w.Health.Type, w.Health.URL, w.Health.Address = "tcp", "", "x" }, ".health.tcp", "connect"},
		{func(_ *Spec, w *App) { w.Health.Type, w.Health.URL, w.Health.Command = "cmd", "", []string{} }, ".health.cmd", "empty"},
		{func(_ *Spec, w *App) { w.Health.Interval = 0 }, ".health.interval", "hot loop"},
		{func(_ *Spec, w *App) { w.Health.StartInterval = Duration(time.Microsecond) }, ".health.start_interval", "hot loop"},
		{func(_ *Spec, w *App) { w.Health.Timeout = 0 }, ".health.timeout", "too short"},
		{func(_ *Spec, w *App) { w.Health.Failures = 0 }, ".health.failures", "too few"},
		{func(_ *Spec, w *App) { w.Health.Grace = -1 }, ".health.grace", "negative"},
		{func(_ *Spec, w *App) { w.Limits.Memory = 512 }, ".limits.memory", "512MiB"},
		{func(_ *Spec, w *App) { w.Limits.CPU = math.NaN() }, ".limits.cpu", "cores"},
		{func(_ *Spec, w *App) { w.Limits.CPU = -1 }, ".limits.cpu", "cores"},
		{func(_ *Spec, w *App) { w.Limits.Nice = &nice }, ".limits.nice", "-20 to 19"},
		{func(_ *Spec, w *App) { w.Limits.OOMScore = &oom }, ".limits.oom_score", "-1000 to 1000"},
		{func(_ *Spec, w *App) { w.Limits.Core = &core }, ".limits.core", "negative"},
		{func(_ *Spec, w *App) { w.Log.Target = "journal" }, ".log.target", `did you mean "journald"?`},
		{func(_ *Spec, w *App) { w.Log.Format = "xml" }, ".log.format", "json or text"},
		{func(_ *Spec, w *App) { w.Log.File = "x.log" }, ".log.file", "not absolute"},
		{func(_ *Spec, w *App) { w.Log.File, w.Log.Target = "/x.log", LogNone }, ".log.file", "of no use"},
		{func(_ *Spec, w *App) { w.Log.LineMax = 0 }, ".log.line_max", "out of range"},
		{func(_ *Spec, w *App) { w.Log.MaxSize = 50 }, ".log.max_size", "50MB"},
		{func(_ *Spec, w *App) { w.Log.MaxFiles = -1 }, ".log.max_files", "out of range"},
		{func(_ *Spec, w *App) { w.Log.Lines = -1 }, ".log.lines", "out of range"},
	})
}

func TestListenRules(t *testing.T) {
	first := func(l Listener) func(*Spec, *App) { return func(_ *Spec, w *App) { w.Listen[0] = l } }
	add := func(l Listener) func(*Spec, *App) { return func(_ *Spec, w *App) { w.Listen = append(w.Listen, l) } }
	try(t, []rule{
		{first(Listener{Name: "", Network: "tcp", Address: ":1"}), ".listen[0].name", "listener"},
		{first(Listener{Name: "a:b", Network: "tcp", Address: ":1"}), ".listen[0].name", "listener"},
		{add(Listener{Name: "http", Network: "tcp", Address: ":1"}), ".listen[1].name", "stands twice"},
		{first(Listener{Name: "x", Network: "tpc", Address: ":1"}), ".listen[0].network", `did you mean "tcp"?`},
		{first(Listener{Name: "x", Network: "tcp", Address: "1"}), ".listen[0].address", "write :1"},
		{first(Listener{Name: "x", Network: "tcp", Address: ":70000"}), ".listen[0].address", "out of range"},
		{first(Listener{Name: "x", Network: "unix", Address: "x.sock"}), ".listen[0].address", "not absolute"},
		{first(Listener{Name: "x", Network: "unix", Address: "/" + strings.Repeat("x", 103)}), ".listen[0].address", "104 bytes"},
		{first(Listener{Name: "x", Network: "fd", Address: "1"}), ".listen[0].address", "begin at 3"},
		{first(Listener{Name: "x", Network: "tcp", Address: ":1", Mode: 0o600}), ".listen[0]", "UNIX sockets only"},
		{first(Listener{Name: "x", Network: "unix", Address: "/x", Mode: 0o4600}), ".listen[0].mode", "not possible"},
		{first(Listener{Name: "x", Network: "unix", Address: "/x", Owner: "a b"}), ".listen[0].owner", "account"},
		{first(Listener{Name: "x", Network: "tcp", Address: ":1", Backlog: -1}), ".listen[0].backlog", "negative"},
	})
	s := sound()
	s.Apps[1].Listen = []Listener{{Name: "x", Network: "unix", Address: "/" + strings.Repeat("x", 102), Mode: 0o660, Owner: "root", Group: "0"}}
	if p := s.Validate(); p != nil {
		t.Error(p)
	}
}

func TestPortRules(t *testing.T) {
	ports := func(all ...Port) func(*Spec, *App) { return func(_ *Spec, w *App) { w.Ports, w.Workers = all, 4 } }
	try(t, []rule{
		{ports(Port{Name: "", Number: 1, Env: "PORT"}), ".ports[0]", "port"},
		{ports(Port{Name: "a", Number: 1, Increment: 1, Env: "A"}, Port{Name: "a", Number: 100, Increment: 1, Env: "B"}), ".ports.a", "stands twice"},
		{ports(Port{Name: "a", Number: 1, Env: ""}), ".ports.a.env", "variable"},
		{ports(Port{Name: "a", Number: 1, Env: "P"}, Port{Name: "b", Number: 2, Env: "P"}), ".ports.b.env", "of its own"},
		{ports(Port{Name: "a", Number: 0, Env: "P"}), ".ports.a.port", "out of range"},
		{ports(Port{Name: "a", Number: 65536, Env: "P"}), ".ports.a.port", "out of range"},
		{ports(Port{Name: "a", Number: 80, Increment: -1, Env: "P"}), ".ports.a.increment", "out of range"},
		{ports(Port{Name: "a", Number: 65533, Increment: 1, Env: "P"}), ".ports.a.port", "slot 3 would get the port 65536"},
		{ports(Port{Name: "a", Number: 9000, Increment: 1, Env: "A"}, Port{Name: "b", Number: 9003, Increment: 1, Env: "B"}), ".ports.b", "the port 9003 is taken by ports.a of the same app"},
		{ports(Port{Name: "a", Number: 7999, Increment: 1, Env: "A"}), ".ports.a", "the port 8000 is taken by listen[0] of the same app (tcp://:8000)"},
		{func(s *Spec, w *App) {
			w.Ports, w.Workers = []Port{{Name: "a", Number: 9000, Increment: 2, Env: "A"}}, 4
			s.Apps[0].Ports = []Port{{Name: "b", Number: 9006, Increment: 1, Env: "B"}}
		}, ".ports.a", "the port 9006 is taken by the app db"},
	})
	s := sound()
	s.Apps[1].Workers = 4
	s.Apps[1].Ports = []Port{{Name: "a", Number: 9000, Increment: 0, Env: "A"}, {Name: "b", Number: 65532, Increment: 1, Env: "B"}}
	if p := s.Validate(); p != nil {
		t.Error(p)
	}
}

func TestSameAddress(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{":8000", ":8000", true},
		{":8000", "127.0.0.1:8000", true},
		{"0.0.0.0:8000", "127.0.0.1:8000", true},
		{"[::]:8000", ":8000", true},
		{"127.0.0.1:8000", "localhost:8000", true},
		{"localhost:8000", "[::1]:8000", true},
		{"tcp4://:8000", ":8000", true},
		{":8000", "127.0.0.1:8001", false},
		{"127.0.0.1:8000", "127.0.0.2:8000", false},
		{"127.0.0.1:8000", "[::1]:8000", false},
		{"tcp4://:8000", "tcp6://:8000", false},
		{"tcp4://:8000", "[::1]:8000", false},
		{":8000", "udp://:8000", false},
		{"udp://:53", "udp4://127.0.0.1:53", true},
		{":0", ":0", false},
		{"unix:/run/a", "unix:/run/./a", true},
		{"unix:/run/a", "unix:/run/b", false},
		{"fd:3", "fd:3", true},
		{"fd:3", "fd:4", false},
	} {
		s := sound()
		for i, text := range []string{c.a, c.b} {
			l, err := ParseListen(text)
			if err != nil {
				t.Fatal(err)
			}
			l.Name = "x"
			s.Apps[i].Listen = []Listener{l}
		}
		problems := s.Validate()
		if c.same != (len(problems) == 1) || len(problems) > 1 {
			t.Errorf("%s and %s: %v", c.a, c.b, problems)
		}
		if c.same && (problems[0].Path != "apps.web.listen[0]" || !strings.Contains(problems[0].Text, "is taken by the app db")) {
			t.Error(problems)
		}
	}
}

func TestDependencyRules(t *testing.T) {
	on := func(d ...Dependency) func(*Spec, *App) { return func(_ *Spec, w *App) { w.DependsOn = d } }
	try(t, []rule{
		{on(Dependency{"dbb", IsReady}), ".depends_on[0]", `did you mean "db"?`},
		{on(Dependency{"mysql", IsReady}), ".depends_on[0]", "the apps are db, web"},
		{on(Dependency{"web", IsReady}), ".depends_on[0]", "for itself"},
		{on(Dependency{"db", IsReady}, Dependency{"db", Started}), ".depends_on[1]", "stands twice"},
		{on(Dependency{"db", "healthy"}), ".depends_on[0]", "not possible"},
		{on(Dependency{"db", Completed}), ".depends_on[0]", "never completes"},
		{func(s *Spec, _ *App) { s.Apps[0].Type = Task }, ".depends_on[0]", "write completed"},
		{func(s *Spec, _ *App) { s.Apps[0].DependsOn = []Dependency{{"web", Started}} }, "apps.db.depends_on", "db → web → db"},
	})
}

func TestCycles(t *testing.T) {
	make := func(edges string) Spec {
		s := Spec{Project: "p", Control: Control{Mode: 0o600}}
		for _, line := range strings.Fields(edges) {
			name, deps, _ := strings.Cut(line, ":")
			a := DefaultApp(name)
			a.Command, a.Dir = []string{"x"}, "/"
			for _, d := range strings.FieldsFunc(deps, func(r rune) bool { return r == ',' }) {
				a.DependsOn = append(a.DependsOn, Dependency{d, Started})
			}
			s.Apps = append(s.Apps, a)
		}
		return s
	}
	for edges, want := range map[string][]string{
		"a:b b:c c:":                  nil,
		"a:b,c b:d c:d d:":            nil,
		"a:b b:c c:b":                 {"b → c → b"},
		"a:b b:a c:d d:c":             {"a → b → a", "c → d → c"},
		"a:c b:a c:b":                 {"a → c → b → a"},
		"a:x,b b:c c:a x:y y:":        {"a → b → c → a"},
		"a:b b:c c:d d:e e:f f:d z:a": {"d → e → f → d"},
	} {
		var got []string
		for _, p := range make(edges).Validate() {
			got = append(got, strings.TrimPrefix(p.Text, "the apps wait for each other: "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", edges, got, want)
		}
	}
	// A chain of 2,000 apps is walked without recursion and without delay.
	var chain strings.Builder
	for i := range 2000 {
		fmt.Fprintf(&chain, "a%04d:a%04d ", i, i+1)
	}
	if p := make(chain.String() + "a2000:").Validate(); p != nil {
		t.Error(p[0])
	}
}

// Whatever is in a spec, Validate answers, in order and without repeating itself.
func TestValidateAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anySpec().Draw(t, "spec").Validate()
		if !slices.IsSortedFunc(p, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) }) {
			t.Fatalf("not sorted: %v", p)
		}
		for _, one := range p {
			if one.Path == "" || one.Text == "" {
				t.Fatalf("incomplete: %+v", one)
			}
		}
	})
}
