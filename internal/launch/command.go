package launch

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch/shell"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// Worker is what Command needs to know of one worker.
type Worker struct {
	App     spec.App
	Environ []string // Spec.Environ
	Dir     string   // resolved, see ResolveDir
	Slot    int
	// Generation and Release of the app that this worker runs.
	Generation int
	Release    string
	ID         string // of the process, unique
	Node       string // this host's name among the nodes; "": not told
	// NotifySocket is the path of the worker's sd_notify socket; "": none, and no
	// WATCHDOG_USEC either.
	NotifySocket string
	// ChannelFD is the descriptor of the worker's end of its channel; 0: none.
	ChannelFD int
	// Number counts the processes of the app, from 1, and is never used twice; a
	// Node.js program knows it as cluster.worker.id. 0: not counted, so no worker of
	// Node's cluster, and debugger ports are left alone.
	Number int
	// Preload is the absolute path of the file that a Node.js worker loads before its
	// program: muster's drain, or, for an app with NodeDelegate, its primary's half.
	// "": none.
	Preload string
}

// ResolveDir is the app's directory with every symlink resolved, so that a
// generation stays where it began when `current` moves on. A directory that is
// missing, or is none, is a DirMissing fault; "" is the agent's own.
func ResolveDir(app spec.App) (string, error) {
	dir := app.Dir
	if dir == "" {
		dir = "."
	}
	resolved, err := filepath.Abs(dir)
	if err == nil {
		resolved, err = filepath.EvalSymlinks(resolved)
	}
	if err != nil {
		return "", dirFault(app, err)
	}
	info, err := os.Stat(resolved)
	if err == nil && !info.IsDir() {
		err = unix.ENOTDIR
	}
	if err != nil {
		return "", dirFault(app, err)
	}
	return resolved, nil
}

func dirFault(app spec.App, err error) error {
	if errors.Is(err, os.ErrPermission) {
		return fault.New(fault.DirMissing, "dir %s cannot be entered: %w", app.Dir, err).At(app.Name).
			WithFix("make it (and every directory above it) accessible to the user that muster runs as")
	}
	return fault.New(fault.DirMissing, "dir %s: %w", app.Dir, err).At(app.Name)
}

// Command is the process of a worker: Argv, Env, Dir, Identity, Umask, Limits and
// ID. Files, Listen, Stdin, Spool, Cgroup and Meta are left to the caller. The
// listener at index i of App.Listen must become descriptor 3+i.
func Command(w Worker) (process.Command, error) {
	c := process.Command{ID: w.ID, Dir: w.Dir, Umask: w.App.Umask, Limits: w.App.Limits}
	argv, err := argv(w.App, w.Slot)
	if err != nil {
		return process.Command{}, err
	}
	node := resolve(expanded(w.here(), argv))
	if c.Argv = nodeArgv(w, node); c.Argv == nil {
		c.Argv = started(w.App, argv)
	}
	who, err := lookup(w.App)
	if err != nil {
		return process.Command{}, err
	}
	c.Identity = who.identity
	if c.Env, err = environ(w, who, node); err != nil {
		return process.Command{}, err
	}
	return c, nil
}

// argv expands the command; of a shell script it is the text.
func argv(app spec.App, slot int) ([]string, error) {
	if len(app.Command) == 0 || app.Command[0] == "" {
		return nil, fault.New(fault.Config, "command is empty").At(app.Name)
	}
	out := make([]string, len(app.Command))
	for i, arg := range app.Command {
		text, err := Expand(arg, app, slot)
		if err != nil {
			return nil, err
		}
		out[i] = text
	}
	if app.Shell {
		return []string{strings.Join(out, " ")}, nil
	}
	return out, nil
}

// expanded is the app with its command as one worker runs it.
func expanded(app spec.App, argv []string) spec.App {
	app.Command = argv
	return app
}

// started is an expanded command as it is run, a shell's script by a shell.
func started(app spec.App, argv []string) []string {
	if app.Shell {
		return shell.Argv(argv[0])
	}
	return argv
}

// forMuster are variables that were meant for muster itself, or for the worker of
// another muster that it runs in.
func forMuster(key string) bool {
	switch key {
	case "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "LISTEN_PIDFDID",
		"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM",
		"NODE_CHANNEL_FD", "NODE_CHANNEL_SERIALIZATION_MODE", "NODE_UNIQUE_ID", "MUSTER_CHANNEL_FD",
		"MUSTER_APP", "MUSTER_ROLE", "MUSTER_WORKER", "MUSTER_GENERATION", "MUSTER_RELEASE", "MUSTER_NODE",
		"MUSTER_ERRAND", "MUSTER_FORK", "MUSTER_COUNT", "MUSTER_DEALT", "MUSTER_DRAIN_MS", process.MarkEnv:
		return true
	}
	return false
}

// environ is the complete environment, sorted by name; see the package comment.
func environ(w Worker, who account, node serving) ([]string, error) {
	env := map[string]string{}
	for _, kv := range w.Environ {
		if k, v, ok := strings.Cut(kv, "="); ok && k != "" && !forMuster(k) {
			env[k] = v
		}
	}
	maps.Copy(env, who.env())
	env["NODE_APP_INSTANCE"] = strconv.Itoa(w.Slot)
	for _, layer := range []map[string]string{w.App.Env, w.App.SlotEnv[w.Slot]} {
		for k, v := range layer {
			text, err := Expand(v, w.App, w.Slot)
			if err != nil {
				return nil, err
			}
			env[k] = text
		}
	}
	addPorts(env, w)
	addLauncher(env, node)
	addWorker(env, w)
	w.App = w.here()
	if err := keepOut(&w, who, node); err != nil {
		return nil, err
	}
	if err := addNode(env, w, node); err != nil {
		return nil, err
	}
	out := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		out = append(out, k+"="+env[k])
	}
	return out, nil
}

// addPorts sets the variable of each port, and PORT_NAME beside it.
func addPorts(env map[string]string, w Worker) {
	for i, p := range w.App.Ports {
		number := strconv.Itoa(p.For(w.Slot))
		if p.Name != "" {
			env["PORT_"+strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(p.Name))] = number
		}
		switch {
		case p.Env != "":
			env[p.Env] = number
		case i == 0:
			env["PORT"] = number
		}
	}
}

// addWorker sets what tells the worker who it is.
func addWorker(env map[string]string, w Worker) {
	env["MUSTER_APP"] = w.App.Name
	if w.App.Role != "" {
		env["MUSTER_ROLE"] = w.App.Role
	}
	env["MUSTER_WORKER"] = strconv.Itoa(w.Slot)
	env["MUSTER_GENERATION"] = strconv.Itoa(w.Generation)
	env["MUSTER_RELEASE"] = w.Release
	env["PWD"] = w.Dir
	if w.Node != "" {
		env["MUSTER_NODE"] = w.Node
	}
	if w.NotifySocket != "" {
		env["NOTIFY_SOCKET"] = w.NotifySocket
	}
	if w.ChannelFD > 0 {
		env["MUSTER_CHANNEL_FD"] = strconv.Itoa(w.ChannelFD)
	}
	if watchdog := w.App.Watchdog.D(); watchdog > 0 && w.NotifySocket != "" {
		env["WATCHDOG_USEC"] = strconv.FormatInt(watchdog.Microseconds(), 10)
	}
}
