package table

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Text is any scalar, as written; want says in messages what to write, "" for
// "a text".
func Text[T ~string](p *T, want string) Value { return text[T]{p, want} }

type text[T ~string] struct {
	p    *T
	want string
}

func (v text[T]) Decode(d *Decoder, path string, n *tree.Node) {
	if s, ok := d.Text(path, n, cmp.Or(v.want, "a text")); ok {
		*v.p = T(s)
	}
}

func (v text[T]) Show(path string) *Shown { return ShowText(path, string(*v.p)) }
func (v text[T]) Schema() Schema          { return Schema{"type": []string{"string", "number"}} }
func (v text[T]) Kind() string            { return "text" }

// Choice is one of a few words; hints, which may be nil, translate what other
// tools say.
func Choice[T ~string](p *T, words []string, hints map[string]string) Value {
	return choice[T]{p, words, hints}
}

type choice[T ~string] struct {
	p     *T
	words []string
	hints map[string]string
}

func (v choice[T]) Decode(d *Decoder, path string, n *tree.Node) {
	s, ok := d.Text(path, n, oneOf(v.words))
	if !ok {
		return
	}
	for _, w := range v.words {
		if w == s {
			*v.p = T(s)
			return
		}
	}
	fix := "write " + oneOf(v.words)
	if hint := v.hints[s]; hint != "" {
		fix = fmt.Sprintf("write %q", hint)
	} else if near := spec.Nearest(s, v.words); near != "" {
		fix = fmt.Sprintf("did you mean %q?", near)
	}
	d.Problem(path, n.At, fix, "%q is not possible", s)
}

func (v choice[T]) Show(path string) *Shown { return ShowText(path, string(*v.p)) }
func (v choice[T]) Schema() Schema          { return OrVariable(Schema{"enum": v.words}) }
func (v choice[T]) Kind() string            { return strings.Join(v.words, ", ") }

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// Bool is true or false.
func Bool(p *bool) Value { return boolean{p} }

type boolean struct{ p *bool }

func (v boolean) Decode(d *Decoder, path string, n *tree.Node) {
	s, ok := d.Text(path, n, "true or false")
	switch {
	case !ok:
	case s == "true" || s == "false":
		*v.p = s == "true"
	default:
		d.Problem(path, n.At, "write true or false", "%q is neither true nor false", s)
	}
}

func (v boolean) Show(path string) *Shown { return ShowPlain(path, strconv.FormatBool(*v.p)) }
func (v boolean) Schema() Schema          { return OrVariable(Schema{"type": "boolean"}) }
func (v boolean) Kind() string            { return "true, false" }

// Whole is a whole number from lo to hi; math.MaxInt64 is no upper bound.
func Whole[T ~int | ~int64 | ~uint64](p *T, lo, hi int64) Value { return whole[T]{p, lo, hi, nil} }

// WholeOrAuto is a whole number or the word "auto", which stands for what auto
// returns. A negative one is shown as the word, others as the number they were
// when the file was read.
func WholeOrAuto[T ~int | ~int64 | ~uint64](p *T, lo, hi int64, auto func() int) Value {
	return whole[T]{p, lo, hi, auto}
}

type whole[T ~int | ~int64 | ~uint64] struct {
	p      *T
	lo, hi int64
	auto   func() int // nil where auto is not possible
}

func (v whole[T]) Decode(d *Decoder, path string, n *tree.Node) {
	s, ok := d.Text(path, n, v.want())
	if !ok {
		return
	}
	if v.auto != nil && s == "auto" {
		*v.p = T(v.auto())
		return
	}
	i, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		d.Problem(path, n.At, "write "+v.want(), "%q is no whole number", s)
	case i < v.lo || i > v.hi:
		d.Problem(path, n.At, "write "+v.want(), "%d is out of range", i)
	default:
		*v.p = T(i)
	}
}

func (v whole[T]) want() string {
	s := fmt.Sprintf("a number from %d to %d", v.lo, v.hi)
	if v.hi == math.MaxInt64 {
		s = fmt.Sprintf("a number from %d", v.lo)
	}
	if v.auto != nil {
		s = "auto or " + s
	}
	return s
}

func (v whole[T]) Show(path string) *Shown {
	if v.auto != nil && int64(*v.p) < 0 && int(*v.p) == v.auto() {
		return ShowText(path, "auto")
	}
	return ShowPlain(path, fmt.Sprint(*v.p))
}

func (v whole[T]) Schema() Schema {
	s := Schema{"type": "integer", "minimum": v.lo}
	if v.hi != math.MaxInt64 {
		s["maximum"] = v.hi
	}
	if v.auto != nil {
		return OrVariable(Schema{"anyOf": []Schema{{"const": "auto"}, s}})
	}
	return OrVariable(s)
}

func (v whole[T]) Kind() string {
	if v.auto != nil {
		return "auto, number"
	}
	return "number"
}

// Decimal is a finite number.
func Decimal(p *float64) Value { return decimal{p} }

type decimal struct{ p *float64 }

func (v decimal) Decode(d *Decoder, path string, n *tree.Node) {
	s, ok := d.Text(path, n, "a number such as 0.5")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.Problem(path, n.At, "write a number such as 0.5 or 2", "%q is no number", s)
		return
	}
	*v.p = f
}

func (v decimal) Show(path string) *Shown {
	return ShowPlain(path, strconv.FormatFloat(*v.p, 'g', -1, 64))
}
func (v decimal) Schema() Schema { return OrVariable(Schema{"type": "number"}) }
func (v decimal) Kind() string   { return "number" }
