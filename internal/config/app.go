package config

import (
	"github.com/muster-run/muster/spec"
)

// appDraft is an app while it is read: some of its keys mean something only
// together with others, which finish sorts out.
type appDraft struct {
	*spec.App
	// script is command written as one string, and where.
	script   string
	isScript bool
	at       place
	// policy says that the app itself wrote a restart policy.
	policy bool
}

// fields is the table of an app's keys.
func (a *appDraft) fields() []field {
	return append(append(a.processFields(), a.socketFields()...), a.ruleFields()...)
}

func (a *appDraft) processFields() []field {
	return []field{
		{"command", commandLine{a}, "", "The program and its arguments: a list, or a string that is split as a shell would (quotes, backslashes). `{{fd:NAME}}` and `{{port:NAME}}` stand for a descriptor and a port. Required."},
		{"type", choice[spec.Kind]{p: &a.Type, words: []string{"service", "task"}}, "service", "A service runs until it is stopped; a task runs to its end once per `up`, such as a migration."},
		{"shell", boolean{&a.Shell}, "false", "Run command by `/bin/sh -c`. Write `$${NAME}` for a variable that the shell shall expand, or `$NAME`."},
		{"build", argv{&a.Build}, "", "A command run in dir before a new release starts; when it fails, nothing is replaced."},
		{"dir", text[string]{&a.Dir, "a directory"}, ".", "The working directory, relative to the file. Symlinks in it are resolved anew for each release."},
		{"env_file", envFile{&a.Env}, "", "Files of NAME=value lines, relative to the file; later ones win, and env wins over all. `?NAME` may be missing."},
		{"env", textMap{&a.Env}, "", "Environment variables, added to those of the caller of `up`. Values may be texts, numbers, true or false."},
		{"slot_env", slotMap{&a.SlotEnv}, "", "Environment variables for single workers, by slot number: `{0: {ROLE: first}}`. They win over env."},
		{"user", text[string]{&a.User, "a name or number"}, "", "The user to run as (name or number); needs root."},
		{"group", text[string]{&a.Group, "a name or number"}, "", "The group to run as; default: the user's own."},
		{"umask", optional[spec.FileMode]{&a.Umask, mode}, "", "The file mode creation mask, such as 0027."},
		{"workers", whole[int]{&a.Workers, 0, spec.MaxWorkers, cpus()}, "1", "How many workers run: a number, or auto for one per CPU. 0 keeps the app stopped."},
		{"stdin", choice[string]{p: &a.Stdin, words: []string{"inherit"}}, "", "`inherit` gives the terminal to the one worker; otherwise stdin is /dev/null."},
	}
}

func (a *appDraft) socketFields() []field {
	return []field{
		{"listen", listenValue{&a.Listen}, "", "Sockets that muster binds and every worker inherits (LISTEN_FDS), in this order: `:8000`, a list of such, a list of maps, or a map of name to address. Forms: `8000`, `127.0.0.1:8000`, `[::1]:8000`, `tcp4://…`, `udp://…`, `unix:/run/x.sock`, `fd:3`, each with `=NAME`. Names are http, http1, … by default."},
		{"ports", portsValue{&a.Ports}, "", "Ports that each worker binds by itself: a map of name to number, or to a map."},
		{"ready", a.readyValue(), "auto", "When a worker counts as ready."},
		{"health", healthValue{&a.Health}, "", "A check that is repeated for each worker: `http://…`, `tcp:ADDR`, `cmd:COMMAND`, `none`, or a map."},
		{"watchdog", duration(&a.Watchdog), "0s", "A worker must send WATCHDOG=1 (sd_notify) within this time, again and again, or it is replaced; 0: not watched."},
	}
}

func (a *appDraft) ruleFields() []field {
	return []field{
		{"restart", restartValue(&a.Restart), "always", "What happens after an exit that nobody asked for. Tasks: never, unless written."},
		{"stop", section{fields: func() []field { return stopFields(&a.Stop) }}, "", "How a worker is ended."},
		{"reload", section{fields: func() []field { return reloadFields(&a.Reload) }}, "", "How workers are replaced by those of a new release."},
		{"limits", section{fields: func() []field { return limitFields(&a.Limits) }}, "", "Limits of one worker."},
		{"depends_on", dependsValue{&a.DependsOn}, "", "Apps that must come first: a list of names (wait until ready, or completed for a task), or a map of name to `started`, `ready` or `completed`."},
		{"log", logValue(&a.Log), "file", "What is done with the output."},
		{"tags", words{&a.Tags}, "", "Words to select the app by: `muster reload tag:edge`."},
		{"allow", words{&a.Allow}, "", "What a worker may ask of muster, such as stop_agent."},
		{"labels", textMap{&a.Labels}, "", "Free texts, kept for other parts of muster and for your own tools."},
	}
}

func (a *appDraft) readyValue() value {
	r := &a.Ready
	return section{
		fields:      func() []field { return readyFields(r) },
		short:       func(d *decoder, path string, n *node) { d.readyShort(path, n, r) },
		shortSchema: schema{"type": "string", "pattern": `^(auto|notify|listening|probe|port|alive|alive: ?.+|output: ?.+)$|\$\{`},
		shortKind:   "auto, notify, listening, probe, port, alive:TIME, output:REGEX",
	}
}

func readyModes() []string {
	return []string{"auto", "notify", "listening", "probe", "port", "output", "alive"}
}

func readyFields(r *spec.Ready) []field {
	set := func(m spec.ReadyMode) func() { return func() { r.Mode, r.Pattern = m, "" } }
	return []field{
		{"mode", before{choice[spec.ReadyMode]{p: &r.Mode, words: readyModes()}, func() { r.Pattern = "" }, nil, nil}, "auto", "auto picks the strongest that applies: listening with listen, probe with health, port with ports, else alive. notify waits for READY=1 (sd_notify); listening until the inherited sockets are accepted on; probe for the first success of health; port until the worker listens on its ports; output for a line; alive for a time."},
		{"pattern", text[string]{&r.Pattern, "a regular expression"}, "", "The expression (RE2) that a line of output must match, for mode output."},
		{"for", duration(&r.For), "1s", "How long the worker must live, for mode alive."},
		{"output", before{text[string]{&r.Pattern, "a regular expression"}, set(spec.ReadyOutput), never, []string{"mode", "pattern"}}, "", "Short for mode output with this pattern."},
		{"alive", before{duration(&r.For), set(spec.ReadyAlive), never, []string{"mode", "for"}}, "", "Short for mode alive with this time."},
		{"timeout", duration(&r.Timeout), "1m", "A worker that is not ready by then has failed; EXTEND_TIMEOUT_USEC moves it."},
	}
}

func healthFields(h *spec.Health) []field {
	is := func(kind string) func() bool { return func() bool { return h.Type == kind } }
	set := func(kind string) func() {
		return func() { h.Type, h.URL, h.Address, h.Command = kind, "", "", nil }
	}
	return []field{
		{"http", before{text[string]{&h.URL, "a URL"}, set("http"), is("http"), nil}, "", "A URL; a status of 200 to 399 passes. `{{port:NAME}}` stands for the worker's port, as in tcp and cmd."},
		{"tcp", before{text[string]{&h.Address, "an address"}, set("tcp"), is("tcp"), nil}, "", "HOST:PORT, or the path of a UNIX socket; a connection passes."},
		{"cmd", before{argv{&h.Command}, set("cmd"), is("cmd"), nil}, "", "A command; exit code 0 passes."},
		{"interval", duration(&h.Interval), "10s", "The time between checks."},
		{"start_interval", duration(&h.StartInterval), "1s", "The time between checks until the first success."},
		{"timeout", duration(&h.Timeout), "1s", "The time one check may take."},
		{"failures", whole[int]{&h.Failures, 1, 1000000, nil}, "3", "Failures in a row that make a worker unhealthy: it is replaced."},
		{"grace", duration(&h.Grace), "0s", "The time until the first success; 0: ready.timeout."},
	}
}

func restartValue(r *spec.Restart) value {
	policies := choice[spec.RestartPolicy]{p: &r.Policy, words: []string{"always", "on-failure", "never"}, hints: map[string]string{
		"no": "never", "false": "never", "none": "never", "true": "always", "yes": "always",
		"unless-stopped": "always", "unexpected": "on-failure", "on_failure": "on-failure",
	}}
	return section{
		fields: func() []field {
			return []field{
				{"policy", policies, "always", "After which exits: on-failure means a code other than 0, or a signal."},
				{"delay", duration(&r.Delay), "100ms", "The wait after the first failed start."},
				{"factor", decimal{&r.Factor}, "2", "Each further failed start in a row multiplies the wait."},
				{"max_delay", duration(&r.MaxDelay), "30s", "The longest wait."},
				{"jitter", decimal{&r.Jitter}, "0.2", "Each wait is changed at random by up to this part."},
				{"min_uptime", duration(&r.MinUptime), "1s", "An exit before this time, or before ready, is a failed start."},
				{"reset_after", duration(&r.ResetAfter), "30s", "After this time ready, the waits begin with delay again."},
				{"limit", whole[int]{&r.Limit, 0, 1000000, nil}, "10", "So many failed starts within window and the worker is given up; 0: never."},
				{"window", duration(&r.Window), "1m", "See limit."},
			}
		},
		short: shortFor("policy", policies), shortSchema: policies.schema(), shortKind: policies.kind(),
	}
}

func stopFields(s *spec.Stop) []field {
	return []field{
		{"signal", signal{&s.Signal}, "", "The signal that ends a worker gracefully; default: what the program is known to want (SIGQUIT for unicorn, nginx, php-fpm …), else SIGTERM."},
		{"timeout", duration(&s.Timeout), "30s", "What is left after this time is killed."},
		{"command", argv{&s.Command}, "", "A command run instead of the signal, with MAINPID in its environment."},
	}
}

func reloadFields(r *spec.Reload) []field {
	return []field{
		{"batch", whole[int]{&r.Batch, 1, spec.MaxWorkers, nil}, "1", "How many workers are replaced at a time."},
		{"surge", whole[int]{&r.Surge, 0, spec.MaxWorkers, surgeAuto()}, "auto", "How many workers may run beyond the pool's size, at most batch. With 0 the old one stops first. auto: 1, or 0 with ports."},
		{"ready_timeout", duration(&r.ReadyTimeout), "0s", "ready.timeout during a reload; 0: the same."},
		{"soak", duration(&r.Soak), "0s", "How long a new worker must stay ready before the old one drains."},
	}
}

func limitFields(l *spec.Limits) []field {
	integer := func(lo, hi int64) func(*int) value {
		return func(p *int) value { return whole[int]{p, lo, hi, nil} }
	}
	return []field{
		{"memory", size(&l.Memory), "0", "Of the worker with all its children: above it, it is replaced; 0: none."},
		{"cpu", decimal{&l.CPU}, "0", "CPU cores, such as 0.5; needs cgroup v2; 0: none."},
		{"nofile", whole[uint64]{&l.NoFile, 0, 1 << 30, nil}, "0", "Open files; 0: unchanged."},
		{"nice", optional[int]{&l.Nice, integer(-20, 19)}, "", "Scheduling priority, -20 (first) to 19 (last)."},
		{"oom_score", optional[int]{&l.OOMScore, integer(-1000, 1000)}, "", "Who is killed first when memory runs out, -1000 (never) to 1000."},
		{"core", optional[spec.Bytes]{&l.Core, size}, "", "The largest core dump."},
		{"no_new_privs", boolean{&l.NoNewPrivs}, "false", "No gain of privileges through setuid programs."},
	}
}

func logValue(l *spec.Log) value {
	targets := choice[spec.LogTarget]{p: &l.Target, words: []string{"file", "journald", "syslog", "none"}, hints: map[string]string{
		"false": "none", "journal": "journald", "off": "none", "null": "none", "stdout": "none",
	}}
	return section{
		fields: func() []field {
			return []field{
				{"target", targets, "file", "Where the output goes besides memory."},
				{"file", text[string]{&l.File, "a path"}, "", "The file, relative to muster.yaml; default: logs/APP.log in the state directory."},
				{"format", choice[string]{p: &l.Format, words: []string{"json", "text"}}, "json", "The format of the file's lines."},
				{"show", boolean{&l.Show}, "true", "Print the lines in the foreground; they are always captured."},
				{"line_max", size(&l.LineMax), "64KiB", "A longer line is cut there and marked."},
				{"max_size", size(&l.MaxSize), "50MB", "A file is rotated at this size."},
				{"max_files", whole[int]{&l.MaxFiles, 0, 10000, nil}, "10", "How many rotated files are kept."},
				{"lines", whole[int]{&l.Lines, 0, 1000000, nil}, "1000", "How many lines of each worker are kept in memory."},
			}
		},
		short: shortFor("target", targets), shortSchema: targets.schema(), shortKind: targets.kind(),
	}
}

// shortFor reads a scalar in place of a map with that one key.
func shortFor(key string, v value) func(*decoder, string, *node) {
	return func(d *decoder, path string, n *node) {
		v.decode(d, path, n)
		d.move(path, path+"."+key)
	}
}
