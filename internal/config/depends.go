package config

import (
	"fmt"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// dependsValue is a list of names or a map of name to condition. A list
// replaces what there is, a map is merged into it.
type dependsValue struct{ p *[]spec.Dependency }

func conditions() []string { return []string{"started", "ready", "completed"} }

func (v dependsValue) Decode(d *table.Decoder, path string, n *tree.Node) {
	if n.Shape != tree.Object {
		*v.p = nil
		for _, name := range d.Texts(path, n) {
			// The condition depends on the other's type: see Load.
			*v.p = append(*v.p, spec.Dependency{App: name})
		}
		return
	}
	for _, p := range n.Pairs {
		var c spec.Condition
		at := fmt.Sprintf("%s[%d]", path, v.index(p.Key))
		d.Mark(at, p.Value)
		table.Choice(&c, conditions(), map[string]string{
			"healthy": "ready", "service_healthy": "ready", "service_started": "started",
			"service_completed_successfully": "completed", "process_healthy": "ready", "process_completed_successfully": "completed",
		}).Decode(d, at, p.Value)
		if i := v.index(p.Key); i < len(*v.p) {
			(*v.p)[i].Condition = c
		} else {
			*v.p = append(*v.p, spec.Dependency{App: p.Key, Condition: c})
		}
	}
}

// index is where a name stands, or would.
func (v dependsValue) index(name string) int {
	for i, dep := range *v.p {
		if dep.App == name {
			return i
		}
	}
	return len(*v.p)
}

func (v dependsValue) Show(path string) *table.Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := table.ShowMap(path)
	for i, dep := range *v.p {
		s.Add(dep.App, table.ShowText(fmt.Sprintf("%s[%d]", path, i), string(dep.Condition)))
	}
	return s
}

func (v dependsValue) Schema() table.Schema {
	return table.Schema{"anyOf": []table.Schema{
		table.Words(nil).Schema(),
		{"type": "object", "additionalProperties": table.OrVariable(table.Schema{"enum": conditions()})},
	}}
}
func (v dependsValue) Kind() string { return "list of names, map of name to condition" }

// fillConditions fills in what a name alone in depends_on means.
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
