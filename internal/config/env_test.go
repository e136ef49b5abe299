package config

import (
	"strings"
	"testing"
)

// The app's env wins over its env_file, and both over the defaults.
func TestEnvOrder(t *testing.T) {
	l := good(t, `version: 1
defaults:
  env_file: [d.env]
  env: {A: denv, B: denv, C: denv}
apps:
  web:
    env: {A: env}
    command: x
    env_file: [a.env, b.env, "?none.env"]
`, "d.env", "A=dfile\nB=dfile\nC=dfile\nD=dfile\n", "a.env", "A=file\nB=file\nE=first\n", "b.env", "E=second\n")
	got := l.Spec.Apps[0].Env
	for name, want := range map[string]string{"A": "env", "B": "file", "C": "denv", "D": "dfile", "E": "second"} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
}

func TestEnvFileProblems(t *testing.T) {
	_, err := load(t, "version: 1\ndefaults: {env_file: nope.env}\napps: {a: {command: a, env_file: bad.env}, b: {command: b, env_file: bad.env}}\n",
		"bad.env", "A=1\nB\n", ".env", "X\n")
	got := strings.Join(lines(t, err), "\n")
	for _, want := range []string{
		".env:1:1: the line is not of the form NAME=value; write NAME=value, or # before a comment",
		"bad.env:2:1: the line is not of the form NAME=value",
		"muster.yaml:2:22: defaults.env_file: cannot read ", "nope.env: no such file or directory; create it, or write ?nope.env",
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("want once %s in\n%s", want, got)
		}
	}
	if n := len(lines(t, err)); n != 3 {
		t.Errorf("%d problems:\n%s", n, got)
	}
}
