package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/muster-run/muster/spec/secret"
)

func maskMap(env map[string]string) map[string]string {
	out := maps.Clone(env)
	for name, value := range out {
		out[name] = secret.Env(name, value)
	}
	return out
}

// Masked returns a copy whose secrets are masked; s stays as it is.
func (s Spec) Masked() Spec {
	s.Environ = slices.Clone(s.Environ)
	for i, kv := range s.Environ {
		if name, value, ok := strings.Cut(kv, "="); ok {
			s.Environ[i] = name + "=" + secret.Env(name, value)
		}
	}
	s.OnExit = slices.Clone(s.OnExit)
	for i, argv := range s.OnExit {
		s.OnExit[i] = secret.Args(argv)
	}
	s.Notify = slices.Clone(s.Notify)
	for i, n := range s.Notify {
		s.Notify[i] = n.masked()
	}
	s.Apps = slices.Clone(s.Apps)
	for i, a := range s.Apps {
		s.Apps[i] = a.masked()
	}
	return s
}

func (a App) masked() App {
	a.Command, a.Build, a.Stop.Command = secret.Args(a.Command), secret.Args(a.Build), secret.Args(a.Stop.Command)
	a.Env, a.Labels = maskMap(a.Env), maskMap(a.Labels)
	a.SlotEnv = maps.Clone(a.SlotEnv)
	for slot, env := range a.SlotEnv {
		a.SlotEnv[slot] = maskMap(env)
	}
	if a.Health != nil {
		h := *a.Health
		h.URL, h.Command = secret.Text(h.URL), secret.Args(h.Command)
		a.Health = &h
	}
	return a
}
