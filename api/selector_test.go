package api_test

import (
	"slices"
	"testing"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func TestSelectorMatches(t *testing.T) {
	for _, c := range []struct {
		selector, app string
		role          string
		tags          []string
		slots         []int
		ok            bool
	}{
		{selector: "web", app: "web", ok: true},
		{selector: "web", app: "web2"},
		{selector: "all", app: "web", ok: true},
		{selector: "web#2", app: "web", slots: []int{2}, ok: true},
		{selector: "web#2", app: "api"},
		{selector: "web#2,web#0, web#2", app: "web", slots: []int{0, 2}, ok: true},
		{selector: "web#2,web", app: "web", ok: true},
		{selector: "w*", app: "web", ok: true},
		{selector: "w*#1", app: "web", slots: []int{1}, ok: true},
		{selector: "tag:edge", app: "web", tags: []string{"x", "edge"}, ok: true},
		{selector: "tag:e*", app: "web", tags: []string{"edge"}, ok: true},
		{selector: "tag:edge", app: "edge"},
		{selector: "api,tag:edge", app: "api", ok: true},
		{selector: "role:worker", app: "jobs", role: "worker", ok: true},
		{selector: "role:w*", app: "jobs", role: "worker", ok: true},
		{selector: "role:worker", app: "worker", role: "web"},
		{selector: "worker", app: "jobs", role: "worker"},
		{selector: "role:worker", app: "jobs", role: "web", tags: []string{"worker"}},
		{selector: "role:web#1", app: "web", role: "web"},
		{selector: "web#1,role:web", app: "web", role: "web", ok: true},
	} {
		s, err := api.ParseSelector(c.selector)
		if err != nil {
			t.Fatalf("%s: %v", c.selector, err)
		}
		slots, ok := s.Match(api.Target{App: c.app, Role: c.role, Tags: c.tags})
		if ok != c.ok || !slices.Equal(slots, c.slots) || (slots == nil) != (c.slots == nil) {
			t.Errorf("%s on %s %v: got %v %v, want %v %v", c.selector, c.app, c.tags, slots, ok, c.slots, c.ok)
		}
	}
}

func TestSelectorRefused(t *testing.T) {
	for _, text := range []string{"", ",", "web,", "web#", "web#x", "web#-1", "#1", "tag:", "role:", "role:[", "[", "web#99999999"} {
		if _, err := api.ParseSelector(text); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: got %v, want %s", text, err, fault.Usage)
		}
	}
}

func FuzzParseSelector(f *testing.F) {
	for _, s := range []string{"web", "web#2", "tag:edge", "role:worker", "all", "w*,x#1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := api.ParseSelector(text)
		if err == nil {
			s.Match(api.Target{App: "web", Role: "web", Tags: []string{"edge"}})
		} else if fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v is no usage fault", text, err)
		}
	})
}
