package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/muster-run/muster/spec"
)

// words is a list of texts; a single one may stand without a list.
type words struct{ p *[]string }

func (v words) decode(d *decoder, path string, n *node) {
	*v.p = d.texts(path, n)
}

// texts returns the texts of a list or of a single scalar.
func (d *decoder) texts(path string, n *node) []string {
	items := n.items
	if n.shape == scalar && !n.null {
		items = []*node{n}
	} else if n.shape == object {
		d.problem(path, n.at, "write [a, b]", "this is a map")
	}
	all := []string{}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.mark(at, item)
		if s, ok := d.text(at, item, "a text"); ok {
			all = append(all, s)
		}
	}
	return all
}

func (v words) show(path string) *shown { return showWords(path, *v.p) }
func (v words) schema() schema {
	one := schema{"type": []string{"string", "number"}}
	return schema{"anyOf": []schema{one, {"type": "array", "items": one}, {"type": "null"}}}
}
func (v words) kind() string { return "list of texts" }

// argv is a command: a list, or a string that is split as a shell would.
type argv struct{ p *[]string }

func (v argv) decode(d *decoder, path string, n *node) {
	if n.shape == list {
		*v.p = d.texts(path, n)
		return
	}
	s, ok := d.text(path, n, `a command such as "./check --fast" or [./check, --fast]`)
	if !ok {
		return
	}
	split, err := spec.SplitCommand(s)
	d.invalid(path, n.at, err)
	if err == nil {
		*v.p = append([]string{}, split...)
	}
}

func (v argv) show(path string) *shown { return showWords(path, *v.p) }
func (v argv) schema() schema {
	return schema{"anyOf": []schema{
		{"type": "string", "minLength": 1},
		{"type": "array", "minItems": 1, "items": schema{"type": []string{"string", "number", "boolean"}}},
	}}
}
func (v argv) kind() string { return "command" }

// commands is a list of commands.
type commands struct{ p *[][]string }

func (v commands) decode(d *decoder, path string, n *node) {
	if n.shape == scalar && n.null {
		return
	}
	if n.shape != list {
		d.problem(path, n.at, "write a list of commands: [\"./notify ended\"]", "this is %s", n.shape)
		return
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.mark(at, item)
		var one []string
		argv{&one}.decode(d, at, item)
		if one != nil {
			*v.p = append(*v.p, one)
		}
	}
}

func (v commands) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, items: []*shown{}}
	for i := range *v.p {
		s.items = append(s.items, argv{&(*v.p)[i]}.show(fmt.Sprintf("%s[%d]", path, i)))
	}
	return s
}

func (v commands) schema() schema {
	return schema{"type": []string{"array", "null"}, "items": argv{}.schema()}
}
func (v commands) kind() string { return "list of commands" }

// textMap is a map of texts; it is merged into what is there already.
type textMap struct{ p *map[string]string }

func (v textMap) decode(d *decoder, path string, n *node) {
	if n.shape == scalar && n.null {
		return
	}
	if n.shape != object {
		d.problem(path, n.at, "write a map: {NAME: value}", "this is %s", n.shape)
		return
	}
	if *v.p == nil {
		*v.p = map[string]string{}
	}
	for _, p := range n.pairs {
		at := join(path, p.key)
		if p.value.shape == scalar && p.value.null {
			d.problem(at, p.at, `write "" for an empty one, or remove the key`, "there is no value")
			continue
		}
		if s, ok := d.text(at, p.value, "a text, a number, true or false"); ok {
			(*v.p)[p.key] = s
			d.mark(at, p.value)
		}
	}
}

func (v textMap) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, pairs: []shownPair{}}
	for _, k := range slices.Sorted(maps.Keys(*v.p)) {
		s.add(k, showText(join(path, k), (*v.p)[k]))
	}
	return s
}

func (v textMap) schema() schema {
	return schema{
		"type":                 []string{"object", "null"},
		"additionalProperties": schema{"type": []string{"string", "number", "boolean"}},
	}
}
func (v textMap) kind() string { return "map of texts" }

// slotMap is an environment for each of some slots.
type slotMap struct{ p *map[int]map[string]string }

func (v slotMap) decode(d *decoder, path string, n *node) {
	if n.shape == scalar && n.null {
		return
	}
	if n.shape != object {
		d.problem(path, n.at, "write a map of slots: {0: {NAME: value}}", "this is %s", n.shape)
		return
	}
	if *v.p == nil {
		*v.p = map[int]map[string]string{}
	}
	for _, p := range n.pairs {
		slot, err := strconv.Atoi(p.key)
		if err != nil || slot < 0 || slot >= spec.MaxWorkers || p.key != strconv.Itoa(slot) {
			d.problem(path, p.at, fmt.Sprintf("slots are numbers from 0 to %d", spec.MaxWorkers-1), "there is no slot %q", p.key)
			continue
		}
		env := (*v.p)[slot]
		textMap{&env}.decode(d, join(path, p.key), p.value)
		if env != nil {
			(*v.p)[slot] = env
		}
	}
}

func (v slotMap) show(path string) *shown {
	if len(*v.p) == 0 {
		return nil
	}
	s := &shown{path: path, pairs: []shownPair{}}
	for _, slot := range slices.Sorted(maps.Keys(*v.p)) {
		env := (*v.p)[slot]
		key := strconv.Itoa(slot)
		s.add(key, textMap{&env}.show(join(path, key)))
	}
	return s
}

func (v slotMap) schema() schema {
	return schema{
		"type": []string{"object", "null"}, "additionalProperties": false,
		"patternProperties": schema{"^[0-9]{1,4}$": textMap{}.schema()},
	}
}
func (v slotMap) kind() string { return "map of slot to map of texts" }

// section is a map with keys of its own. short, when set, reads a scalar
// instead; shortSchema is what that may be.
type section struct {
	fields      func() []field
	short       func(d *decoder, path string, n *node)
	shortSchema schema
	shortKind   string
}

func (v section) decode(d *decoder, path string, n *node) {
	if v.short != nil && n.shape == scalar && !n.null {
		v.short(d, path, n)
		return
	}
	if v.short != nil && n.shape == list {
		d.problem(path, n.at, "write "+v.shortKind+", or a map with "+keys(v.fields(), 4), "this is a list")
		return
	}
	d.object(path, n, v.fields())
}

func (v section) show(path string) *shown {
	return showFields(path, v.fields())
}

func (v section) schema() schema {
	s := objectSchema(v.fields())
	s["type"] = []string{"object", "null"}
	if v.short == nil {
		return s
	}
	return schema{"anyOf": []schema{v.shortSchema, s}}
}

func (v section) kind() string {
	if v.short == nil {
		return "map"
	}
	return v.shortKind + ", map"
}

// envFile reads files into the environment.
type envFile struct{ env *map[string]string }

func (v envFile) decode(d *decoder, path string, n *node) {
	for i, name := range d.texts(path, n) {
		at := n.at
		if n.shape == list && i < len(n.items) {
			at = n.items[i].at
		}
		d.readEnv(path, at, name, v.env)
	}
}

func (v envFile) show(string) *shown { return nil } // what it held stands in env
func (v envFile) schema() schema     { return words{}.schema() }
func (v envFile) kind() string       { return "file, list of files" }
