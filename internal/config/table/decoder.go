package table

import (
	"errors"
	"fmt"
	"strings"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Decoder fills values from nodes and collects what is to be said about them.
type Decoder struct {
	// Problems in the order in which they were found.
	Problems []Problem
	// Places says where each path was written.
	Places map[string]Spot
	// Origins says where each written value comes from: its place, and the
	// variables that went into it.
	Origins map[string]string
	// Hint, when set, says what an unknown key at path is likely to mean: the
	// right key ("" when that is not known), and what to do.
	Hint func(path string, p tree.Pair) (key, fix string)

	file string
	// excused are paths of which nothing more is said.
	excused map[string]bool
	// inherited is set while the defaults are decoded again for each app.
	inherited *inheritance
}

// inheritance says that what is decoded at the path to is written at from.
type inheritance struct{ from, to string }

// NewDecoder returns a decoder of the file with this name in messages.
func NewDecoder(file string) *Decoder {
	return &Decoder{Places: map[string]Spot{}, Origins: map[string]string{}, file: file, excused: map[string]bool{}}
}

// Problem reports a mistake at a place of the file.
func (d *Decoder) Problem(path string, at tree.Place, fix, format string, args ...any) {
	d.ProblemIn(d.file, at, spec.Problem{Path: path, Text: fmt.Sprintf(format, args...), Fix: fix})
}

// ProblemIn reports a mistake in another file, or ("") in none.
func (d *Decoder) ProblemIn(file string, at tree.Place, p spec.Problem) {
	if d.inherited == nil {
		d.Problems = append(d.Problems, Problem{Problem: p, File: file, Line: at.Line, Column: at.Column})
	}
}

// Invalid reports an error of one of spec's readers; nil is none.
func (d *Decoder) Invalid(path string, at tree.Place, err error) {
	var bad *spec.Invalid
	if errors.As(err, &bad) {
		d.Problem(path, at, bad.Fix, "%s", bad.Text)
	} else if err != nil {
		d.Problem(path, at, "", "%s", err)
	}
}

// Excuse makes Add say nothing about a path, because the reason has been told.
func (d *Decoder) Excuse(path string) { d.excused[path] = true }

// Excused says whether the path was meant by a mistyped key, or excused.
func (d *Decoder) Excused(path string) bool { return d.excused[path] }

// Mark remembers where the value of a path was written.
func (d *Decoder) Mark(path string, n *tree.Node) {
	d.MarkAt(path, Spot{File: d.file, Place: n.At}, n.From)
}

// MarkAt is Mark for any file; from names the variables in the value.
func (d *Decoder) MarkAt(path string, at Spot, from string) {
	at.inherited = d.inherited
	d.Places[path] = at
	d.Origins[path] = at.String()
	if from != "" {
		d.Origins[path] += ", " + from
	}
}

// Place remembers where a path stands that has no value of its own, such as a
// map: only what it holds has an origin.
func (d *Decoder) Place(path string, at tree.Place) {
	d.Places[path] = Spot{File: d.file, Place: at, inherited: d.inherited}
}

// Move says that what was written at path set other paths in truth.
func (d *Decoder) Move(path string, to ...string) {
	origin, ok := d.Origins[path]
	delete(d.Origins, path)
	for _, p := range to {
		if ok {
			d.Origins[p] = origin
		}
		if at, ok := d.Places[path]; ok {
			d.Places[p] = at
		}
	}
}

// PlaceOf is where a path was written, or what it is in.
func (d *Decoder) PlaceOf(path string) Spot {
	for p := path; p != ""; p = Parent(p) {
		if at, ok := d.Places[p]; ok {
			return at
		}
	}
	return Spot{File: d.file}
}

// Add adds the problems of a later check, each at the place of its path. What
// has a problem already is left alone: it would be a consequence.
func (d *Decoder) Add(found []spec.Problem) {
	spots, paths := map[Spot]bool{}, map[string]bool{}
	for _, p := range d.Problems {
		if p.Line > 0 {
			spots[p.spot()] = true
		}
		if p.Path != "" {
			paths[p.Path] = true
		}
	}
	for _, p := range found {
		at := d.PlaceOf(p.Path)
		from := at.inherited
		at.inherited = nil
		if spots[at] || d.within(p.Path, paths) {
			continue
		}
		if from != nil {
			p.Path = from.from + strings.TrimPrefix(p.Path, from.to)
		}
		d.ProblemIn(at.File, at.Place, p)
	}
}

// within says whether a path, or what it is in, is excused or one of paths.
func (d *Decoder) within(path string, paths map[string]bool) bool {
	for ; path != ""; path = Parent(path) {
		if paths[path] || d.excused[path] {
			return true
		}
	}
	return false
}

// Inherit decodes a map that is written at the path from as if it stood at the
// path to. Its problems are not told: they have been, at from.
func (d *Decoder) Inherit(from, to string, n *tree.Node, fields []Field) {
	d.inherited = &inheritance{from, to}
	d.Object(to, n, fields)
	d.inherited = nil
}

// Text returns the text of a scalar, and reports anything else.
func (d *Decoder) Text(path string, n *tree.Node, want string) (string, bool) {
	switch {
	case n.Shape != tree.Scalar:
		d.Problem(path, n.At, "write "+want, "this is %s", n.Shape)
	case n.Null:
		d.Problem(path, n.At, "write "+want+", or remove the key", "there is no value")
	default:
		return n.Text, true
	}
	return "", false
}

// Texts returns the texts of a list or of a single scalar, never nil.
func (d *Decoder) Texts(path string, n *tree.Node) []string {
	items := n.Items
	if n.Shape == tree.Scalar && !n.Null {
		items = []*tree.Node{n}
	} else if n.Shape == tree.Object {
		d.Problem(path, n.At, "write [a, b]", "this is a map")
	}
	all := []string{}
	for i, item := range items {
		at := fmt.Sprintf("%s[%d]", path, i)
		d.Mark(at, item)
		if s, ok := d.Text(at, item, "a text"); ok {
			all = append(all, s)
		}
	}
	return all
}

// Pairs returns the entries of a map, none of an empty section, and reports
// anything else; want says what to write.
func (d *Decoder) Pairs(path string, n *tree.Node, want string) []tree.Pair {
	if n.Shape != tree.Object && !n.IsEmpty() {
		d.Problem(path, n.At, "write "+want, "this is %s", n.Shape)
	}
	return n.Pairs
}

// Object decodes a map into fields. An empty section counts as an empty map,
// and so does a nil node.
func (d *Decoder) Object(path string, n *tree.Node, fields []Field) {
	if n == nil {
		return
	}
	for _, p := range d.Pairs(path, n, "a map with "+firstNames(fields, 4)) {
		if !hasKey(fields, p.Key) {
			d.unknown(path, p, fields)
		}
	}
	for _, f := range fields {
		if v := n.Get(f.Key); v != nil {
			d.field(Join(path, f.Key), v, n, f)
		}
	}
}

func (d *Decoder) field(path string, v, parent *tree.Node, f Field) {
	d.Mark(path, v)
	if v.Shape == tree.Object {
		delete(d.Origins, path)
	}
	if v.Shape != tree.Scalar {
		// The place of a block is its key: that is where people look.
		for _, p := range parent.Pairs {
			if p.Key == f.Key {
				d.Place(path, p.At)
			}
		}
	}
	f.Value.Decode(d, path, v)
}

func (d *Decoder) unknown(path string, p tree.Pair, fields []Field) {
	where := "at the top"
	if path != "" {
		where = "in " + path
	}
	key, fix := d.meant(path, p, fields)
	if key != "" {
		d.Excuse(Join(path, key))
	}
	d.Problem("", p.At, fix, "unknown key %q %s", p.Key, where)
}

// meant is the key that an unknown one stands for, and what to do about it.
func (d *Decoder) meant(path string, p tree.Pair, fields []Field) (key, fix string) {
	if near := spec.Nearest(p.Key, names(fields)); near != "" {
		return near, fmt.Sprintf("did you mean %q?", near)
	}
	if d.Hint != nil {
		if key, fix = d.Hint(path, p); fix != "" {
			return key, fix
		}
	}
	return "", "the keys are " + firstNames(fields, len(fields))
}

func hasKey(fields []Field, key string) bool {
	for _, f := range fields {
		if f.Key == key {
			return true
		}
	}
	return false
}
