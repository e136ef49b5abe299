package pool

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/muster-run/muster/spec"
)

func TestChangeLine(t *testing.T) {
	for want, c := range map[string]spec.Change{
		"ports.http 8000 → 9000": {Field: "ports.http", Old: "8000", New: "9000"},
		"env.A none → 1":         {Field: "env.A", New: "1"},
		"env.A 1 → none":         {Field: "env.A", Old: "1"},
	} {
		if got := changeLine(c); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := changeLine(spec.Change{Field: "a", Old: strings.Repeat("é", changeMax), New: "x"}); len(got) > changeMax || len(got) < changeMax-4 || !utf8.ValidString(got) {
		t.Errorf("%d bytes", len(got))
	}
}

func TestChangeLinesAreBounded(t *testing.T) {
	changes := make([]spec.Change, changesMax+2)
	for i := range changes {
		changes[i] = spec.Change{Field: "f", Old: "a", New: "b"}
	}
	lines := changeLines(changes)
	if len(lines) != changesMax+1 || lines[0] != "f a → b" || lines[changesMax] != "and 2 more" {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if len(changeLines(changes[:changesMax])) != changesMax || changeLines(nil) != nil {
		t.Error("there is more than there is")
	}
}
