package spec

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"github.com/muster-run/muster/spec/secret"
)

// Diff lists what leads from one spec to another, sorted by app and field, with
// secrets masked. Equal specs have no changes; each change has the mildest
// action that makes it effective. A change of Environ is listed for every app
// that does not set the variable itself.
func Diff(old, new Spec) []Change {
	changes := compare("", leavesOf(selfOf(old)), leavesOf(selfOf(new)), func(string) Action { return UpdateSpec })
	before, after := appsByName(old), appsByName(new)
	for name, a := range before {
		if _, stays := after[name]; !stays {
			changes = append(changes, Change{App: name, Action: RemoveApp, Old: summary(a)})
		}
	}
	for name, a := range after {
		was, known := before[name]
		if !known {
			changes = append(changes, Change{App: name, Action: AddApp, New: summary(a)})
			continue
		}
		changes = append(changes, DiffApp(was, a)...)
		changes = append(changes, compare(name, environLeaves(old, a), environLeaves(new, a), actionOf)...)
	}
	return sorted(changes)
}

// DiffApp lists what leads from one version of an app to another, sorted by
// field, with secrets masked. Names are not compared.
func DiffApp(old, new App) []Change {
	name := new.Name
	old.Name, new.Name = "", ""
	before, after := leavesOf(old), leavesOf(new)
	if (old.Health == nil) != (new.Health == nil) {
		foldHealth(before, old.Health)
		foldHealth(after, new.Health)
	}
	return sorted(compare(name, before, after, actionOf))
}

// foldHealth makes one leaf of a check that comes or goes as a whole.
func foldHealth(l leaves, h *Health) {
	maps.DeleteFunc(l, func(path string, _ leaf) bool { return strings.HasPrefix(path, "health.") })
	if h != nil {
		text := h.Type + " " + secret.Text(h.URL+h.Address) + shownCommand(h.Command)
		l["health"] = leaf{text, text}
	}
}

// selfOf is the spec without what is compared in its own way.
func selfOf(s Spec) Spec {
	s.Apps, s.Environ = nil, nil
	return s
}

func appsByName(s Spec) map[string]App {
	m := make(map[string]App, len(s.Apps))
	for _, a := range s.Apps {
		m[a.Name] = a
	}
	return m
}

func summary(a App) string { return shownCommand(a.Command) }

// environLeaves is the part of Environ that reaches the app's workers.
func environLeaves(s Spec, a App) leaves {
	l := leaves{}
	for _, kv := range s.Environ {
		name, value, _ := strings.Cut(kv, "=")
		if _, own := a.Env[name]; !own {
			l["environ."+name] = leaf{value, shownEnv(name, value)}
		}
	}
	return l
}

// compare lists the paths whose values differ.
func compare(app string, before, after leaves, action func(path string) Action) (changes []Change) {
	for path, o := range before {
		if n, stays := after[path]; !stays || n.value != o.value {
			changes = append(changes, Change{App: app, Action: action(path), Field: path, Old: o.shown, New: n.shown})
		}
	}
	for path, n := range after {
		if _, was := before[path]; !was {
			changes = append(changes, Change{App: app, Action: action(path), Field: path, New: n.shown})
		}
	}
	return changes
}

func sorted(changes []Change) []Change {
	slices.SortFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Field, b.Field), cmp.Compare(a.Action, b.Action))
	})
	return changes
}

// actionOf is the mildest action for a field of an app. What is not named here
// is part of how the process is started, so its workers must be replaced.
func actionOf(path string) Action {
	if path == "limits.memory" {
		return UpdateApp
	}
	section, _, _ := strings.Cut(path, ".")
	section, _, _ = strings.Cut(section, "[")
	switch section {
	case "workers":
		return ScaleApp
	case "restart", "stop", "reload", "health", "log", "depends_on", "tags", "allow", "heartbeat", "console":
		return UpdateApp
	}
	return ReloadApp
}
