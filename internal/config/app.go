package config

import (
	"github.com/muster-run/muster/internal/config/cpus"
	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// appDraft is an app while it is read: some of its keys mean something only
// together with others, which finish sorts out.
type appDraft struct {
	*spec.App
	// script is command written as one string, and where.
	script   string
	isScript bool
	at       tree.Place
	// from reads the env_files; nil when the app is not read at all.
	from *reader
	// policy says that the app itself wrote a restart policy.
	policy bool
}

// commandLine is an app's command; finish splits a string once shell is known.
type commandLine struct{ a *appDraft }

func (v commandLine) Decode(d *table.Decoder, path string, n *tree.Node) {
	v.a.Command, v.a.isScript, v.a.at = nil, false, n.At
	if n.Shape == tree.List {
		v.a.Command = d.Texts(path, n)
		return
	}
	v.a.script, v.a.isScript = d.Text(path, n, `a command such as "node server.js" or [node, server.js]`)
}

func (v commandLine) Show(path string) *table.Shown {
	if v.a.Shell && len(v.a.Command) == 1 {
		return table.ShowText(path, v.a.Command[0])
	}
	return table.ShowWords(path, v.a.Command)
}
func (v commandLine) Schema() table.Schema { return table.Argv(nil).Schema() }
func (v commandLine) Kind() string         { return "command" }

// fields is the table of an app's keys.
func (a *appDraft) fields() []table.Field {
	return append(append(a.processFields(), a.socketFields()...), a.ruleFields()...)
}

func (a *appDraft) processFields() []table.Field {
	return []table.Field{
		table.Key("command", commandLine{a}, "", "The program and its arguments: a list, or a string that is split as a shell would (quotes, backslashes). `{{fd:NAME}}` and `{{port:NAME}}` stand for a descriptor and a port. Required."),
		table.Key("type", table.Choice(&a.Type, []string{"service", "task"}, nil), "service", "A service runs until it is stopped; a task runs to its end once per `up`, such as a migration."),
		table.Key("shell", table.Bool(&a.Shell), "false", "Run command by `/bin/sh -c`. Write `$${NAME}` for a variable that the shell shall expand, or `$NAME`."),
		table.Key("build", table.Argv(&a.Build), "", "A command run in dir before a new release starts; when it fails, nothing is replaced."),
		table.Key("dir", table.Text(&a.Dir, "a directory"), ".", "The working directory, relative to the file. Symlinks in it are resolved anew for each release."),
		table.Key("env_file", envFile{&a.Env, a.from}, "", "Files of NAME=value lines, relative to the file; later ones win, and env wins over all. `?NAME` may be missing."),
		table.Key("env", table.TextMap(&a.Env), "", "Environment variables, added to those of the caller of `up`. Values may be texts, numbers, true or false."),
		table.Key("slot_env", slotMap{&a.SlotEnv}, "", "Environment variables for single workers, by slot number: `{0: {ROLE: first}}`. They win over env."),
		table.Key("user", table.Text(&a.User, "a name or number"), "", "The user to run as (name or number); needs root."),
		table.Key("group", table.Text(&a.Group, "a name or number"), "", "The group to run as; default: the user's own."),
		table.Key("umask", table.Optional(&a.Umask, table.Mode), "", "The file mode creation mask, such as 0027."),
		table.Key("workers", table.WholeOrAuto(&a.Workers, 0, spec.MaxWorkers, cpus.Available), "1", "How many workers run: a number, or auto for one per CPU. 0 keeps the app stopped."),
		table.Key("stdin", table.Choice(&a.Stdin, []string{"inherit"}, nil), "", "`inherit` gives the terminal to the one worker; otherwise stdin is /dev/null."),
	}
}

func (a *appDraft) socketFields() []table.Field {
	return []table.Field{
		table.Key("listen", listenValue{&a.Listen}, "", "Sockets that muster binds and every worker inherits (LISTEN_FDS), in this order: `:8000`, a list of such, a list of maps, or a map of name to address. Forms: `8000`, `127.0.0.1:8000`, `[::1]:8000`, `tcp4://…`, `udp://…`, `unix:/run/x.sock`, `fd:3`, each with `=NAME`. Names are http, http1, … by default."),
		table.Key("balance", orAuto[spec.Balance]{balanceValue(&a.Balance), &a.Balance}, "auto", "How connections get to the workers, for the listeners without a balance of their own and for what Node.js workers ask for. `shared`: one socket for all, whoever is idle takes the next; `slots`: a socket for each worker, the kernel spreads (TCP); `round-robin`: muster gives each connection to the worker idle longest, `least-connections` to the one with the fewest (Node.js programs, and Go programs with the package worker). auto: slots for TCP and round-robin for UNIX sockets of Node.js programs, else shared. It is fixed for a listener until its app is stopped."),
		table.Key("node", nodeValue(&a.Node), "", "What is done for a Node.js program: on, off, delegate, or a map."),
		table.Key("ports", portsValue{&a.Ports}, "", "Ports that each worker binds by itself: a map of name to number, or to a map."),
		table.Key("ready", a.readyValue(), "auto", "When a worker counts as ready."),
		table.Key("health", healthValue{&a.Health}, "", "A check that is repeated for each worker: `http://…`, `tcp:ADDR`, `cmd:COMMAND`, `none`, or a map."),
		table.Key("watchdog", table.Duration(&a.Watchdog), "0s", "A worker must send WATCHDOG=1 (sd_notify) within this time, again and again, or it is replaced; 0: not watched."),
	}
}

func (a *appDraft) ruleFields() []table.Field {
	return []table.Field{
		table.Key("restart", restartValue(&a.Restart), "always", "What happens after an exit that nobody asked for. Tasks: never, unless written."),
		table.Key("stop", table.Section(stopFields(&a.Stop)), "", "How a worker is ended."),
		table.Key("reload", table.Section(reloadFields(&a.Reload)), "", "How workers are replaced by those of a new release."),
		table.Key("limits", table.Section(limitFields(&a.Limits)), "", "Limits of one worker."),
		table.Key("depends_on", dependsValue{&a.DependsOn}, "", "Apps that must come first: a list of names (wait until ready, or completed for a task), or a map of name to `started`, `ready` or `completed`."),
		table.Key("log", logValue(&a.Log), "file", "What is done with the output."),
		table.Key("tags", table.Words(&a.Tags), "", "Words to select the app by: `muster reload tag:edge`."),
		table.Key("role", table.Text(&a.Role, "web, worker, or a word of your own"), "web", "What its workers are for, to select by: `muster restart role:worker`. web, worker for jobs, or a word of your own."),
		table.Key("allow", wordsOf{table.Words(&a.Allow), []string{spec.AllowStopAgent, spec.AllowOrders}}, "", "What its workers may ask of muster, beyond what concerns their own app: stop_agent ends muster itself, orders starts, stops and reloads other apps."),
		table.Key("heartbeat", heartbeatValue(&a.Heartbeat), "", "How a worker's silence is judged. Its SDK sends a sign of life every fifth of the interval."),
		table.Key("console", consoleValue(&a.Console), "", "Where workers open a console of their own, on order."),
		table.Key("labels", table.TextMap(&a.Labels), "", "Free texts, kept for other parts of muster and for your own tools."),
	}
}

func restartValue(r *spec.Restart) table.Value {
	return table.ShortSection(restartFields(r), table.ShortFor("policy", restartPolicy(r)))
}

func restartPolicy(r *spec.Restart) table.Value {
	return table.Choice(&r.Policy, []string{"always", "on-failure", "never"}, map[string]string{
		"no": "never", "false": "never", "none": "never", "true": "always", "yes": "always",
		"unless-stopped": "always", "unexpected": "on-failure", "on_failure": "on-failure",
	})
}

func restartFields(r *spec.Restart) []table.Field {
	return []table.Field{
		table.Key("policy", restartPolicy(r), "always", "After which exits: on-failure means a code other than 0, or a signal."),
		table.Key("delay", table.Duration(&r.Delay), "100ms", "The wait after the first failed start."),
		table.Key("factor", table.Decimal(&r.Factor), "2", "Each further failed start in a row multiplies the wait."),
		table.Key("max_delay", table.Duration(&r.MaxDelay), "30s", "The longest wait."),
		table.Key("jitter", table.Decimal(&r.Jitter), "0.2", "Each wait is changed at random by up to this part."),
		table.Key("min_uptime", table.Duration(&r.MinUptime), "1s", "An exit before this time, or before ready, is a failed start."),
		table.Key("reset_after", table.Duration(&r.ResetAfter), "30s", "After this time ready, the waits begin with delay again."),
		table.Key("limit", table.Whole(&r.Limit, 0, 1000000), "10", "So many failed starts within window and the worker is given up; 0: never."),
		table.Key("window", table.Duration(&r.Window), "1m", "See limit."),
	}
}

func stopFields(s *spec.Stop) []table.Field {
	return []table.Field{
		table.Key("signal", table.Signal(&s.Signal), "", "The signal that ends a worker gracefully; default: what the program is known to want (SIGQUIT for unicorn, nginx, php-fpm …), else SIGTERM."),
		table.Key("timeout", table.Duration(&s.Timeout), "30s", "What is left after this time is killed."),
		table.Key("command", table.Argv(&s.Command), "", "A command run instead of the signal, with MAINPID in its environment."),
		table.Key("message", table.Text(&s.Message, "a text such as shutdown"), "", "A text sent to the worker (process.on('message')) before the signal, such as `shutdown`."),
	}
}

func surgeAuto() int { return spec.SurgeAuto }

func reloadFields(r *spec.Reload) []table.Field {
	return []table.Field{
		table.Key("batch", table.Whole(&r.Batch, 1, spec.MaxWorkers), "1", "How many workers are replaced at a time."),
		table.Key("surge", table.WholeOrAuto(&r.Surge, 0, spec.MaxWorkers, surgeAuto), "auto", "How many workers may run beyond the pool's size, at most batch. With 0 the old one stops first. auto: batch; 0 where workers hold ports of their own; all for programs that hang up on keep-alive clients (uvicorn, gunicorn with threads)."),
		table.Key("ready_timeout", table.Duration(&r.ReadyTimeout), "0s", "ready.timeout during a reload; 0: the same."),
		table.Key("soak", table.Duration(&r.Soak), "0s", "How long a new worker must stay ready before the old one drains."),
	}
}

func limitFields(l *spec.Limits) []table.Field {
	integer := func(lo, hi int64) func(*int) table.Value {
		return func(p *int) table.Value { return table.Whole(p, lo, hi) }
	}
	return []table.Field{
		table.Key("memory", table.Size(&l.Memory), "0", "Of the worker with all its children: above it, it is replaced; 0: none."),
		table.Key("cpu", table.Decimal(&l.CPU), "0", "CPU cores, such as 0.5; needs cgroup v2; 0: none."),
		table.Key("nofile", table.Whole(&l.NoFile, 0, 1<<30), "0", "Open files; 0: unchanged."),
		table.Key("nice", table.Optional(&l.Nice, integer(-20, 19)), "", "Scheduling priority, -20 (first) to 19 (last)."),
		table.Key("oom_score", table.Optional(&l.OOMScore, integer(-1000, 1000)), "", "Who is killed first when memory runs out, -1000 (never) to 1000."),
		table.Key("core", table.Optional(&l.Core, table.Size), "", "The largest core dump."),
		table.Key("no_new_privs", table.Bool(&l.NoNewPrivs), "false", "No gain of privileges through setuid programs."),
	}
}

func logValue(l *spec.Log) table.Value {
	return table.ShortSection(logFields(l), table.ShortFor("target", logTarget(l)))
}

func logTarget(l *spec.Log) table.Value {
	return table.Choice(&l.Target, []string{"file", "journald", "syslog", "none"}, map[string]string{
		"false": "none", "journal": "journald", "off": "none", "null": "none", "stdout": "none",
	})
}

func logFields(l *spec.Log) []table.Field {
	return []table.Field{
		table.Key("target", logTarget(l), "file", "Where the output goes besides memory."),
		table.Key("file", table.Text(&l.File, "a path"), "", "The file, relative to muster.yaml; default: logs/APP.log in the state directory."),
		table.Key("format", table.Choice(&l.Format, []string{"json", "text"}, nil), "json", "The format of the file's lines."),
		table.Key("show", table.Bool(&l.Show), "true", "Print the lines in the foreground; they are always captured."),
		table.Key("line_max", table.Size(&l.LineMax), "64KiB", "A longer line is cut there and marked."),
		table.Key("max_size", table.Size(&l.MaxSize), "50MB", "A file is rotated at this size."),
		table.Key("max_files", table.Whole(&l.MaxFiles, 0, 10000), "10", "How many rotated files are kept."),
		table.Key("lines", table.Whole(&l.Lines, 0, 1000000), "1000", "How many lines of each worker are kept in memory."),
	}
}
