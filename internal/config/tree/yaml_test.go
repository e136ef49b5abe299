package tree

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parse reads a text with one variable and returns the problems as printed.
func parse(text string) (*Node, []string) {
	var said []string
	n := Parse([]byte(text), &Variables{Environ: map[string]string{"A": "x"}}, func(at Place, text, fix string) {
		said = append(said, fmt.Sprintf("%d:%d %s; %s", at.Line, at.Column, text, fix))
	})
	return n, said
}

// plain is a node without its places.
func plain(n *Node) any {
	switch n.Shape {
	case List:
		all := []any{}
		for _, item := range n.Items {
			all = append(all, plain(item))
		}
		return all
	case Object:
		m := map[string]any{}
		for _, p := range n.Pairs {
			m[p.Key] = plain(p.Value)
		}
		return m
	}
	if n.Null {
		return nil
	}
	return n.Text
}

func TestParse(t *testing.T) {
	type list = []any
	type object = map[string]any
	for text, want := range map[string]any{
		"":                              object{},
		"a":                             "a",
		"~":                             nil,
		"[yes, 010, 1e3, ~, '~', \"\"]": list{"yes", "010", "1e3", nil, "~", ""},
		"a: {b: [c]}":                   object{"a": object{"b": list{"c"}}},
		"a: ${A}-$${A}-$A\nb: ${B:-c}":  object{"a": "x-${A}-$A", "b": "c"},
		"x-a: &a {k: 1}\nb: *a\nc: *a":  object{"b": object{"k": "1"}, "c": object{"k": "1"}},
		"a: {x-b: 1}":                   object{"a": object{"x-b": "1"}},
		"x-a: &a {k: 1, l: 2}\nb: {k: 3, <<: *a}":                 object{"b": object{"k": "3", "l": "2"}},
		"x-a: &a {k: 1}\nx-b: &b {k: 2, l: 2}\nc: {<<: [*a, *b]}": object{"c": object{"k": "1", "l": "2"}},
		"a: !!str 1":     object{"a": "1"},
		"---\na: 1\n...": object{"a": "1"},
	} {
		n, said := parse(text)
		if n == nil || len(said) > 0 {
			t.Errorf("%s: %q", text, said)
			continue
		}
		if d := cmp.Diff(want, plain(n)); d != "" {
			t.Errorf("%s: %s", text, d)
		}
	}
}

func TestPlaces(t *testing.T) {
	n, _ := parse("a: 1\nb:\n  - x\n  - ${A}\n")
	b := n.Get("b")
	if n.Pairs[1].At != (Place{2, 1}) || b.At != (Place{3, 3}) || b.Items[1].At != (Place{4, 5}) || b.Items[1].From != "${A} from environment" {
		t.Errorf("%+v %+v", b, b.Items[1])
	}
	var none *Node
	if none.Get("a") != nil || n.Get("c") != nil || b.Get("x") != nil || b.IsEmpty() {
		t.Error("something from nothing")
	}
	if n, _ := parse("a:\n"); !n.Get("a").IsEmpty() {
		t.Error("an empty section is not empty")
	}
}

func TestProblems(t *testing.T) {
	for text, want := range map[string]string{
		"a: 1\nb: 2\na: 3": `3:1 the key "a" stands twice; remove it here or in line 1`,
		"&k a: 1\n*k : 2":  `2:1 the key "a" stands twice; remove it here or in line 1`,
		"a: ${B}":          "1:4 the variable B is not set in the environment nor in .env; set it, or write ${B:-default}",
		"a: &a [*a]":       "1:8 the alias *a contains itself; ",
		"a: 1\n---\nb: 2":  "2:1 a second document begins here; keep one document in a file",
		"a: {<<: [1]}":     "1:10 << takes maps only; write <<: *NAME, where NAME is the anchor of a map",
		"[a]: 1":           "1:1 a key must be a word, not a list or a map; ",
		"a: !!float 1":     "1:4 the tag !!float is not known here; remove it",
		"a: \xff":          "1:4 the file is not UTF-8 text; save it as UTF-8",
		"a: [1\nb: 2":      "1:4 what [ begins here is not closed; close it, at the latest before line 2",
		"a: `x`":           "1:4 a value cannot begin with `; quote the value",
		strings.Repeat("[", 70) + strings.Repeat("]", 70): "1:66 nested more than 64 levels deep; ",
	} {
		if _, said := parse(text); len(said) != 1 || said[0] != want {
			t.Errorf("%s: %q, want %q", text, said, want)
		}
	}
}

// Whatever the bytes, reading ends, keys are unique, and no node is missing.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"", "a: &a {<<: *a}\n", "a: [${A}, ${B:-}]\nx-b: 1\n", "- {? [a] : !!x b}", "a: 1\n---\n", "a: '"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n, said := parse(string(data))
		if n == nil {
			if len(said) == 0 {
				t.Fatal("nothing, without a reason")
			}
			return
		}
		check(t, n, 0)
	})
}

func check(t *testing.T, n *Node, depth int) {
	t.Helper()
	if n == nil || depth > maxDepth+1 {
		t.Fatal("a node is missing, or too deep")
	}
	for _, item := range n.Items {
		check(t, item, depth+1)
	}
	seen := map[string]bool{}
	for _, p := range n.Pairs {
		if seen[p.Key] {
			t.Fatalf("the key %q stands twice", p.Key)
		}
		seen[p.Key] = true
		check(t, p.Value, depth+1)
	}
}
