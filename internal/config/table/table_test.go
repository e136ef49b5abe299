package table

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// thing has a variable of each type.
type thing struct {
	text, choice, signal string
	yes                  bool
	whole, auto          int
	decimal              float64
	duration             spec.Duration
	size                 spec.Bytes
	mode                 spec.FileMode
	optional             *int
	words, argv          []string
	commands             [][]string
	texts                map[string]string
	inner, short         string
}

func (x *thing) fields() []Field {
	number := func(p *int) Value { return Whole(p, -5, 5) }
	short := Choice(&x.short, []string{"on", "off"}, map[string]string{"yes": "on"})
	return []Field{
		Key("text", Text(&x.text, "a name"), "", "A text."),
		Key("choice", Choice(&x.choice, []string{"red", "green"}, nil), "red", "A `choice`."),
		Key("signal", Signal(&x.signal), "", "A signal."),
		Key("yes", Bool(&x.yes), "false", "A truth."),
		Key("whole", Whole(&x.whole, 0, math.MaxInt64), "0", "A number."),
		Key("auto", WholeOrAuto(&x.auto, 0, 9, func() int { return -1 }), "0", "A number."),
		Key("decimal", Decimal(&x.decimal), "0", "A number."),
		Key("duration", Duration(&x.duration), "0s", "A time."),
		Key("size", Size(&x.size), "0", "A size."),
		Key("mode", Mode(&x.mode), "0000", "A mode."),
		Key("optional", Optional(&x.optional, number), "", "A number."),
		Key("words", Words(&x.words), "", "Words."),
		Key("argv", Argv(&x.argv), "", "A command."),
		Key("commands", Commands(&x.commands), "", "Commands."),
		Key("texts", TextMap(&x.texts), "", "Texts."),
		Key("section", Section([]Field{Key("inner", Text(&x.inner, ""), "", "A text.")}), "", "A section."),
		Key("switch", ShortSection([]Field{Key("state", short, "", "A switch.")}, ShortFor("state", short)), "", "A switch."),
	}
}

func read(t *testing.T, text string) *tree.Node {
	t.Helper()
	n := tree.Parse([]byte(text), &tree.Variables{Environ: map[string]string{"V": "5"}}, func(at tree.Place, text, _ string) { t.Errorf("%v %s", at, text) })
	if n == nil {
		t.Fatal(text)
	}
	return n
}

// decode fills a thing and returns the problems as printed.
func decode(t *testing.T, x *thing, text string) (*Decoder, []string) {
	t.Helper()
	d := NewDecoder("f")
	d.Object("", read(t, text), x.fields())
	var said []string
	for _, p := range d.Problems {
		said = append(said, p.String())
	}
	return d, said
}

const all = `text: 010
choice: green
signal: term
yes: true
whole: ${V}
auto: auto
decimal: 0.5
duration: 90s
size: 1KiB
mode: 0640
optional: 0
words: one
argv: run 'a b'
commands: [a b, [c]]
texts: {a: 1, b: $$$}
section: {inner: x}
switch: on
`

func everything() thing {
	zero := 0
	return thing{
		text: "010", choice: "green", signal: "SIGTERM", yes: true, whole: 5, auto: -1, decimal: 0.5, duration: spec.Duration(90 * time.Second),
		size: 1024, mode: 0o640, optional: &zero, words: []string{"one"}, argv: []string{"run", "a b"}, commands: [][]string{{"a", "b"}, {"c"}},
		texts: map[string]string{"a": "1", "b": "$$"}, inner: "x", short: "on",
	}
}

// What is shown is read as the same values again.
func TestRoundTrip(t *testing.T) {
	var x thing
	if _, said := decode(t, &x, all); said != nil {
		t.Fatal(said)
	}
	same := cmp.AllowUnexported(thing{})
	if d := cmp.Diff(everything(), x, same); d != "" {
		t.Error(d)
	}
	text, err := ShowFields("", x.fields()).YAML(func(path string) string { return "at " + path })
	if err != nil || !strings.Contains(text, "duration: 1m30s # at duration\n") || !strings.Contains(text, "auto: auto #") {
		t.Fatal(text, err)
	}
	var again thing
	if _, said := decode(t, &again, text); said != nil {
		t.Fatalf("%v in\n%s", said, text)
	}
	if d := cmp.Diff(x, again, same); d != "" {
		t.Error(d)
	}
}

// What was not written is not shown, and says nothing of itself.
func TestShowNothing(t *testing.T) {
	var x thing
	var paths []string
	ShowFields("x", x.fields()).Leaves(func(path string) { paths = append(paths, strings.TrimPrefix(path, "x.")) })
	want := []string{"choice", "yes", "whole", "auto", "decimal", "duration", "size", "mode"}
	if !slices.Equal(paths, want) {
		t.Errorf("%q, want %q", paths, want)
	}
	if ShowFields("x", nil) != nil || ShowWords("x", nil) != nil {
		t.Error("something from nothing")
	}
	if _, ok := ShowMap("x").Scalar(); ok {
		t.Error("a map is no scalar")
	}
}

// A wrong value is told with its place and leaves the variable as it was.
func TestWrong(t *testing.T) {
	for text, want := range map[string]string{
		"text: [a]":       "f:1:7: text: this is a list; write a name",
		"text:":           "f:1:6: text: there is no value; write a name, or remove the key",
		"choice: gren":    `f:1:9: choice: "gren" is not possible; did you mean "green"?`,
		"choice: 1":       `f:1:9: choice: "1" is not possible; write red or green`,
		"signal: X":       `f:1:9: signal: "X" is no signal; write it like SIGTERM, TERM or 15`,
		"yes: on":         `f:1:6: yes: "on" is neither true nor false; write true or false`,
		"whole: -1":       "f:1:8: whole: -1 is out of range; write a number from 0",
		"auto: 10":        "f:1:7: auto: 10 is out of range; write auto or a number from 0 to 9",
		"decimal: .inf":   `f:1:10: decimal: ".inf" is no number; write a number such as 0.5 or 2`,
		"duration: 5":     `f:1:11: duration: "5" is no duration; write it like 500ms, 30s, 5m, 2h or 1d`,
		"optional: x":     `f:1:11: optional: "x" is no whole number; write a number from -5 to 5`,
		"words: {a: b}":   "f:1:8: words: this is a map; write [a, b]",
		"words: [[a]]":    "f:1:9: words[0]: this is a list; write a text",
		"commands: a":     `f:1:11: commands: this is a single value; write a list of commands: ["./notify ended"]`,
		"texts: [a]":      "f:1:8: texts: this is a list; write a map: {NAME: value}",
		"texts: {a: }":    `f:1:9: texts.a: there is no value; write "" for an empty one, or remove the key`,
		"section: a":      "f:1:10: section: this is a single value; write a map with inner",
		"section: {x: 1}": `f:1:11: unknown key "x" in section; the keys are inner`,
		"switch: yes":     `f:1:9: switch: "yes" is not possible; write "on"`,
		"switch: [on]":    "f:1:9: switch: this is a list; write on, off, or a map with state",
		"txet: a":         `f:1:1: unknown key "txet" at the top; did you mean "text"?`,
	} {
		var x thing
		_, said := decode(t, &x, text)
		if len(said) != 1 || said[0] != want {
			t.Errorf("%s: %q, want %q", text, said, want)
		}
		if d := cmp.Diff(thing{}, x, cmp.AllowUnexported(thing{})); d != "" && !strings.HasPrefix(text, "words") && !strings.HasPrefix(text, "optional") {
			t.Errorf("%s sets %s", text, d)
		}
	}
}

func TestDescribed(t *testing.T) {
	var x thing
	s := ObjectSchema(x.fields())
	if s["additionalProperties"] != false || len(s["properties"].(Schema)) != len(x.fields()) {
		t.Errorf("%v", s)
	}
	choice := s["properties"].(Schema)["choice"].(Schema)
	if choice["description"] != "A choice. Default: red." {
		t.Errorf("%v", choice)
	}
	for _, f := range x.fields() {
		if f.Value.Kind() == "" || len(f.Value.Schema()) == 0 {
			t.Errorf("%s is not described", f.Key)
		}
	}
}

func TestHint(t *testing.T) {
	d := NewDecoder("f")
	d.Hint = func(path string, p tree.Pair) (key, fix string) {
		if p.Key == "cwd" {
			return "text", "write text"
		}
		return "", ""
	}
	var x thing
	d.Object("", read(t, "cwd: 1\nfrob: 2"), x.fields()[:2])
	d.Add([]spec.Problem{{Path: "text", Text: "is missing"}, {Path: "texture", Text: "is missing"}})
	got := fmt.Sprint(d.Problems)
	want := `[f:1:1: unknown key "cwd" at the top; write text f:2:1: unknown key "frob" at the top; the keys are text, choice f: texture: is missing]`
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A problem that is found later stands at the nearest place that was written,
// with the path under which it was written there.
func TestAdd(t *testing.T) {
	d := NewDecoder("f")
	var x thing
	n := read(t, "base: {section: {inner: a}}\nx.y: {whole: z, switch: on}\n")
	d.Inherit("base", "x.y", n.Get("base"), x.fields())
	d.Object("x.y", n.Get("x.y"), x.fields())
	d.Add([]spec.Problem{
		{Path: "x.y.section.inner", Text: "inherited"},
		{Path: "x.y.switch.state", Text: "moved"},
		{Path: "x.y.whole", Text: "a consequence"},
		{Path: "other", Text: "nowhere"},
	})
	got := fmt.Sprint(d.Problems)
	want := `[f:2:14: x.y.whole: "z" is no whole number; write a number from 0 f:1:25: base.section.inner: inherited f:2:25: x.y.switch.state: moved f: other: nowhere]`
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if d.Origins["x.y.switch.state"] != "f:2:25" || d.Origins["x.y.section.inner"] != "f:1:25" || d.Origins["x.y.switch"] != "" {
		t.Error(d.Origins)
	}
}

func TestPaths(t *testing.T) {
	if Join("", "a") != "a" || Join("a", "b") != "a.b" || Parent("a.b[0]") != "a.b" || Parent("a.b") != "a" || Parent("a") != "" {
		t.Error("wrong")
	}
	if got := (Problem{Problem: spec.Problem{Path: "--x", Text: "y"}}).String(); got != "--x: y" {
		t.Error(got)
	}
}
