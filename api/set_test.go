package api_test

import (
	"slices"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/spec"
)

func settable() spec.App {
	a := spec.DefaultApp("web")
	a.Ports = []spec.Port{{Name: "admin", Number: 9000}}
	a.Listen = []spec.Listener{
		{Name: "http", Network: "tcp", Address: "127.0.0.1:8000"},
		{Name: "v6", Network: "tcp6", Address: "[::1]:8001"},
		{Name: "any", Network: "udp", Address: ":53"},
		{Name: "sock", Network: "unix", Address: "/run/x:1"},
		{Name: "fd", Network: "fd", Address: "3"},
	}
	h := spec.DefaultHealth()
	a.Health = &h
	return a
}

func TestPortSettings(t *testing.T) {
	for name, want := range map[string]string{
		"admin": "ports.admin 9000 → 7000", "http": "listen.http 127.0.0.1:8000 → 127.0.0.1:7000",
		"v6": "listen.v6 [::1]:8001 → [::1]:7000", "any": "listen.any :53 → :7000",
		"sock": "", "fd": "", "none": "", "": "",
	} {
		set, ok := api.PortSetting(settable(), name, 7000)
		if ok != (want != "") || ok && set.String() != want {
			t.Errorf("%q: %v, %v", name, set, ok)
		}
		if ok && set.In(settable()) != set.Was {
			t.Errorf("%v is %q in the app", set, set.In(settable()))
		}
	}
	if got := api.PortNames(settable()); !slices.Equal(got, []string{"admin", "http", "v6", "any"}) {
		t.Error(got)
	}
}

// A setting is kept in what it was made for, and leaves the original alone.
func TestKeep(t *testing.T) {
	probe, ok := api.ProbeSetting(settable(), spec.Duration(time.Minute))
	if !ok || probe.String() != "health.interval 10s → 1m" {
		t.Errorf("%v, %v", probe, ok)
	}
	admin, _ := api.PortSetting(settable(), "admin", 7000)
	http, _ := api.PortSetting(settable(), "http", 7000)
	for _, set := range []api.Setting{probe, admin, http} {
		was := settable()
		now := was
		set.Keep(&now)
		if set.In(now) != set.Now || set.In(was) != set.Was {
			t.Errorf("%v: %q before, %q after", set, set.In(was), set.In(now))
		}
		again := now
		if set.Keep(&again); set.In(again) != set.Now {
			t.Errorf("%v: kept twice it is %q", set, set.In(again))
		}
	}
	other := settable()
	other.Ports[0].Number, other.Health = 9001, nil
	for _, set := range []api.Setting{probe, admin, {Field: "ports.none", Was: "1", Now: "2"}, {Field: "command", Was: "", Now: "x"}} {
		app := other
		if set.Keep(&app); len(spec.DiffApp(other, app)) > 0 {
			t.Errorf("%v changed an app that says otherwise: %v", set, spec.DiffApp(other, app))
		}
	}
	if _, ok := api.ProbeSetting(other, 1); ok {
		t.Error("there is no health check")
	}
}
