package config

import (
	"fmt"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Version of the file format.
const Version = 1

// MaxApps is the largest number of apps in a file.
const MaxApps = 1024

// version is the number that says how to read the file.
type version struct{}

func (version) Decode(d *table.Decoder, path string, n *tree.Node) {
	if s, ok := d.Text(path, n, "1"); ok && s != "1" {
		d.Problem(path, n.At, "write version: 1, or install a newer muster", "this muster reads version 1 only, not %q", s)
	}
}
func (version) Show(path string) *table.Shown { return table.ShowPlain(path, fmt.Sprint(Version)) }
func (version) Schema() table.Schema          { return table.Schema{"const": Version} }
func (version) Kind() string                  { return "1" }

// elsewhere is a key that Load reads by itself.
type elsewhere struct {
	s table.Schema
	k string
}

func (elsewhere) Decode(*table.Decoder, string, *tree.Node) {}
func (elsewhere) Show(string) *table.Shown                  { return nil }
func (v elsewhere) Schema() table.Schema                    { return v.s }
func (v elsewhere) Kind() string                            { return v.k }

// rootFields are the keys at the top but apps and defaults.
func rootFields(s *spec.Spec) []table.Field {
	return []table.Field{
		table.Key("version", version{}, "", "The version of the format. Required."),
		table.Key("name", table.Text(&s.Project, "a name"), "", "The project: it names the state directory and the control socket. Default: the name of the file's directory."),
		table.Key("control", table.Section(controlFields(&s.Control)), "", "Who may use the control API besides the owner, and where."),
		table.Key("notify", notifyValue{&s.Notify}, "", "Who is told of what happens: a map of name to URL, or to a map."),
		table.Key("on_exit", table.Commands(&s.OnExit), "", "Commands that run before muster ends, with MUSTER_REASON, at most 10s each."),
	}
}

func controlFields(c *spec.Control) []table.Field {
	return []table.Field{
		table.Key("group", table.Text(&c.Group, "a group"), "", "This group may use it too."),
		table.Key("mode", table.Mode(&c.Mode), "0600", "Mode of the socket: 0600, or 0660 (the default with group)."),
		table.Key("listen", table.Text(&c.Listen, "an address such as 127.0.0.1:9009"), "", "A loopback address where apps may be stopped and restarted by HTTP, with the key that `muster session-key` prints; default: nowhere."),
	}
}

func allRootFields(s *spec.Spec) []table.Field {
	app := table.Schema{"$ref": "#/$defs/app"}
	return append(
		rootFields(s),
		table.Key("defaults", elsewhere{app, "an app"}, "", "Keys for every app. The app's own win; maps are merged key by key."),
		table.Key("apps", elsewhere{table.Schema{
			"type": "object", "propertyNames": table.Schema{"pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}, "additionalProperties": app,
		}, "map of name to app"}, "", "The programs to run. Required."),
	)
}

// root decodes the whole document.
func (r *reader) root(n *tree.Node, s *spec.Spec) {
	if n.Shape != tree.Object {
		r.d.Problem("", n.At, "begin with version: 1 and apps:", "the file is %s, not a map", n.Shape)
		return
	}
	r.d.Object("", n, allRootFields(s))
	if n.Get("version") == nil {
		r.d.Problem("version", tree.Place{Line: 1, Column: 1}, "write version: 1 in the first line", "the version is missing")
	}
	if s.Control.Group != "" && n.Get("control").Get("mode") == nil {
		s.Control.Mode = 0o660
	}
	defaults, apps := n.Get("defaults"), n.Get("apps")
	if defaults != nil {
		scratch := spec.DefaultApp("")
		r.d.Object("defaults", defaults, (&appDraft{App: &scratch, from: r}).fields())
	}
	switch {
	case apps == nil:
		r.d.Problem("apps", n.At, "write apps: {web: {command: ./server}}", "there are no apps")
	case apps.IsEmpty():
	case apps.Shape != tree.Object:
		r.d.Problem("apps", apps.At, "write a map of name to app: apps: {web: {command: ./server}}", "this is %s", apps.Shape)
	case len(apps.Pairs) > MaxApps:
		r.d.Problem("apps", apps.At, "", "%d apps are more than %d", len(apps.Pairs), MaxApps)
	default:
		for _, p := range apps.Pairs {
			s.Apps = append(s.Apps, r.app(p, defaults))
		}
	}
}

// app decodes one app over the defaults.
func (r *reader) app(p tree.Pair, defaults *tree.Node) spec.App {
	path := "apps." + p.Key
	r.d.Place(path, p.At)
	a := spec.DefaultApp(p.Key)
	draft := &appDraft{App: &a, from: r}
	r.d.Inherit("defaults", path, defaults, draft.fields())
	r.d.Object(path, p.Value, draft.fields())
	restart := p.Value.Get("restart")
	draft.policy = restart != nil && (restart.Shape == tree.Scalar && !restart.Null || restart.Get("policy") != nil)
	r.finish(path, draft, p.Value)
	return a
}

// finish completes what depends on more than one key.
func (r *reader) finish(path string, a *appDraft, n *tree.Node) {
	switch {
	case a.isScript && a.Shell:
		a.Command = []string{a.script}
	case a.isScript:
		split, err := spec.SplitCommand(a.script)
		r.d.Invalid(path+".command", a.at, err)
		a.Command = split
		if err != nil {
			a.Command = []string{a.script} // told once; keep Validate quiet
		}
	}
	switch {
	case a.Type != spec.Task:
	case !a.policy:
		a.Restart.Policy = spec.RestartNever
	case a.Restart.Policy == spec.RestartAlways:
		r.d.Problem(path+".restart", r.d.PlaceOf(path+".restart").Place, "write never or on-failure", "a task that has ended with 0 is done, so always is not possible")
	}
	a.Dir = r.absolute(a.Dir)
	if a.Log.File != "" {
		a.Log.File = r.absolute(a.Log.File)
	}
	for i, l := range a.Listen {
		if l.Network == "unix" && l.Address != "" {
			a.Listen[i].Address = r.absolute(l.Address)
		}
	}
	nameListeners(a.Listen)
	namePorts(a.Ports)
	if n.Get("workers") == nil && a.Stdin == "inherit" && a.Workers > 1 {
		a.Workers = 1 // from the defaults
	}
}

// hint says what is meant by a key that no table has.
func hint(path string, p tree.Pair) (key, fix string) {
	if path == "" && p.Value.Get("command") != nil {
		return "", "indent it, so that it stands in apps"
	}
	switch key := foreignKeys()[p.Key]; {
	case p.Key == "exec_mode":
		return key, "remove it (`node SCRIPT` is a worker of a cluster by itself), or write `node: off`"
	case p.Key == "wait_ready":
		return key, "write `ready: notify`"
	case p.Key == "shutdown_with_message":
		return key, "write `stop: {message: shutdown}`"
	case key != "":
		return key, "write " + key
	}
	return "", ""
}

// foreignKeys are what other tools call things.
func foreignKeys() map[string]string {
	return map[string]string{
		"services": "apps", "processes": "apps", "programs": "apps",
		"script": "command", "exec": "command", "cmd": "command", "args": "command", "entrypoint": "command",
		"interpreter": "command", "cwd": "dir", "working_dir": "dir", "workingdirectory": "dir", "directory": "dir",
		"instances": "workers", "replicas": "workers", "scale": "workers", "numprocs": "workers", "processes_num": "workers",
		"environment": "env", "healthcheck": "health", "readiness_probe": "ready", "liveness_probe": "health",
		"kill_timeout": "stop.timeout", "stop_grace_period": "stop.timeout", "stop_signal": "stop.signal", "stopsignal": "stop.signal",
		"max_memory_restart": "limits.memory", "autorestart": "restart", "sockets": "listen", "bind": "listen",
		"port": "ports", "logs": "log", "logging": "log", "depends": "depends_on", "after": "depends_on", "user_group": "group",
		// PM2's
		"exec_mode": "node.cluster", "wait_ready": "ready", "listen_timeout": "ready.timeout", "shutdown_with_message": "stop.message",
		"node_args": "command", "interpreter_args": "command", "interpreterargs": "command", "increment_var": "ports", "instance_var": "slot_env",
		"restart_delay": "restart.delay", "min_uptime": "restart.min_uptime", "max_restarts": "restart.limit", "exp_backoff_restart_delay": "restart.delay",
		"out_file": "log.file", "error_file": "log.file", "log_file": "log.file", "namespace": "tags", "uid": "user", "gid": "group",
		"env_production": "env", "env_development": "env", "balancing": "balance", "load_balancing": "balance", "scheduling_policy": "balance",
	}
}
