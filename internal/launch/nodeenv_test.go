package launch

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// worker is the third process of an app, in slot 0, with a channel.
func worker(a spec.App, environ ...string) Worker {
	return Worker{App: a, Environ: environ, Dir: a.Dir, ChannelFD: 4, Number: 3, Preload: "/run/m/preload.cjs"}
}

func TestNodeEnvironment(t *testing.T) {
	a := nodeApp("/srv", "node x.js")
	env := envOf(t, worker(a, "NODE_CHANNEL_FD=9", "NODE_UNIQUE_ID=9", "NODE_CHANNEL_SERIALIZATION_MODE=advanced", "MUSTER_COUNT=1", "MUSTER_DRAIN_MS=9"))
	want := map[string]string{
		"NODE_CHANNEL_FD": "4", "NODE_UNIQUE_ID": "3", "MUSTER_CHANNEL_FD": "4", "NODE_APP_INSTANCE": "0",
		"MUSTER_DRAIN_MS": "18000",
		"NODE_OPTIONS":    "--inspect-port=9232 --require /run/m/preload.cjs",
		"MUSTER_APP":      "web", "MUSTER_ROLE": "web", "MUSTER_WORKER": "0", "MUSTER_GENERATION": "0", "MUSTER_RELEASE": "", "PWD": "/srv",
	}
	if diff := cmp.Diff(want, env); diff != "" {
		t.Error(diff)
	}
	for name, change := range map[string]func(*Worker){
		"no channel":    func(w *Worker) { w.ChannelFD = 0 },
		"no number":     func(w *Worker) { w.Number = 0 },
		"off":           func(w *Worker) { w.App.Node.Cluster = spec.NodeOff },
		"a task":        func(w *Worker) { w.App.Type = spec.Task },
		"another":       func(w *Worker) { w.App.Command = []string{"./server"} },
		"node -e":       func(w *Worker) { w.App.Command = []string{"node", "-e", "1"} },
		"nodemon":       func(w *Worker) { w.App.Command = []string{"nodemon", "x.js"} },
		"several nodes": func(w *Worker) { w.App.Command, w.App.Shell = []string{"node a; node b"}, true },
	} {
		w := worker(a)
		change(&w)
		env := envOf(t, w)
		for _, name2 := range []string{"NODE_CHANNEL_FD", "NODE_UNIQUE_ID", "NODE_OPTIONS", "MUSTER_COUNT", "MUSTER_DRAIN_MS"} {
			if v, ok := env[name2]; ok {
				t.Errorf("%s: %s=%s", name, name2, v)
			}
		}
	}
}

func TestNodeOptions(t *testing.T) {
	const ours = " --inspect-port=9232 --require /run/m/preload.cjs"
	for _, tt := range []struct {
		line, options, want string
		noDrain             bool
	}{
		{"node x.js", "--max-old-space-size=100", "--max-old-space-size=100" + ours, false},
		{"node x.js", "", "--inspect-port=9232", true},
		{"node x.js", "--inspect", "--inspect --inspect-port=9232 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect=0.0.0.0:7000", "--inspect=0.0.0.0:7000 --inspect-port=0.0.0.0:7003 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect=[::1]:7000", "--inspect=[::1]:7000 --inspect-port=[::1]:7003 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect-brk=7000", "--inspect-brk=7000 --inspect-port=7003 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect-port 7000", "--inspect-port 7000 --inspect-port=7003 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect=0", "--inspect=0 --inspect-port=0 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect=65534", "--inspect=65534 --inspect-port=1025 --require /run/m/preload.cjs", false},
		{"node x.js", "--inspect=localhost", "--inspect=localhost --inspect-port=localhost:9232 --require /run/m/preload.cjs", false},
		{"node --permission x.js", "", "--inspect-port=9232", false},
		{"node x.js", "--experimental-permission", "--experimental-permission --inspect-port=9232", false},
	} {
		a := nodeApp("/srv", tt.line)
		a.Node.NoDrain = tt.noDrain
		var environ []string
		if tt.options != "" {
			environ = []string{"NODE_OPTIONS=" + tt.options}
		}
		if got := envOf(t, worker(a, environ...))["NODE_OPTIONS"]; got != tt.want {
			t.Errorf("%s with %q: %q, want %q", tt.line, tt.options, got, tt.want)
		}
	}
	a := nodeApp("/srv", "node x.js")
	a.Stop.Timeout = spec.Duration(5 * time.Second)
	if got := envOf(t, worker(a))["MUSTER_DRAIN_MS"]; got != "3000" {
		t.Errorf("idle connections are held for %q", got)
	}
	a.Node.NoDrain = true
	if got, ok := envOf(t, worker(a, "MUSTER_DRAIN_MS=9"))["MUSTER_DRAIN_MS"]; ok {
		t.Errorf("without the preload they are held for %q", got)
	}
	w := worker(nodeApp("/srv", "node x.js"))
	w.Preload = `/run/a "b\c.cjs`
	if got, want := envOf(t, w)["NODE_OPTIONS"], `--inspect-port=9232 --require "/run/a \"b\\c.cjs"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// The options of the command line win over NODE_OPTIONS, so the worker's own port
// stands there.
func TestNodeArguments(t *testing.T) {
	for line, want := range map[string]string{
		"node x.js --inspect":                   "node x.js --inspect",
		"node --inspect x.js -a":                "node --inspect --inspect-port=9232 x.js -a",
		"node --inspect=:: -- x.js":             "node --inspect=:: --inspect-port=[::]:9232 -- x.js",
		"node --inspect-wait=127.0.0.1:99 x.js": "node --inspect-wait=127.0.0.1:99 --inspect-port=127.0.0.1:102 x.js",
		"env A=1 node --inspect x.js":           "env A=1 node --inspect --inspect-port=9232 x.js",
		"node --prof x.js":                      "node --prof --logfile=v8-%p.log x.js",
		"node --prof --logfile=a.log x.js":      "node --prof --logfile=a.log x.js",
		"node --prof --inspect-brk x.js":        "node --prof --inspect-brk --inspect-port=9232 --logfile=v8-%p.log x.js",
		"sh -c 'node --inspect x.js'":           "node --inspect --inspect-port=9232 x.js",
		"sh -c 'A=$B node --inspect x.js'":      "/bin/sh -c A=$B exec node --inspect --inspect-port=9232 x.js",
		"sh -c 'node x.js'":                     "sh -c node x.js",
	} {
		c, err := Command(worker(nodeApp("/srv", line)))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Argv, " "); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

func TestNodeShellOptions(t *testing.T) {
	a := app("NODE_OPTIONS='--a --b' C=1 node x.js > log")
	a.Shell, a.Dir = true, "/srv"
	w := worker(a, "NODE_OPTIONS=--outer")
	c, err := Command(w)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Argv[2], "C=1 exec node x.js > log"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := envOf(t, w)["NODE_OPTIONS"], "--a --b --inspect-port=9232 --require /run/m/preload.cjs"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// An app that is started by a package tool finds what the tool would have told it.
func TestLauncherEnvironment(t *testing.T) {
	dir := project(t, map[string]string{"package.json": `{"name": "shop", "version": "1.2.3", "config": {"port": 8080, "x": {}},
		"scripts": {"start": "NODE_ENV=production node app.js"}}`})
	a := nodeApp(dir, "npm start")
	a.Env = map[string]string{"PATH": "/bin"}
	w := worker(a)
	c, err := Command(w)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(c.Argv, " "); got != "node app.js" {
		t.Errorf("%s", got)
	}
	env := envOf(t, w)
	for name, want := range map[string]string{
		"NODE_ENV": "production", "PATH": filepath.Join(dir, "node_modules/.bin") + ":/bin", "INIT_CWD": dir,
		"npm_package_name": "shop", "npm_package_version": "1.2.3", "npm_package_json": filepath.Join(dir, "package.json"),
		"npm_lifecycle_event": "start", "npm_lifecycle_script": "NODE_ENV=production node app.js", "npm_package_config_port": "8080",
		"NODE_CHANNEL_FD": "4",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if _, ok := env["npm_package_config_x"]; ok {
		t.Error("a map is no variable")
	}
}

// A generation runs what its own directory says, wherever `current` points now.
func TestNodeInTheWorkersDirectory(t *testing.T) {
	old := project(t, map[string]string{"package.json": `{"scripts": {"start": "node old.js"}}`})
	now := project(t, map[string]string{"package.json": `{"scripts": {"start": "nodemon new.js"}}`})
	w := worker(nodeApp(now, "npm start"))
	w.Dir = old
	if w.Cluster() != spec.NodeOn || NodeCluster(w.App) {
		t.Errorf("in its directory %v, in the app's %v", w.Cluster(), NodeCluster(w.App))
	}
	if c, err := Command(w); err != nil || strings.Join(c.Argv, " ") != "node old.js" {
		t.Errorf("%v %v", c.Argv, err)
	}
}

func TestPortOfTheListener(t *testing.T) {
	for _, tt := range []struct {
		line    string
		listen  []spec.Listener
		env     map[string]string
		environ string
		ports   []spec.Port
		want    string
	}{
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp", Address: ":8000"}}, nil, "A=1", nil, "8000"},
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp6", Address: "[::1]:8000"}}, nil, "A=1", nil, "8000"},
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp", Address: ":8000"}}, map[string]string{"PORT": "1"}, "A=1", nil, "1"},
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp", Address: ":8000"}}, nil, "PORT=2", nil, "2"},
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp", Address: ":8000"}}, nil, "A=1", []spec.Port{{Name: "b", Number: 3, Env: "PORT"}}, "3"},
		{"node x.js", []spec.Listener{{Name: "a", Network: "tcp", Address: ":0"}}, nil, "A=1", nil, ""},
		{"node x.js", []spec.Listener{{Name: "a", Network: "unix", Address: "/x"}}, nil, "A=1", nil, ""},
		{"node x.js", nil, nil, "A=1", nil, ""},
		{"./server", []spec.Listener{{Name: "a", Network: "tcp", Address: ":8000"}}, nil, "A=1", nil, ""},
	} {
		a := nodeApp("/srv", tt.line)
		a.Listen, a.Env, a.Ports = tt.listen, tt.env, tt.ports
		if got := envOf(t, worker(a, tt.environ))["PORT"]; got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}

func TestDelegate(t *testing.T) {
	a := nodeApp("/srv", "node primary.js")
	a.Node.Cluster = spec.NodeDelegate
	env := envOf(t, worker(a, "NODE_OPTIONS=--a"))
	if env["NODE_OPTIONS"] != "--a --require /run/m/preload.cjs" || env["MUSTER_CHANNEL_FD"] != "4" {
		t.Errorf("%v", env)
	}
	if _, ok := env["NODE_UNIQUE_ID"]; ok || env["NODE_CHANNEL_FD"] != "4" {
		t.Errorf("a primary has a channel, but is no worker: %v", env)
	}
}

func TestSerialization(t *testing.T) {
	for _, tt := range []struct {
		line, value string
		refused     bool
	}{
		{"node x.js", "", false},
		{"node x.js", "json", false},
		{"node x.js", "advanced", true},
		{"env NODE_CHANNEL_SERIALIZATION_MODE=advanced node x.js", "", true},
		{"./server", "advanced", false},
	} {
		a := nodeApp("/srv", tt.line)
		if tt.value != "" {
			a.Env = map[string]string{"NODE_CHANNEL_SERIALIZATION_MODE": tt.value}
		}
		_, err := Command(worker(a))
		if refused := fault.CodeOf(err) == fault.Config; refused != tt.refused {
			t.Errorf("%+v: %v", tt, err)
		}
	}
}

func TestCount(t *testing.T) {
	a := nodeApp("/srv", "node x.js")
	a.Listen = []spec.Listener{{Name: "a", Network: "tcp", Address: ":1", Balance: spec.BalanceLeast}}
	if got := envOf(t, worker(a))["MUSTER_COUNT"]; got != "1" {
		t.Errorf("for a listener: %q", got)
	}
	a.Listen, a.Balance = nil, spec.BalanceLeast
	if got := envOf(t, worker(a))["MUSTER_COUNT"]; got != "1" {
		t.Errorf("for the app: %q", got)
	}
}

// A program that is not Node.js is told that connections come over its channel where
// they do, and nothing of Node.js, unless that was written.
func TestDealt(t *testing.T) {
	deals := []spec.Listener{{Name: "http", Network: "tcp", Address: ":1", Balance: spec.BalanceLeast}}
	for _, tt := range []struct {
		line               string
		listen             []spec.Listener
		app                spec.Balance
		cluster            spec.NodeCluster
		dealt, count, node string
		why                string
	}{
		{line: "./mine", listen: deals, dealt: "1", count: "1", why: "balance: least-connections of the listener http"},
		{line: "./mine", app: spec.BalanceRoundRobin, dealt: "1", why: "balance: round-robin"},
		{line: "./mine", cluster: spec.NodeOn, dealt: "1", node: "3", why: "node: {cluster: on}"},
		{line: "./mine", app: spec.BalanceSlots},
		{line: "./mine"},
		{line: "gunicorn x", listen: deals},
		{line: "node x.js", listen: deals, count: "1", node: "3"},
		{line: "nodemon x.js", listen: deals},
	} {
		a := nodeApp("/srv", tt.line)
		a.Listen, a.Balance, a.Node.Cluster = tt.listen, tt.app, tt.cluster
		env := envOf(t, worker(a))
		if env["MUSTER_DEALT"] != tt.dealt || env["MUSTER_COUNT"] != tt.count || env["NODE_UNIQUE_ID"] != tt.node ||
			(env["NODE_CHANNEL_FD"] != "") != (tt.node != "") {
			t.Errorf("%+v: %q", tt, env)
		}
		if why, ok := Dealt(a); why != tt.why || ok != (tt.why != "") {
			t.Errorf("%+v: %q, %v", tt, why, ok)
		}
		if got := NodeCluster(a); got != (tt.dealt != "" || tt.node != "") {
			t.Errorf("%+v: a member: %v", tt, got)
		}
	}
	a := nodeApp("/srv", "./mine")
	a.Listen, a.Type = deals, spec.Task
	if _, ok := Dealt(a); ok || fault.CodeOf(Check(a)) != fault.Config {
		t.Error("a task takes connections")
	}
	w := worker(nodeApp("/srv", "./mine"))
	w.App.Listen, w.ChannelFD = deals, 0
	if env := envOf(t, w); env["MUSTER_DEALT"] != "" {
		t.Error("dealt to without a channel")
	}
}

func TestBalanceOf(t *testing.T) {
	const node, other = "node x.js", "./server"
	for _, tt := range []struct {
		line, network string
		app, own      spec.Balance
		cluster       spec.NodeCluster
		want          spec.Balance
	}{
		{node, "tcp", "", "", "", spec.BalanceSlots},
		{node, "tcp6", "auto", "", "", spec.BalanceSlots},
		{node, "unix", "", "", "", spec.BalanceRoundRobin},
		{node, "udp", "", "", "", spec.BalanceShared},
		{node, "fd", "", "", "", spec.BalanceShared},
		{node, "tcp", "", "", spec.NodeOff, spec.BalanceShared},
		{node, "tcp", "", "", spec.NodeDelegate, spec.BalanceRoundRobin},
		{other, "tcp", "", "", "", spec.BalanceShared},
		{other, "unix", "", "", "", spec.BalanceShared},
		{other, "tcp", "", "slots", "", spec.BalanceSlots},
		{other, "tcp", "slots", "", "", spec.BalanceSlots},
		{other, "tcp", "slots", "shared", "", spec.BalanceShared},
		{node, "tcp", "round-robin", "auto", "", spec.BalanceSlots},
		{node, "udp4", "round-robin", "", "", spec.BalanceShared},
		{node, "unix", "slots", "", "", spec.BalanceRoundRobin},
		{node, "unix", "least-connections", "", "", spec.BalanceLeast},
		{other, "unix", "slots", "", "", spec.BalanceShared},
		{other, "tcp", "round-robin", "", "", spec.BalanceRoundRobin},
		{other, "unix", "", "least-connections", "", spec.BalanceLeast},
		{other, "tcp", "round-robin", "auto", "", spec.BalanceShared},
		{other, "udp", "round-robin", "", "", spec.BalanceShared},
	} {
		a := nodeApp("/srv", tt.line)
		a.Balance, a.Node.Cluster = tt.app, tt.cluster
		if got := BalanceOf(a, spec.Listener{Network: tt.network, Balance: tt.own}); got != tt.want {
			t.Errorf("%+v: %s", tt, got)
		}
	}
}

func TestCheck(t *testing.T) {
	deals := []spec.Listener{{Name: "http", Network: "tcp", Address: ":1", Balance: spec.BalanceRoundRobin}}
	for _, tt := range []struct {
		line    string
		listen  []spec.Listener
		app     spec.Balance
		cluster spec.NodeCluster
		code    fault.Code
		says    string
	}{
		{"node x.js", deals, "", "", "", ""},
		{"node x.js", nil, spec.BalanceLeast, "", "", ""},
		{"node x.js", deals, "", spec.NodeDelegate, "", ""},
		{"./mine", deals, "", spec.NodeOn, "", ""},
		{"./mine", nil, spec.BalanceSlots, "", "", ""},
		{"./mine", deals, "", "", "", ""},
		{"./mine", nil, spec.BalanceLeast, "", "", ""},
		{"redis-server", deals, "", "", fault.Config, "balance: round-robin of the listener http is not possible: redis-server takes no"},
		{"python -m gunicorn x", nil, spec.BalanceLeast, "", fault.Config, "balance: least-connections is not possible: gunicorn takes no"},
		{"gunicorn x", deals, "", spec.NodeOn, "", ""},
		{"nodemon x.js", deals, "", "", fault.NodeLauncher, "balance: round-robin of the listener http is not possible: nodemon hides"},
		{"nodemon x.js", nil, "", spec.NodeOn, fault.NodeLauncher, "nodemon hides"},
		{"node -e 1", nil, "", spec.NodeOn, fault.NodeLauncher, "node -e makes no worker"},
		{"nodemon x.js", nil, "", "", "", ""},
	} {
		a := nodeApp("/", tt.line)
		a.Listen, a.Balance, a.Node.Cluster = tt.listen, tt.app, tt.cluster
		err := Check(a)
		if fault.CodeOf(err) != tt.code || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v", tt, err)
		}
		if f := fault.From(err); err != nil && (f.Where != "web" || f.Fix == "") {
			t.Errorf("%+v", f)
		}
	}
	a := nodeApp("/", "node x.js")
	a.User = "nobody-of-that-name"
	if err := Check(a); fault.CodeOf(err) != fault.UserUnknown {
		t.Error(err)
	}
}

func TestAdviseNode(t *testing.T) {
	dir := project(t, map[string]string{
		"primary.js": "const cluster = require('cluster')\nif (cluster.isPrimary) cluster.fork()\n",
		"plain.js":   "// cluster.fork() is not ours\nrequire('http')\n",
	})
	for _, tt := range []struct {
		line    string
		cluster spec.NodeCluster
		listen  spec.Balance
		says    string
	}{
		{"node primary.js", "", "", "calls cluster.fork()"},
		{"node primary.js", spec.NodeDelegate, "", ""},
		{"node primary.js", spec.NodeOff, "", ""},
		{"node plain.js", "", "", ""},
		{"node missing.js", "", "", ""},
		{"unicorn x", "", spec.BalanceSlots, "one request at a time"},
		{"gunicorn x", "", spec.BalanceSlots, "one request at a time"},
		{"gunicorn --threads 4 x", "", spec.BalanceSlots, ""},
		{"gunicorn x", "", spec.BalanceShared, ""},
	} {
		a := nodeApp(dir, tt.line)
		a.Node.Cluster = tt.cluster
		if tt.listen != "" {
			a.Listen = []spec.Listener{{Name: "a", Network: "tcp", Address: ":1", Balance: tt.listen}}
		}
		got := Advise(a)
		if (len(got) == 1) != (tt.says != "") || len(got) == 1 && !strings.Contains(got[0].Text, tt.says) {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

// A real node behind npm, tsx's kind of shim and a shell is a worker: it says so on
// its channel, has the number as its id, and runs the preload.
func TestRealNodeIsAWorker(t *testing.T) {
	const program = `const c = require('cluster'); console.log(c.isWorker, c.worker && c.worker.id, process.debugPort, process.env.P, process.argv.slice(2).join()); process.disconnect()`
	dir := project(t, map[string]string{
		"package.json":           `{"scripts": {"start": "cross-env P=1 node app.js --a", "bin": "shim b", "live": "node app.js $P"}}`,
		"app.js":                 program,
		"pre.cjs":                `process.env.P += 'preloaded'`,
		"node_modules/shim/s.js": "#!/usr/bin/env node\n" + program,
		"node_modules/.bin/shim": "-> ../shim/s.js",
		"app.sh":                 "#!/bin/sh\nexec node app.js \"$@\"\n",
	})
	if err := os.Chmod(filepath.Join(dir, "node_modules/shim/s.js"), 0o755); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"node app.js c":          "true 7 9236 0preloaded c\n",
		"npm start -- x":         "true 7 9236 1preloaded --a,x\n",
		"npm run bin":            "true 7 9236 0preloaded b\n",
		"npm run live":           "true 7 9236 0preloaded 0\n",
		"npx shim d":             "true 7 9236 0preloaded d\n",
		"./app.sh e":             "true 7 9236 0preloaded e\n",
		"sh -c 'node app.js f'":  "true 7 9236 0preloaded f\n",
		"node_modules/.bin/shim": "true 7 9236 0preloaded \n",
		"env G=1 node app.js g":  "true 7 9236 0preloaded g\n",
	} {
		a := nodeApp(dir, line)
		a.Env = map[string]string{"P": "0"}
		c, err := Command(Worker{
			App: a, Dir: dir, ChannelFD: 3, Number: 7, Preload: filepath.Join(dir, "pre.cjs"), Environ: []string{"PATH=" + os.Getenv("PATH")},
		})
		if err != nil {
			t.Fatal(err)
		}
		got, frames := runWithChannel(t, c)
		if got != want || !strings.Contains(frames, `"act":"online"`) {
			t.Errorf("%s: %q, want %q; on the channel: %q", line, got, want, frames)
		}
	}
}

// runWithChannel runs a command with a channel at descriptor 3, and returns what it
// wrote to stdout and to the channel.
func runWithChannel(t *testing.T, c process.Command) (out, frames string) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	path, err := exec.LookPath(c.Argv[0])
	if err != nil {
		path = filepath.Join(c.Dir, c.Argv[0])
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, path)
	cmd.Args, cmd.Env, cmd.Dir, cmd.ExtraFiles = c.Argv, c.Env, c.Dir, []*os.File{theirs}
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	theirs.Close()
	if err != nil {
		t.Errorf("%q: %v", c.Argv, err)
	}
	said, _ := io.ReadAll(ours)
	return string(text), string(said)
}
