package table

import (
	"fmt"
	"maps"
	"slices"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Words is a list of texts; a single one may stand without a list.
func Words(p *[]string) Value { return words{p} }

type words struct{ p *[]string }

func (v words) Decode(d *Decoder, path string, n *tree.Node) {
	*v.p = d.Texts(path, n)
}

func (v words) Show(path string) *Shown { return ShowWords(path, *v.p) }
func (v words) Schema() Schema {
	one := Schema{"type": []string{"string", "number"}}
	return Schema{"anyOf": []Schema{one, {"type": "array", "items": one}, {"type": "null"}}}
}
func (v words) Kind() string { return "list of texts" }

// Argv is a command: a list, or a string that is split as a shell would.
func Argv(p *[]string) Value { return argv{p} }

type argv struct{ p *[]string }

func (v argv) Decode(d *Decoder, path string, n *tree.Node) {
	if n.Shape == tree.List {
		*v.p = d.Texts(path, n)
		return
	}
	s, ok := d.Text(path, n, `a command such as "./check --fast" or [./check, --fast]`)
	if !ok {
		return
	}
	split, err := spec.SplitCommand(s)
	d.Invalid(path, n.At, err)
	if err == nil {
		*v.p = append([]string{}, split...)
	}
}

func (v argv) Show(path string) *Shown { return ShowWords(path, *v.p) }
func (v argv) Schema() Schema {
	return Schema{"anyOf": []Schema{
		{"type": "string", "minLength": 1},
		{"type": "array", "minItems": 1, "items": Schema{"type": []string{"string", "number", "boolean"}}},
	}}
}
func (v argv) Kind() string { return "command" }

// Commands is a list of commands.
func Commands(p *[][]string) Value { return commands{p} }

type commands struct{ p *[][]string }

func (v commands) Decode(d *Decoder, path string, n *tree.Node) {
	if *v.p = nil; n.IsEmpty() {
		return
	}
	if n.Shape != tree.List {
		d.Problem(path, n.At, "write a list of commands: [\"./notify ended\"]", "this is %s", n.Shape)
		return
	}
	for i, item := range n.Items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.Mark(at, item)
		var one []string
		argv{&one}.Decode(d, at, item)
		if one != nil {
			*v.p = append(*v.p, one)
		}
	}
}

func (v commands) Show(path string) *Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := ShowList(path)
	for i := range *v.p {
		s.Append(argv{&(*v.p)[i]}.Show(fmt.Sprintf("%s[%d]", path, i)))
	}
	return s
}

func (v commands) Schema() Schema {
	return Schema{"type": []string{"array", "null"}, "items": argv{}.Schema()}
}
func (v commands) Kind() string { return "list of commands" }

// TextMap is a map of texts; it is merged into what is there already.
func TextMap(p *map[string]string) Value { return textMap{p} }

type textMap struct{ p *map[string]string }

func (v textMap) Decode(d *Decoder, path string, n *tree.Node) {
	for _, p := range d.Pairs(path, n, "a map: {NAME: value}") {
		at := Join(path, p.Key)
		if p.Value.IsEmpty() {
			d.Problem(at, p.At, `write "" for an empty one, or remove the key`, "there is no value")
			continue
		}
		if s, ok := d.Text(at, p.Value, "a text, a number, true or false"); ok {
			if *v.p == nil {
				*v.p = map[string]string{}
			}
			(*v.p)[p.Key] = s
			d.Mark(at, p.Value)
		}
	}
}

func (v textMap) Show(path string) *Shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := ShowMap(path)
	for _, k := range slices.Sorted(maps.Keys(*v.p)) {
		s.Add(k, ShowText(Join(path, k), (*v.p)[k]))
	}
	return s
}

func (v textMap) Schema() Schema {
	return Schema{
		"type":                 []string{"object", "null"},
		"additionalProperties": Schema{"type": []string{"string", "number", "boolean"}},
	}
}
func (v textMap) Kind() string { return "map of texts" }
