// Package pick is about selectors: which apps and workers of a status one names, what
// could be meant by one that names nothing, and what can be completed to one.
package pick

import (
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/spec"
)

// Choose keeps what a selector names: apps, with only the chosen workers.
func Choose(apps []api.App, text string) ([]api.App, error) {
	selector, err := api.ParseSelector(text)
	if err != nil {
		return nil, err
	}
	var chosen []api.App
	found := false
	for _, a := range apps {
		slots, ok := selector.Match(a.Target())
		if !ok {
			continue
		}
		if slots != nil {
			a.Workers = inSlots(a.Workers, slots)
		}
		found = found || slots == nil || len(a.Workers) > 0
		chosen = append(chosen, a)
	}
	if !found {
		return nil, noSuch(apps, text)
	}
	return chosen, nil
}

func inSlots(workers []api.Worker, slots []int) []api.Worker {
	var kept []api.Worker
	for _, w := range workers {
		for _, slot := range slots {
			if w.Slot == slot {
				kept = append(kept, w)
			}
		}
	}
	return kept
}

// noSuch is the fault of a selector that matches nothing.
func noSuch(apps []api.App, text string) error {
	var names []string
	for _, a := range apps {
		names = append(names, a.Name)
	}
	f := fault.New(fault.NoApp, "nothing is called %q", text)
	if near := spec.Nearest(text, names); near != "" {
		return f.WithFix("did you mean " + near + "?")
	}
	return f
}

// Unwell says that something that should run is not well. named: the apps were asked
// for by name, so that a stopped one counts, too.
func Unwell(apps []api.App, named bool) bool {
	for _, a := range apps {
		switch a.Status {
		case event.Degraded, event.Recovering, event.AppFailed:
			return true
		case event.AppStopped:
			if named && a.Type == spec.Service {
				return true
			}
		case event.Healthy, event.Reloading:
		}
	}
	return false
}

// Candidates are what can stand for a selector that begins with word.
func Candidates(apps []api.App, word string) []string {
	list := []string{}
	for _, a := range apps {
		list = append(list, a.Name)
		for _, tag := range a.Tags {
			list = append(list, "tag:"+tag)
		}
		if a.Role != "" {
			list = append(list, "role:"+a.Role)
		}
		if strings.Contains(word, "#") {
			for _, w := range a.Workers {
				list = append(list, show.WorkerName(w.App, w.Slot))
			}
		}
	}
	if len(apps) > 0 {
		list = append(list, "all")
	}
	slices.Sort(list)
	return slices.DeleteFunc(slices.Compact(list), func(name string) bool { return !strings.HasPrefix(name, word) })
}

// Declared are the apps of a configuration, as a status would list them.
func Declared(s spec.Spec) []api.App {
	var apps []api.App
	for _, a := range s.Apps {
		app := api.App{Name: a.Name, Role: a.Role, Tags: a.Tags}
		for slot := range a.Workers {
			app.Workers = append(app.Workers, api.Worker{App: a.Name, Slot: slot})
		}
		apps = append(apps, app)
	}
	return apps
}
