package config

import (
	"fmt"

	"github.com/muster-run/muster/spec"
)

// Version of the file format.
const Version = 1

// MaxApps is the largest number of apps in a file.
const MaxApps = 1024

// version is the number that says how to read the file.
type version struct{}

func (version) decode(d *decoder, path string, n *node) {
	if s, ok := d.text(path, n, "1"); ok && s != "1" {
		d.problem(path, n.at, "write version: 1, or install a newer muster", "this muster reads version 1 only, not %q", s)
	}
}
func (version) show(path string) *shown { return &shown{path: path, text: fmt.Sprint(Version)} }
func (version) schema() schema          { return schema{"const": Version} }
func (version) kind() string            { return "1" }

// elsewhere is a key that Load reads by itself.
type elsewhere struct {
	s schema
	k string
}

func (elsewhere) decode(*decoder, string, *node) {}
func (elsewhere) show(string) *shown             { return nil }
func (v elsewhere) schema() schema               { return v.s }
func (v elsewhere) kind() string                 { return v.k }

// rootFields are the keys at the top but apps and defaults.
func rootFields(s *spec.Spec) []field {
	return []field{
		{"version", version{}, "", "The version of the format. Required."},
		{"name", text[string]{&s.Project, "a name"}, "", "The project: it names the state directory and the control socket. Default: the name of the file's directory."},
		{"control", section{fields: func() []field { return controlFields(&s.Control) }}, "", "Who may use the control socket besides the owner."},
		{"on_exit", commands{&s.OnExit}, "", "Commands that run before muster ends, with MUSTER_REASON, at most 10s each."},
	}
}

func controlFields(c *spec.Control) []field {
	return []field{
		{"group", text[string]{&c.Group, "a group"}, "", "This group may use it too."},
		{"mode", mode(&c.Mode), "0600", "Mode of the socket: 0600, or 0660 (the default with group)."},
	}
}

func allRootFields(s *spec.Spec) []field {
	app := schema{"$ref": "#/$defs/app"}
	return append(
		rootFields(s),
		field{"defaults", elsewhere{app, "an app"}, "", "Keys for every app. The app's own win; maps are merged key by key."},
		field{"apps", elsewhere{schema{
			"type": "object", "propertyNames": schema{"pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"}, "additionalProperties": app,
		}, "map of name to app"}, "", "The programs to run. Required."},
	)
}

// root decodes the whole document.
func (d *decoder) root(n *node, s *spec.Spec) {
	if n.shape != object {
		d.problem("", n.at, "begin with version: 1 and apps:", "the file is %s, not a map", n.shape)
		return
	}
	d.object("", n, allRootFields(s))
	if n.get("version") == nil {
		d.problem("version", place{1, 1}, "write version: 1 in the first line", "the version is missing")
	}
	if s.Control.Group != "" && n.get("control").get("mode") == nil {
		s.Control.Mode = 0o660
	}
	defaults, apps := n.get("defaults"), n.get("apps")
	if defaults != nil {
		scratch := spec.DefaultApp("")
		d.object("defaults", defaults, (&appDraft{App: &scratch}).fields())
	}
	switch {
	case apps == nil:
		d.problem("apps", n.at, "write apps: {web: {command: ./server}}", "there are no apps")
	case apps.shape == scalar && apps.null:
	case apps.shape != object:
		d.problem("apps", apps.at, "write a map of name to app: apps: {web: {command: ./server}}", "this is %s", apps.shape)
	case len(apps.pairs) > MaxApps:
		d.problem("apps", apps.at, "", "%d apps are more than %d", len(apps.pairs), MaxApps)
	default:
		for _, p := range apps.pairs {
			s.Apps = append(s.Apps, d.app(p, defaults))
		}
	}
}

// app decodes one app over the defaults.
func (d *decoder) app(p pair, defaults *node) spec.App {
	path := "apps." + p.key
	d.places[path] = spot{file: d.file, place: p.at}
	a := spec.DefaultApp(p.key)
	draft := &appDraft{App: &a}
	d.quiet = true // its problems have been told under "defaults"
	d.object(path, defaults, draft.fields())
	d.quiet = false
	d.object(path, p.value, draft.fields())
	r := p.value.get("restart")
	draft.policy = r != nil && (r.shape == scalar && !r.null || r.get("policy") != nil)
	d.finish(path, draft, p.value)
	return a
}

// finish completes what depends on more than one key.
func (d *decoder) finish(path string, a *appDraft, n *node) {
	switch {
	case a.isScript && a.Shell:
		a.Command = []string{a.script}
	case a.isScript:
		split, err := spec.SplitCommand(a.script)
		d.invalid(path+".command", a.at, err)
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
		d.problem(path+".restart", d.placeOf(path+".restart").place, "write never or on-failure", "a task that has ended with 0 is done, so always is not possible")
	}
	a.Dir = d.absolute(a.Dir)
	if a.Log.File != "" {
		a.Log.File = d.absolute(a.Log.File)
	}
	for i, l := range a.Listen {
		if l.Network == "unix" && l.Address != "" {
			a.Listen[i].Address = d.absolute(l.Address)
		}
	}
	nameListeners(a.Listen)
	namePorts(a.Ports)
	if n.get("workers") == nil && a.Stdin == "inherit" && a.Workers > 1 {
		a.Workers = 1 // from the defaults
	}
}

// conditions fills in what a name alone in depends_on means.
func fillConditions(apps []spec.App) {
	kinds := map[string]spec.Kind{}
	for _, a := range apps {
		kinds[a.Name] = a.Type
	}
	for _, a := range apps {
		for i, dep := range a.DependsOn {
			if dep.Condition != "" {
				continue
			}
			a.DependsOn[i].Condition = spec.IsReady
			if kinds[dep.App] == spec.Task {
				a.DependsOn[i].Condition = spec.Completed
			}
		}
	}
}
