package pick

import (
	"slices"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

func TestUnwell(t *testing.T) {
	app := func(h event.Health) []api.App { return []api.App{{Type: spec.Service, Status: h}} }
	for _, c := range []struct {
		health event.Health
		named  bool
		want   bool
	}{
		{event.Healthy, true, false},
		{event.Reloading, false, false},
		{event.Degraded, false, true},
		{event.Recovering, false, true},
		{event.AppFailed, false, true},
		{event.AppStopped, false, false},
		{event.AppStopped, true, true},
	} {
		if got := Unwell(app(c.health), c.named); got != c.want {
			t.Errorf("%s, named %v: %v, want %v", c.health, c.named, got, c.want)
		}
	}
}

func apps() []api.App {
	jobs := spec.DefaultApp("jobs")
	jobs.Role, jobs.Workers = spec.RoleWorker, 1
	web := spec.DefaultApp("web")
	web.Tags, web.Workers = []string{"edge"}, 2
	return Declared(spec.Spec{Apps: []spec.App{jobs, web}})
}

func TestChoose(t *testing.T) {
	for text, want := range map[string][]int{ // workers of each app
		"web": {2}, "web#1": {1}, "all": {1, 2}, "role:worker": {1}, "tag:edge": {2}, "role:web,jobs": {1, 2}, "web#7": nil, "wbe": nil, "role:x": nil,
	} {
		chosen, err := Choose(apps(), text)
		var got []int
		for _, a := range chosen {
			got = append(got, len(a.Workers))
		}
		if !slices.Equal(got, want) || (err != nil) != (want == nil) || err != nil && fault.CodeOf(err) != fault.NoApp {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := Choose(apps(), "wbe"); fault.From(err).Fix != "did you mean web?" {
		t.Error(err)
	}
	if _, err := Choose(apps(), "web#x"); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

func TestCandidates(t *testing.T) {
	for word, want := range map[string][]string{
		"":      {"all", "jobs", "role:web", "role:worker", "tag:edge", "web"},
		"role:": {"role:web", "role:worker"},
		"w":     {"web"},
		"web#":  {"web#0", "web#1"},
		"x":     {},
	} {
		if got := Candidates(apps(), word); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", word, got, want)
		}
	}
	if got := Candidates(nil, ""); len(got) != 0 {
		t.Error(got)
	}
}
