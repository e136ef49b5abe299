package spec

import (
	"fmt"
	"slices"
	"strings"
)

func (s Spec) checkDependencies(c check) {
	kinds, names := map[string]Kind{}, []string{}
	for _, a := range s.Apps {
		kinds[a.Name] = a.Type
		names = append(names, a.Name)
	}
	for _, a := range s.Apps {
		seen := map[string]bool{}
		for i, d := range a.DependsOn {
			dc := c.in(fmt.Sprintf("apps.%s.depends_on[%d]", a.Name, i))
			kind, known := kinds[d.App]
			switch {
			case d.App == a.Name:
				dc.add("", "remove it", "an app cannot wait for itself")
			case !known:
				dc.add("", unknownAppFix(d.App, names), "there is no app %q", d.App)
			case seen[d.App]:
				dc.add("", "remove one", "%s stands twice", d.App)
			default:
				d.check(dc, kind)
			}
			seen[d.App] = true
		}
	}
	s.checkCycles(c)
}

func unknownAppFix(name string, names []string) string {
	if fix := didYouMean(name, names); fix != "" {
		return fix
	}
	return "the apps are " + strings.Join(names, ", ")
}

func (d Dependency) check(c check, kind Kind) {
	c.oneOf("", string(d.Condition), string(Started), string(IsReady), string(Completed))
	switch {
	case d.Condition == Completed && kind != Task:
		c.add("", "write ready, or make it a task (type: task)", "%s is no task: it never completes", d.App)
	case d.Condition == IsReady && kind == Task:
		c.add("", "write completed", "%s is a task: it may end without ever being ready", d.App)
	}
}

// checkCycles reports each cycle of depends_on once, at the app of it that
// comes first.
func (s Spec) checkCycles(c check) {
	next := map[string][]string{}
	for _, a := range s.Apps {
		for _, d := range a.DependsOn {
			if d.App != a.Name {
				next[a.Name] = append(next[a.Name], d.App)
			}
		}
	}
	done := map[string]bool{}
	for _, a := range s.Apps {
		if done[a.Name] {
			continue
		}
		if cycle := findCycle(next, done, a.Name); cycle != nil {
			c.add("apps."+cycle[0]+".depends_on", "remove one of these dependencies",
				"the apps wait for each other: %s", strings.Join(cycle, " → "))
		}
	}
}

// findCycle walks depth first without recursion: a chain may be long. What was
// walked is marked done. The cycle begins and ends with its first name.
func findCycle(next map[string][]string, done map[string]bool, start string) []string {
	path, at := []string{start}, map[string]int{start: 0}
	var found []string
	for len(path) > 0 {
		here := path[len(path)-1]
		i := at[here]
		if i == len(next[here]) {
			done[here] = true
			path = path[:len(path)-1]
			continue
		}
		at[here]++
		to := next[here][i]
		if from := slices.Index(path, to); from >= 0 && found == nil {
			found = slices.Clone(path[from:])
		} else if from < 0 && !done[to] {
			path = append(path, to)
			at[to] = 0
		}
	}
	if found == nil {
		return nil
	}
	first := slices.Index(found, slices.Min(found))
	cycle := append(slices.Clone(found[first:]), found[:first]...)
	return append(cycle, cycle[0])
}
