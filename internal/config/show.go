package config

import (
	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/spec"
)

// document is the whole effective configuration.
func document(s spec.Spec) *table.Shown {
	doc := table.ShowFields("", rootFields(&s))
	apps := table.ShowMap("apps")
	for i := range s.Apps {
		draft := &appDraft{App: &s.Apps[i]}
		apps.Add(s.Apps[i].Name, table.ShowFields("apps."+s.Apps[i].Name, draft.fields()))
	}
	doc.Add("apps", apps)
	return doc
}

// Show is the effective configuration as YAML that Load reads again: every
// default filled in, ${VAR} and env_file replaced by their values, secrets
// masked. withOrigin adds a comment that says where each value comes from.
func Show(l *Loaded, withOrigin bool) string {
	var origin func(string) string
	if withOrigin {
		origin = l.Origin
	}
	return render(l.Spec.Masked(), origin)
}

func render(s spec.Spec, origin func(string) string) string {
	out, err := document(s).YAML(origin)
	if err != nil {
		return "# " + err.Error() + "\n"
	}
	return out
}

// Origin says where the value at a path comes from; what lies inside a written
// value has its origin.
func (l *Loaded) Origin(path string) string {
	if o, ok := l.Origins[path]; ok {
		return o
	}
	return "default"
}
