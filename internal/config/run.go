package config

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-run/muster/internal/config/cpus"
	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// RunFlags are the flags of `muster run`, as written; "" is not given.
type RunFlags struct {
	// N is the number of workers: a number or "auto".
	N string
	// Listen has one ADDR[=name] each.
	Listen []string
	// Health is a URL, tcp:ADDR or cmd:COMMAND.
	Health string
	// Env has one K=V each; K alone takes the value from environ.
	Env []string
	// Restart is a policy; default on-failure.
	Restart string
	// Name of the app; default: from the command (see FromRun). It must be a
	// legal name of an app.
	Name string
	// Project; default: run-NAME.
	Project string
	// Command is the argument vector.
	Command []string
	// Dir is the working directory; "" is the current one.
	Dir string
	// Ready is a short form of ready: notify, listening, probe, port,
	// alive:1s, output:REGEX.
	Ready string
	// StopSignal and StopTimeout: "QUIT", "10s".
	StopSignal, StopTimeout string
	// Stdin is "inherit" or "".
	Stdin string
}

// FromRun makes the configuration of `muster run`: one app and no file. The app
// is named after the program that the command runs: "server" for node
// server.js, "gunicorn" for gunicorn app:app or python -m gunicorn. The error
// is like that of Load, with flags for places.
func FromRun(f RunFlags, environ []string) (*Loaded, error) {
	dir, err := filepath.Abs(f.Dir)
	d := table.NewDecoder("")
	if err != nil {
		flagProblem(d, "--dir", spec.Problem{Text: "the current directory cannot be found"})
	}
	name := f.Name
	if name == "" {
		name = nameOf(f.Command)
	}
	a := spec.DefaultApp(name)
	a.Command, a.Dir, a.Stdin = f.Command, dir, f.Stdin
	a.Restart.Policy = spec.RestartOnFailure
	runRules(d, f, &a)
	runListeners(d, f.Listen, &a)
	runEnv(d, f.Env, environMap(environ), &a)
	s := spec.Spec{
		Project: cmp.Or(f.Project, cleanName("run-"+name, 64, "run")), Environ: BaseEnviron(environ),
		Control: spec.Control{Mode: 0o600}, Apps: []spec.App{a},
	}
	found := s.Validate()
	for i, p := range found {
		found[i].Path = flagOf(p.Path, name)
	}
	d.Add(found)
	if len(d.Problems) > 0 {
		return nil, asFault("the command line", d.Problems).WithFix("correct the flags listed; see `muster help run`")
	}
	l := &Loaded{Spec: s}
	l.flagOrigins(f, name)
	return l, nil
}

func flagProblem(d *table.Decoder, flag string, p spec.Problem) {
	p.Path = flag
	d.ProblemIn("", tree.Place{}, p)
}

// runRules reads the flags that have the value of one key, by that key's type.
func runRules(d *table.Decoder, f RunFlags, a *spec.App) {
	draft := &appDraft{App: a}
	for _, one := range []struct {
		flag, text string
		value      table.Value
	}{
		{"-n", f.N, table.WholeOrAuto(&a.Workers, 1, spec.MaxWorkers, cpus.Available)},
		{"--health", f.Health, healthValue{&a.Health}},
		{"--restart", f.Restart, restartValue(&a.Restart)},
		{"--ready", f.Ready, draft.readyValue()},
		{"--stop-signal", f.StopSignal, table.Signal(&a.Stop.Signal)},
		{"--stop-timeout", f.StopTimeout, table.Duration(&a.Stop.Timeout)},
	} {
		if one.text != "" {
			one.value.Decode(d, one.flag, &tree.Node{Text: one.text})
		}
	}
}

func runListeners(d *table.Decoder, addresses []string, a *spec.App) {
	for _, address := range addresses {
		l, err := spec.ParseListen(address)
		d.Invalid("--listen", tree.Place{}, err)
		if err != nil {
			continue
		}
		if l.Network == "unix" {
			l.Address = absolute(a.Dir, l.Address)
		}
		a.Listen = append(a.Listen, l)
	}
	nameListeners(a.Listen)
}

func runEnv(d *table.Decoder, flags []string, environ map[string]string, a *spec.App) {
	for _, kv := range flags {
		name, value, has := strings.Cut(kv, "=")
		if !has {
			if value, has = environ[name]; !has {
				flagProblem(d, "--env", spec.Problem{Text: fmt.Sprintf("%q is not set in the environment", name), Fix: "write NAME=value"})
				continue
			}
		}
		if a.Env == nil {
			a.Env = map[string]string{}
		}
		a.Env[name] = value
	}
}

// flagOf is the flag that a path of the spec is set by.
func flagOf(path, app string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(path, "apps."+app), ".")
	key := rest
	if i := strings.IndexAny(rest, ".["); i >= 0 {
		key = rest[:i]
	}
	switch {
	case path == "name":
		return "--project"
	case path == "apps[0]" || rest == "":
		return "--name"
	case rest == "stop.signal" || rest == "stop.timeout":
		return "--" + strings.ReplaceAll(rest, ".", "-")
	case key == "workers":
		return "-n"
	case key == "command":
		return "the command"
	}
	return "--" + key
}

func (l *Loaded) flagOrigins(f RunFlags, name string) {
	app := "apps." + name + "."
	l.Origins = map[string]string{}
	for path, written := range map[string]bool{
		"workers": f.N != "", "listen": len(f.Listen) > 0, "restart.policy": f.Restart != "",
		"command": true, "dir": f.Dir != "", "ready.mode": f.Ready != "", "stop.signal": f.StopSignal != "",
		"stop.timeout": f.StopTimeout != "", "stdin": f.Stdin != "",
	} {
		if written {
			l.Origins[app+path] = "flag"
		}
	}
	for _, kv := range f.Env {
		k, _, _ := strings.Cut(kv, "=")
		l.Origins[app+"env."+k] = "flag"
	}
	if f.Project != "" {
		l.Origins["name"] = "flag"
	}
	if h := l.Spec.Apps[0].Health; h != nil {
		l.Origins[app+"health."+h.Type] = "flag"
	}
	l.fillOrigins()
}

// nameOf names an app after the program that a command runs.
func nameOf(command []string) string {
	argv := slices.Clone(command)
	for len(argv) > 1 {
		n := skipLauncher(argv)
		if n == 0 || n >= len(argv) {
			break
		}
		argv = argv[n:]
	}
	if len(argv) == 0 {
		return "app"
	}
	base := filepath.Base(argv[0])
	if ext := filepath.Ext(base); len(ext) > 1 && len(ext) <= 5 && ext != base {
		base = strings.TrimSuffix(base, ext)
	}
	name := cleanName(base, 63, "app")
	if name == "all" {
		return "app"
	}
	return name
}

// skipLauncher is how many words stand before the program that an interpreter
// or a wrapper runs; 0 when argv[0] is the program itself.
func skipLauncher(argv []string) int {
	words := map[string]string{
		"node": "", "nodejs": "", "deno": "run", "bun": "run", "python": "-m", "ruby": "", "perl": "", "php": "",
		"java": "-jar", "sh": "", "bash": "", "dash": "", "zsh": "", "npx": "", "tsx": "", "ts-node": "", "env": "", "nohup": "",
		"exec": "", "nice": "", "sudo": "", "bundle": "exec", "poetry": "run", "uv": "run", "pipenv": "run", "pdm": "run", "go": "run",
	}
	program := strings.TrimRight(filepath.Base(argv[0]), "0123456789.")
	word, known := words[program]
	if !known {
		return 0
	}
	for i, arg := range argv[1:] {
		switch {
		case arg == word && word != "" || strings.HasPrefix(arg, "-") && arg != "-c" && arg != "-e":
		case program == "env" && strings.Contains(arg, "="):
		case arg == "-c" || arg == "-e":
			return 0
		default:
			return i + 1
		}
	}
	return 0
}
