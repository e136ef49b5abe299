package table

import "github.com/muster-run/muster/internal/config/tree"

// Short is how a scalar stands in place of a map.
type Short struct {
	// Decode reads it.
	Decode func(d *Decoder, path string, n *tree.Node)
	// Schema and Kind describe it as those of a Value.
	Schema Schema
	Kind   string
}

// ShortFor reads a scalar as the value of one key of the map.
func ShortFor(key string, v Value) Short {
	return Short{
		Decode: func(d *Decoder, path string, n *tree.Node) {
			v.Decode(d, path, n)
			d.Move(path, Join(path, key))
		},
		Schema: v.Schema(), Kind: v.Kind(),
	}
}

// Section is a map with keys of its own.
func Section(fields []Field) Value { return section{fields: fields} }

// ShortSection is a section that may be written as a scalar.
func ShortSection(fields []Field, short Short) Value { return section{fields, short} }

type section struct {
	fields []Field
	short  Short // its Decode is nil where there is none
}

func (v section) Decode(d *Decoder, path string, n *tree.Node) {
	switch {
	case v.short.Decode != nil && n.Shape == tree.Scalar && !n.Null:
		v.short.Decode(d, path, n)
	case v.short.Decode != nil && n.Shape == tree.List:
		d.Problem(path, n.At, "write "+v.short.Kind+", or a map with "+firstNames(v.fields, 4), "this is %s", n.Shape)
	default:
		d.Object(path, n, v.fields)
	}
}

func (v section) Show(path string) *Shown { return ShowFields(path, v.fields) }

func (v section) Schema() Schema {
	s := ObjectSchema(v.fields)
	s["type"] = []string{"object", "null"}
	if v.short.Decode == nil {
		return s
	}
	return Schema{"anyOf": []Schema{v.short.Schema, s}}
}

func (v section) Kind() string {
	if v.short.Decode == nil {
		return "map"
	}
	return v.short.Kind + ", map"
}

// Optional is a value that may be absent: nil until it is written. of makes the
// Value for a variable, such as Size.
func Optional[T any](p **T, of func(*T) Value) Value { return optional[T]{p, of} }

type optional[T any] struct {
	p  **T
	of func(*T) Value
}

func (v optional[T]) Decode(d *Decoder, path string, n *tree.Node) {
	fresh := new(T)
	v.of(fresh).Decode(d, path, n)
	*v.p = fresh
}

func (v optional[T]) Show(path string) *Shown {
	if *v.p == nil {
		return nil
	}
	return v.of(*v.p).Show(path)
}
func (v optional[T]) Schema() Schema { return v.of(new(T)).Schema() }
func (v optional[T]) Kind() string   { return v.of(new(T)).Kind() }
