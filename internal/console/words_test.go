package console

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/muster-run/muster/fault"
)

func TestWords(t *testing.T) {
	for line, want := range map[string][]string{
		"":                               nil,
		"  \t ":                          nil,
		"# all":                          nil,
		"status # all":                   {"status"},
		"status\t#all":                   {"status"},
		"restart web#1":                  {"restart", "web#1"},
		"message web '{\"a\": 1}'":       {"message", "web", `{"a": 1}`},
		`message web "# no \"comment\""`: {"message", "web", `# no "comment"`},
		`a\ b '' c`:                      {"a b", "", "c"},
		"logs web-* -f":                  {"logs", "web-*", "-f"},
		"exec web -- echo $HOME":         {"exec", "web", "--", "echo", "$HOME"},
		`echo \# x`:                      {"echo", "#", "x"},
	} {
		got, err := Words(line)
		if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || d != "" {
			t.Errorf("%q: %v %s", line, err, d)
		}
	}
	for _, line := range []string{"a | b", "a; b", "a && b", "a 'b", `a "b`, "a > b", "a <b", "a & ", "$(a)", "`a`"} {
		if got, err := Words(line); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %q %v", line, got, err)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, line := range []string{"a # b", `"a'b" '`, `\`, "a\\# b", "é#"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		words, err := Words(line)
		if err != nil && fault.CodeOf(err) != fault.Usage {
			t.Fatalf("%q: %v", line, err)
		}
		for _, w := range words {
			if len(w) > len(line) {
				t.Fatalf("%q: %q", line, words)
			}
		}
		if head, raw := partial(line); head != nil && !strings.HasSuffix(line, raw) {
			t.Fatalf("%q: %q %q", line, head, raw)
		}
	})
}

func TestPartial(t *testing.T) {
	for line, want := range map[string][]string{
		"":             {""},
		"st":           {"st"},
		"restart ":     {"restart", ""},
		"restart web#": {"restart", "web#"},
		"a 'b c":       nil, // inside of quotes nothing is completed
	} {
		if got, _ := partial(line); cmp.Diff(want, got) != "" {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}
