package saved

import (
	"maps"
	"slices"
	"time"

	"github.com/muster-run/muster/spec"
)

// Project is what is known of one project's last run. It is a value; its maps
// and slices are not changed once they are in it.
type Project struct {
	// Version of muster that wrote it, and when.
	Version string    `json:"version,omitempty"`
	SavedAt time.Time `json:"saved_at"`
	// Dir is the directory of the configuration file, or the one in which
	// `muster run` was started.
	Dir string `json:"dir"`
	// Spec is what ran, with the present sizes. Its Environ is empty when there is
	// a File.
	Spec spec.Spec `json:"spec"`
	// Declared is the number of workers of each app in the configuration when it
	// was last applied.
	Declared map[string]int `json:"declared,omitempty"`
	// Stopped are the apps that an order has stopped, sorted.
	Stopped []string `json:"stopped,omitempty"`
	// Boot says that `muster save` has asked for a start at boot
	// (`muster up --saved`).
	Boot bool `json:"boot,omitempty"`
	// Ended says that the project was ended for good: by `muster down`, by Ctrl-C,
	// or because all workers had ended by themselves. A signal TERM, as at the end
	// of the machine or of its unit, is no such end.
	Ended bool `json:"ended,omitempty"`
}

// Resume is what to run now. file is what the configuration file says now; for a
// project without one it is p.Spec. An app that was scaled by hand keeps its size
// while the file still says the number it said then. The sizes are dropped where
// they do not go with the rest of the file any more. stopped are the apps that
// were stopped by hand and are still declared: they stay stopped.
func (p Project) Resume(file spec.Spec) (now spec.Spec, stopped []string) {
	ran := sizes(p.Spec)
	now = file
	now.Apps = slices.Clone(file.Apps)
	for i, app := range now.Apps {
		declared, known := p.Declared[app.Name]
		size, was := ran[app.Name]
		if known && was && app.Workers == declared {
			now.Apps[i].Workers = size
		}
		if slices.Contains(p.Stopped, app.Name) {
			stopped = append(stopped, app.Name)
		}
	}
	if len(now.Validate()) > len(file.Validate()) {
		now.Apps = file.Apps
	}
	return now, stopped
}

// AsDeclared is what ran with the sizes that were declared: what stands for the
// configuration file where that is missing or not valid.
func (p Project) AsDeclared() spec.Spec {
	s := p.Spec
	s.Apps = slices.Clone(s.Apps)
	for i, app := range s.Apps {
		if n, known := p.Declared[app.Name]; known {
			s.Apps[i].Workers = n
		}
	}
	return s
}

func sizes(s spec.Spec) map[string]int {
	m := map[string]int{}
	for _, app := range s.Apps {
		m[app.Name] = app.Workers
	}
	return m
}

// same says that nothing has changed that is worth a write.
func (p Project) same(q Project) bool {
	return p.Dir == q.Dir && p.Boot == q.Boot && p.Ended == q.Ended && p.Spec.File == q.Spec.File &&
		maps.Equal(p.Declared, q.Declared) && slices.Equal(p.Stopped, q.Stopped) &&
		len(spec.Diff(p.Spec, q.Spec)) == 0
}
