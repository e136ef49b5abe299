package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// write makes a directory "shop" with files in it and returns its path.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "shop")
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load loads a muster.yaml beside other files.
func load(t *testing.T, text string, more ...string) (*Loaded, error) {
	t.Helper()
	files := map[string]string{"muster.yaml": text}
	for i := 0; i+1 < len(more); i += 2 {
		files[more[i]] = more[i+1]
	}
	return Load(Options{Dir: write(t, files), DotEnv: true, Environ: []string{"HOME=/home/me", "SET=yes", "NOTHING="}})
}

// good loads a file that has no mistake.
func good(t *testing.T, text string, more ...string) *Loaded {
	t.Helper()
	l, err := load(t, text, more...)
	if err != nil {
		t.Fatalf("%v\n%s", err, strings.Join(fault.From(err).Output, "\n"))
	}
	return l
}

// lines are the problems as printed.
func lines(t *testing.T, err error) []string {
	t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) || f.Code != fault.Config || fault.ExitCode(err) != 2 {
		t.Fatalf("no fault of the configuration: %v", err)
	}
	return f.Output
}

// bad wants exactly these problems, each as a part of its line.
func bad(t *testing.T, text string, want ...string) {
	t.Helper()
	_, err := load(t, text)
	if err == nil {
		t.Errorf("no problem in\n%s", text)
		return
	}
	got := lines(t, err)
	if len(got) != len(want) {
		t.Errorf("%d problems, want %d, in\n%s\n%s", len(got), len(want), text, strings.Join(got, "\n"))
		return
	}
	for i, line := range got {
		if !strings.Contains(line, want[i]) {
			t.Errorf("%s\nwant %s", line, want[i])
		}
	}
}

// head begins a file with one app whose keys follow, indented by four.
const head = "version: 1\napps:\n  web:\n    command: ./web\n"

// S1.4: all problems are reported at once with line and column, exit code 2.
func TestBadFile(t *testing.T) {
	text, err := os.ReadFile("testdata/bad.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, err = load(t, string(text))
	got := fault.From(err).Error() + "\n\n" + strings.Join(lines(t, err), "\n") + "\n\n" + fault.From(err).Fix + "\n"
	if *update {
		if err := os.WriteFile("testdata/bad.golden", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/bad.golden")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Error(d)
	}
	problems := Problems(errors.Join(errors.New("other"), mustFail(t, string(text))))
	if len(problems) < 15 || problems[0].File != "muster.yaml" || problems[0].Line != 2 || problems[0].Column != 7 || problems[0].Path != "name" {
		t.Errorf("%d problems, first %+v", len(problems), problems[0])
	}
	if Problems(nil) != nil || Problems(errors.New("x")) != nil {
		t.Error("problems out of nothing")
	}
}

func mustFail(t *testing.T, text string) error {
	t.Helper()
	_, err := load(t, text)
	if err == nil {
		t.Fatal("no error")
	}
	return err
}

func TestFull(t *testing.T) {
	l := good(t, `# yaml-language-server: $schema=https://muster.run/schema/v1.json
version: 1
name: floor
control: {group: ops}
on_exit: ["./bye 'a b'", [echo, 1]]
x-common: &common {user: www, umask: 0027}
defaults:
  env: {A: 1, B: two}
  stop: {timeout: 10s}
apps:
  web:
    <<: *common
    command: gunicorn 'app:make("x")' --fd {{fd:http}}
    build: make all
    dir: current
    env: {B: 3, C: 0x10, D: yes, E: "", F: 1e3, G: 010}
    slot_env: {0: {ROLE: first}}
    env_file: [web.env, ?missing.env]
    group: 1000
    workers: 4
    listen: [8000, "[::1]:9000=admin", {network: unix, address: run/x.sock, mode: 0660, owner: www, backlog: 128}]
    ports: {metrics: 9100, debug: {port: 9200, increment: 10}, shared: {port: 9300, increment: 0, env: SHARED}}
    ready: {output: "listening$", timeout: 5s}
    health: {http: "http://127.0.0.1:{{port:metrics}}/", interval: 2s, failures: 5}
    restart: on-failure
    stop: {signal: quit, command: [./stop, now]}
    reload: {batch: 2, surge: auto, ready_timeout: 90s, soak: 3s}
    limits: {memory: 1.5GiB, cpu: 0.5, nofile: 65536, nice: 0, oom_score: -5, core: 0, no_new_privs: true}
    depends_on: [migrate, db]
    log: {target: file, file: logs/web.log, format: text, show: false, line_max: 1KiB, max_size: 1MB, max_files: 0, lines: 0}
    tags: [edge, 1]
    allow: stop_agent
    labels: {x: y}
    watchdog: 30s
  db: {command: [redis-server, --port, 6379], ready: notify, health: "tcp:127.0.0.1:6379", log: journald}
  migrate:
    type: task
    shell: true
    command: |
      echo $HOME && echo $${SET} ${SET}
    depends_on: {db: started}
`, "web.env", "B=file\nZ='z z'\n")
	dir := filepath.Dir(l.File)
	want := spec.Spec{
		Project: "floor", File: filepath.Join(dir, "muster.yaml"), Environ: []string{"HOME=/home/me", "NOTHING=", "SET=yes"},
		Control: spec.Control{Group: "ops", Mode: 0o660}, OnExit: [][]string{{"./bye", "a b"}, {"echo", "1"}},
		Apps: []spec.App{fullDB(dir), fullMigrate(dir), fullWeb(dir)},
	}
	if d := cmp.Diff(want, l.Spec); d != "" {
		t.Error(d)
	}
}

func fullDB(dir string) spec.App {
	a := spec.DefaultApp("db")
	a.Command, a.Dir, a.Ready.Mode, a.Log.Target = []string{"redis-server", "--port", "6379"}, dir, spec.ReadyNotify, spec.LogJournald
	a.Env = map[string]string{"A": "1", "B": "two"}
	h := spec.DefaultHealth()
	h.Type, h.Address = "tcp", "127.0.0.1:6379"
	a.Health, a.Stop.Timeout = &h, spec.Duration(10*time.Second)
	return a
}

func fullMigrate(dir string) spec.App {
	a := spec.DefaultApp("migrate")
	a.Type, a.Shell, a.Command, a.Dir = spec.Task, true, []string{"echo $HOME && echo ${SET} yes\n"}, dir
	a.Env, a.Stop.Timeout = map[string]string{"A": "1", "B": "two"}, spec.Duration(10*time.Second)
	a.Restart.Policy = spec.RestartNever
	a.DependsOn = []spec.Dependency{{App: "db", Condition: spec.Started}}
	return a
}

func fullWeb(dir string) spec.App {
	umask, nice, oom, core := spec.FileMode(0o27), 0, -5, spec.Bytes(0)
	h := spec.DefaultHealth()
	h.Type, h.URL, h.Interval, h.Failures = "http", "http://127.0.0.1:{{port:metrics}}/", spec.Duration(2*time.Second), 5
	a := spec.App{
		Name: "web", Type: spec.Service, Role: "web", Command: []string{"gunicorn", `app:make("x")`, "--fd", "{{fd:http}}"}, Build: []string{"make", "all"},
		Dir:     filepath.Join(dir, "current"),
		Env:     map[string]string{"A": "1", "B": "3", "C": "0x10", "D": "yes", "E": "", "F": "1e3", "G": "010", "Z": "z z"},
		SlotEnv: map[int]map[string]string{0: {"ROLE": "first"}}, User: "www", Group: "1000", Umask: &umask, Workers: 4,
		Listen: []spec.Listener{
			{Name: "http", Network: "tcp", Address: ":8000"},
			{Name: "admin", Network: "tcp", Address: "[::1]:9000"},
			{Name: "http1", Network: "unix", Address: filepath.Join(dir, "run/x.sock"), Mode: 0o660, Owner: "www", Backlog: 128},
		},
		Ports: []spec.Port{
			{Name: "metrics", Number: 9100, Increment: 1, Env: "PORT"},
			{Name: "debug", Number: 9200, Increment: 10, Env: "PORT_DEBUG"},
			{Name: "shared", Number: 9300, Increment: 0, Env: "SHARED"},
		},
		Health: &h, Watchdog: spec.Duration(30 * time.Second), Restart: spec.DefaultApp("").Restart,
		Ready:     spec.Ready{Mode: spec.ReadyOutput, Pattern: "listening$", For: spec.Duration(time.Second), Timeout: spec.Duration(5 * time.Second)},
		Stop:      spec.Stop{Signal: "SIGQUIT", Timeout: spec.Duration(10 * time.Second), Command: []string{"./stop", "now"}},
		Reload:    spec.Reload{Batch: 2, Surge: spec.SurgeAuto, ReadyTimeout: spec.Duration(90 * time.Second), Soak: spec.Duration(3 * time.Second)},
		Limits:    spec.Limits{Memory: 3 << 29, CPU: 0.5, NoFile: 65536, Nice: &nice, OOMScore: &oom, Core: &core, NoNewPrivs: true},
		DependsOn: []spec.Dependency{{App: "migrate", Condition: spec.Completed}, {App: "db", Condition: spec.IsReady}},
		Log:       spec.Log{Target: spec.LogFile, File: filepath.Join(dir, "logs/web.log"), Format: "text", LineMax: 1024, MaxSize: 1e6},
		Tags:      []string{"edge", "1"}, Allow: []string{"stop_agent"}, Labels: map[string]string{"x": "y"},
	}
	a.Restart.Policy = spec.RestartOnFailure
	return a
}

// S1.4: zero values the user wrote are kept, also over defaults that differ.
func TestZeroValues(t *testing.T) {
	l := good(t, `version: 1
defaults:
  workers: 4
  env: {A: x}
  restart: {limit: 5, jitter: 0.5}
  stop: {timeout: 10s}
  log: {show: true, lines: 10}
  shell: true
  tags: [a]
  health: http://localhost/
  depends_on: [b]
apps:
  b: {command: b, depends_on: []}
  a:
    command: a
    workers: 0
    env: {A: ""}
    restart: {limit: 0, jitter: 0}
    stop: {timeout: 0}
    log: {show: false, lines: 0}
    shell: false
    tags: []
    health: none
`)
	a := l.Spec.Apps[0]
	if a.Workers != 0 || a.Env["A"] != "" || a.Restart.Limit != 0 || a.Restart.Jitter != 0 || a.Stop.Timeout != 0 ||
		a.Log.Show || a.Log.Lines != 0 || a.Shell || len(a.Tags) != 0 || a.Health != nil || len(a.DependsOn) != 1 {
		t.Errorf("%+v", a)
	}
	if len(l.Spec.Apps[1].DependsOn) != 0 {
		t.Errorf("%+v", l.Spec.Apps[1].DependsOn)
	}
}

// Maps are merged key by key; apps share nothing.
func TestDefaultsMerge(t *testing.T) {
	l := good(t, `version: 1
defaults:
  env: {A: 1, B: 1}
  slot_env: {0: {X: 1}}
  ports: {m: 9000}
  health: {tcp: "127.0.0.1:1", failures: 7}
  listen: {http: ":81"}
  ready: {output: up, timeout: 9s}
  labels: {l: 1}
apps:
  a:
    command: a
    env: {B: 2}
    slot_env: {0: {Y: 2}, 1: {Z: 3}}
    ports: {m: {env: M}, n: 9100}
    health: http://localhost/
    listen: {admin: ":82"}
    ready: notify
    labels: {k: 2}
  b: {command: b, ports: {m: 9200}, listen: ":83"}
`)
	a, b := l.Spec.Apps[0], l.Spec.Apps[1]
	h := spec.DefaultHealth()
	h.Type, h.URL, h.Failures = "http", "http://localhost/", 7
	if d := cmp.Diff(&h, a.Health); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[string]string{"A": "1", "B": "2"}, a.Env); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(map[int]map[string]string{0: {"X": "1", "Y": "2"}, 1: {"Z": "3"}}, a.SlotEnv); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]spec.Port{{Name: "m", Number: 9000, Increment: 1, Env: "M"}, {Name: "n", Number: 9100, Increment: 1, Env: "PORT_N"}}, a.Ports); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]spec.Listener{{Name: "http", Network: "tcp", Address: ":81"}, {Name: "admin", Network: "tcp", Address: ":82"}}, a.Listen); d != "" {
		t.Error(d)
	}
	if a.Ready != (spec.Ready{Mode: spec.ReadyNotify, For: spec.Duration(time.Second), Timeout: spec.Duration(9 * time.Second)}) {
		t.Errorf("%+v", a.Ready)
	}
	if b.Env["B"] != "1" || len(b.SlotEnv) != 1 || b.Health.Type != "tcp" || len(b.Listen) != 1 || b.Ports[0].Number != 9200 || b.Ready.Pattern != "up" || b.Labels["k"] != "" {
		t.Errorf("%+v", b)
	}
}

func TestShortForms(t *testing.T) {
	for text, check := range map[string]func(a spec.App) bool{
		"listen: 8000": func(a spec.App) bool { return a.Listen[0].Address == ":8000" },
		"listen: {a: 1, b: {address: \"udp://:2\"}}": func(a spec.App) bool { return a.Listen[1].Network == "udp" && a.Listen[1].Name == "b" },
		"listen: [fd:3, fd:x=y]":                     func(a spec.App) bool { return a.Listen[0].Name == "http" && a.Listen[1].Name == "y" },
		"listen:":                                    func(a spec.App) bool { return a.Listen == nil },
		"ready: alive:3s":                            func(a spec.App) bool { return a.Ready.Mode == "alive" && a.Ready.For.D() == 3*time.Second },
		"ready: {alive: 3s}":                         func(a spec.App) bool { return a.Ready.Mode == "alive" && a.Ready.For.D() == 3*time.Second },
		"ready: 'output: a: b'":                      func(a spec.App) bool { return a.Ready.Mode == "output" && a.Ready.Pattern == "a: b" },
		"ready: {mode: output, pattern: x}":          func(a spec.App) bool { return a.Ready.Mode == "output" && a.Ready.Pattern == "x" },
		"health: cmd:./ok 1":                         func(a spec.App) bool { return slices.Equal(a.Health.Command, []string{"./ok", "1"}) },
		"health: {cmd: ./ok 1}":                      func(a spec.App) bool { return a.Health.Type == "cmd" && len(a.Health.Command) == 2 },
		"health: false":                              func(a spec.App) bool { return a.Health == nil },
		"restart: {policy: never}":                   func(a spec.App) bool { return a.Restart.Policy == "never" },
		"log: none":                                  func(a spec.App) bool { return a.Log.Target == "none" && a.Log.Show },
		"workers: auto":                              func(a spec.App) bool { return a.Workers >= 1 },
		"workers: \"3\"":                             func(a spec.App) bool { return a.Workers == 3 },
		"reload: {surge: 0}":                         func(a spec.App) bool { return a.Reload.Surge == 0 },
		"stdin: inherit":                             func(a spec.App) bool { return a.Stdin == "inherit" },
		"stop: {signal: 15}":                         func(a spec.App) bool { return a.Stop.Signal == "SIGTERM" },
		"env:\n      # nothing yet":                  func(a spec.App) bool { return a.Stop.Signal == "" && a.Env == nil },
		"dir: /":                                     func(a spec.App) bool { return a.Dir == "/" },
		"user: 1000":                                 func(a spec.App) bool { return a.User == "1000" },
	} {
		if l := good(t, head+"    "+text+"\n"); !check(l.Spec.Apps[0]) {
			t.Errorf("%s: %+v", text, l.Spec.Apps[0])
		}
	}
}

func TestWrongValues(t *testing.T) {
	for text, want := range map[string]string{
		"workers: -1":               `5:14: apps.web.workers: -1 is out of range; write auto or a number from 0 to 1024`,
		"workers: 1.5":              `"1.5" is no whole number`,
		"workers: [1]":              `this is a list; write auto or a number`,
		"workers:":                  `there is no value; write auto or a number from 0 to 1024, or remove the key`,
		"shell: yes":                `"yes" is neither true nor false; write true or false`,
		"type: services":            `did you mean "service"?`,
		"dir: [a]":                  `this is a list; write a directory`,
		"restart: sometimes":        `"sometimes" is not possible; write always, on-failure or never`,
		"restart: unless-stopped":   `write "always"`,
		"restart: no":               `write "never"`,
		"restart: [always]":         `this is a list`,
		"restart: {delay: 1}":       `apps.web.restart.delay: "1" is no duration; write it like 500ms, 30s`,
		"restart: {factor: .nan}":   `is no number`,
		"restart: {factor: 0}":      `shorter and shorter`,
		"restart: {jitter: x}":      `"x" is no number`,
		"health: {http: a, tcp: b}": `this one has http and tcp`,
		"health: {interval: 1s}":    `has 0`,
		"health: {htpt: a}":         `did you mean "http"?`,
		"health: 8000":              `"8000" is no health check`,
		"health: {http: \"http://x\", interval: 0}": `hot loop`,
		"health: []":                        `this is no health check`,
		"ready: soon":                       `"soon" is not possible`,
		"ready: output":                     "output needs the expression",
		"ready: alive:x":                    `"x" is no duration`,
		"ready: {alive: 0s}":                `too short`,
		"ready: probe":                      `the app has no health`,
		"log: stdout":                       `write "none"`,
		"log: {max_size: big}":              `"big" is no size`,
		"umask: 9":                          `"9" is no file mode`,
		"listen: {address: \":1\"}":         `not names of listeners`,
		"listen: [[1]]":                     `this is a list`,
		"listen: [{name: x}]":               `the address is missing`,
		"listen: {x: \":1=y\"}":             `two names, "x" and "y"`,
		"listen: [{address: /x, mode: rw}]": `no file mode`,
		"listen: x":                         `"x" is no address to listen on; write it like :8000`,
		"ports: 8000":                       `write a map of names: {http: 8000}`,
		"ports: {a: x}":                     `"x" is no whole number`,
		"ports: {a: {}}":                    `the number is missing`,
		"ports: {A: 1}":                     `"A" cannot be the name of a port`,
		"env: [A=1]":                        `this is a list; write a map: {NAME: value}`,
		"env: {A: [1]}":                     `apps.web.env.A: this is a list`,
		"env: {A: ~}":                       `there is no value; write ""`,
		"slot_env: {x: {}}":                 `there is no slot "x"`,
		"slot_env: {01: {}}":                `there is no slot "01"`,
		"slot_env: {0: 1}":                  `apps.web.slot_env.0: this is a single value`,
		"depends_on: {web: healthy}":        `write "ready"`,
		"depends_on: [web]":                 `for itself`,
		"tags: {a: b}":                      `this is a map; write [a, b]`,
		"stop: SIGTERM":                     `this is a single value; write a map with signal, timeout, command`,
		"stop: {signal: FOO}":               `"FOO" is no signal`,
		"build: a && b":                     `&& has a meaning only in a shell`,
		"env_file: nope.env":                `write ?nope.env if it may be missing`,
		"exec_mode: cluster":                "unknown key \"exec_mode\" in apps.web; remove it",
		"wait_ready: true":                  "unknown key \"wait_ready\" in apps.web; write `ready: notify`",
		"listen_timeout: 3000":              `unknown key "listen_timeout" in apps.web; write ready.timeout`,
		"shutdown_with_message: true":       "unknown key \"shutdown_with_message\" in apps.web; write `stop: {message: shutdown}`",
		"node_args: --inspect":              `unknown key "node_args" in apps.web; write command`,
		"max_restarts: 3":                   `unknown key "max_restarts" in apps.web; write restart.limit`,
		"min_uptime: 3s":                    `unknown key "min_uptime" in apps.web; write restart.min_uptime`,
		"balance: rr":                       `"rr" is not possible; write "round-robin"`,
		"balance: slotz":                    `"slotz" is not possible; did you mean "slots"?`,
		"balance: x":                        `"x" is not possible; write auto, shared, slots, round-robin or least-connections`,
		"node: true":                        `"true" is not possible; write "on"`,
		"node: {drain: maybe}":              `"maybe" is not possible; write on or off`,
		"node: {clusters: off}":             `did you mean "cluster"?`,
		"listen: [{address: \"/x\", balance: slots}]":              "slots are not possible: the kernel spreads",
		"listen: [{address: \"udp://:53\", balance: round-robin}]": "round-robin is not possible: UDP",
		"instances: 4":                             `unknown key "instances" in apps.web; write workers`,
		"frobnicate: 4":                            `the keys are command, type`,
		"limits: {nice: 50}":                       `50 is out of range`,
		"limits: {memory: 100}":                    `too small for any program`,
		"env: {A: \"${UNSET}\"}":                   `the variable UNSET is not set in the environment nor in .env; set it, or write ${UNSET:-default}`,
		"env: {A: \"${SEt}\"}":                     `(did you mean "SET"?)`,
		"env: {A: \"${1}\"}":                       `${1} is not understood`,
		"env: {A: \"${A:?x}\"}":                    `${A:?x} is not understood`,
		"env: {A: \"${A\"}":                        `${ is not closed`,
		"env: {A: !!binary eA==}":                  `the tag !!binary is not known here`,
		"env: {? [a] : 1}":                         `a key must be a word`,
		"env: {<<: 1}":                             `<< takes a map`,
		"type: task\n    restart: always":          `a task that has ended with 0 is done`,
		"stdin: inherit\n    workers: 2":           `2 workers cannot share one stdin`,
		"command: ''":                              `6:`,
		"listen: unix:" + strings.Repeat("x", 104): `104`,
	} {
		if strings.HasPrefix(text, "command") {
			continue
		}
		bad(t, head+"    "+text+"\n", want)
	}
	for text, want := range map[string]string{
		"command: ''":          "4:14: apps.web.command: the command is empty",
		"command: []":          "4:5: apps.web.command: the command is empty",
		"command:":             "there is no value; write a command such as",
		"command: {a: b}":      "this is a map",
		"command: FOO=1 ./web": "put the variable under env",
		"dir: .":               "3:3: apps.web.command: the command is empty; write the program",
	} {
		bad(t, "version: 1\napps:\n  web:\n    "+text+"\n", want)
	}
}

func TestTop(t *testing.T) {
	web := "apps: {web: {command: x}}\n"
	for text, want := range map[string][]string{
		"":                                       {"1:1: version: the version is missing; write version: 1", "there are no apps"},
		"# only a comment\n":                     {"version: 1", "there are no apps"},
		web:                                      {"the version is missing"},
		"version: 2\n" + web:                     {`1:10: version: this muster reads version 1 only, not "2"; write version: 1, or install`},
		"version: '1.0'\n" + web:                 {`not "1.0"`},
		"- a\n":                                  {"the file is a list, not a map"},
		"hello\n":                                {"the file is a single value, not a map"},
		"version: 1\n":                           {"there are no apps"},
		"version: 1\napps:\nweb: {command: x}\n": {`3:1: unknown key "web" at the top; indent it, so that it stands in apps`},
		"version: 1\napps: {a: {command: 'x\n  y: 1\n": {`2:21: what ' begins here is not closed; close it, at the latest before line 4`},
		"version: 1\napps: [a]\n":                      {"write a map of name to app"},
		"version: 1\nservices: {}\n" + web:             {`unknown key "services" at the top; write apps`},
		"version: 1\napps: {web: ./x}\n":               {"this is a single value; write a map with command"},
		"version: 1\napps: {web: }\n":                  {"the command is empty"},
		"version: 1\napps: {Web: {command: x}}\n":      {`apps.Web: "Web" cannot be the name of an app`},
		"version: 1\napps: {all: {command: x}}\n":      {`every app`},
		"version: 1\nname: a/b\n" + web:                {`"a/b" cannot be the name of a project`},
		"version: 1\non_exit: x\n" + web:               {"write a list of commands"},
		"version: 1\ndefaults: {stop: {timeout: 1s, signal: CONT}}\napps: {a.b: {command: a}}\n":   {"2:40: defaults.stop.signal: SIGCONT ends no program"},
		"version: 1\ndefaults: {workers: x}\napps: {a: {command: a}, b: {command: b}}\n":           {"defaults.workers"},
		"version: 1\ndefaults: {restart: {delay: 0s}}\napps: {a: {command: a}, b: {command: b}}\n": {"2:29: defaults.restart.delay: 0s would be a hot loop"},
	} {
		bad(t, text, want...)
	}
	l := good(t, "version: 1\napps: {}\n")
	if l.Spec.Project != "shop" || len(l.Spec.Apps) != 0 || l.Spec.Control.Mode != 0o600 {
		t.Errorf("%+v", l.Spec)
	}
	good(t, "version: 1\napps:\n")
}
