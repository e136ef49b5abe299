package pattern

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/muster-run/muster/fault"
)

func TestPatternMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, line string
		want          map[string]any
	}{
		{"", "", map[string]any{}},
		{"KEY", "a", map[string]any{"KEY": "a"}},
		{"KEY N:int", "a -12", map[string]any{"KEY": "a", "N": int64(-12)}},
		{"R:number", "1.5e3", map[string]any{"R": 1500.0}},
		{"F:on|off", "on", map[string]any{"F": true}},
		{"F:on|off", "off", map[string]any{"F": false}},
		{"LEVEL:debug|info|error", "info", map[string]any{"LEVEL": "info"}},
		{"TO TEXT...", "all good morning", map[string]any{"TO": "all", "TEXT": []string{"good", "morning"}}},
		{"KEY [N:int]", "a", map[string]any{"KEY": "a"}},
		{"KEY [N:int]", "a 7", map[string]any{"KEY": "a", "N": int64(7)}},
		{"[A] [TEXT...]", "", map[string]any{}},
		{"N:int", "9007199254740991", map[string]any{"N": int64(9007199254740991)}},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Errorf("%q: %v", c.pattern, err)
			continue
		}
		got, err := p.Match(strings.Fields(c.line))
		if d := cmp.Diff(c.want, got); err != nil || d != "" {
			t.Errorf("%q, %q: %v %s", c.pattern, c.line, err, d)
		}
		if p.String() != c.pattern {
			t.Errorf("%q is written %q", c.pattern, p)
		}
	}
}

// S1.10: anchored, and the refusal says what was expected.
func TestPatternRefuses(t *testing.T) {
	for _, c := range []struct{ pattern, line, text, fix string }{
		{"", "x", `"x" is one word too many`, ""},
		{"N:int", "12x", `N: "12x" is not a whole number`, ""},
		{"N:int", "x12", `not a whole number`, ""},
		{"N:int", "1.5", `not a whole number`, ""},
		{"N:int", "0x10", `not a whole number`, ""},
		{"N:int", "9007199254740992", `not a whole number`, ""},
		{"N:int", "", `N is missing, a whole number`, ""},
		{"N:int", "1 2", `"2" is one word too many`, ""},
		{"R:number", "12x", `not a number`, ""},
		{"R:number", "NaN", `not a number`, ""},
		{"R:number", "Inf", `not a number`, ""},
		{"R:number", "1e999", `not a number`, ""},
		{"F:on|off", "onn", `F: "onn" is not on or off`, `did you mean "on"?`},
		{"F:on|off", "ON", `not on or off`, `did you mean "on"?`},
		{"L:debug|info|error", "infos", `not debug, info or error`, `did you mean "info"?`},
		{"TEXT...", "", `TEXT is missing, one word or more`, ""},
		{"A [N:int]", "a b", `N: "b" is not a whole number`, ""},
	} {
		p, err := Parse(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		args, err := p.Match(strings.Fields(c.line))
		f := fault.From(err)
		if err == nil || f.Code != fault.Usage || !strings.Contains(f.Text, c.text) || f.Fix != c.fix || args != nil {
			t.Errorf("%q, %q: %v %v (fix %q)", c.pattern, c.line, args, err, f.Fix)
		}
	}
}

func TestBadPatterns(t *testing.T) {
	for _, text := range []string{
		"N:", "N:int8", ":int", "...", "[N", "N]", "[N] M", "N... M", "N N", "a|b", "N:a|", "N:|a", "N:a|b|", "é", "[]", "N:int:int", "N:on", "A...:int",
	} {
		if p, err := Parse(text); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q is taken for %+v (%v)", text, p, err)
		}
	}
}

// What Match takes has a value for each place that is not left out, and no others.
func TestPatternProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"", ":int", ":number", ":on|off", ":a|b"}), 0, 5).Draw(t, "kinds")
		var slots []string
		for i, k := range kinds {
			slots = append(slots, string(rune('A'+i))+k)
		}
		optional := rapid.IntRange(0, len(slots)).Draw(t, "optional")
		for i := len(slots) - optional; i < len(slots); i++ {
			slots[i] = "[" + slots[i] + "]"
		}
		p, err := Parse(strings.Join(slots, " "))
		if err != nil {
			t.Fatal(err)
		}
		words := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "on", "off", "1", "-7", "2.5", "12x", "ab"}), 0, 6).Draw(t, "words")
		args, err := p.Match(words)
		if err != nil {
			return
		}
		if len(words) < len(slots)-optional || len(words) > len(slots) || len(args) != len(words) {
			t.Fatalf("%q takes %q as %v", slots, words, args)
		}
		for i := range words {
			if _, ok := args[string(rune('A'+i))]; !ok {
				t.Fatalf("%q: no value for word %d of %q: %v", slots, i, words, args)
			}
		}
	})
}

// What has been JSON has its types again.
func TestTyped(t *testing.T) {
	p, err := Parse("N:int R:number F:on|off NAME TEXT...")
	if err != nil {
		t.Fatal(err)
	}
	args, err := p.Match(strings.Fields("3 4 on 5 all good"))
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	var again map[string]any
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(args, p.Typed(again)); diff != "" {
		t.Error(diff)
	}
	odd := map[string]any{"N": 1.5, "R": "x", "TEXT": []any{1}, "other": 2.0}
	if diff := cmp.Diff(odd, p.Typed(odd)); diff != "" {
		t.Error(diff)
	}
	if got := p.Names(); len(got) != 5 || got[4] != "TEXT" {
		t.Error(got)
	}
	if got := p.Typed(nil); len(got) != 0 {
		t.Error(got)
	}
}
