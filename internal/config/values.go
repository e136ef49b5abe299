package config

import (
	"encoding"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"

	"github.com/muster-run/muster/spec"
)

// text is any scalar, as written.
type text[T ~string] struct {
	p    *T
	want string // what to write, for messages
}

func (v text[T]) decode(d *decoder, path string, n *node) {
	if s, ok := d.text(path, n, orElse(v.want, "a text")); ok {
		*v.p = T(s)
	}
}

func (v text[T]) show(path string) *shown { return showText(path, string(*v.p)) }
func (v text[T]) schema() schema          { return schema{"type": []string{"string", "number"}} }
func (v text[T]) kind() string            { return "text" }

// choice is one of a few words; hints translate what other tools say.
type choice[T ~string] struct {
	p     *T
	words []string
	hints map[string]string
}

func (v choice[T]) decode(d *decoder, path string, n *node) {
	s, ok := d.text(path, n, oneOf(v.words))
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
	d.problem(path, n.at, fix, "%q is not possible", s)
}

func (v choice[T]) show(path string) *shown { return showText(path, string(*v.p)) }
func (v choice[T]) schema() schema          { return orVariable(schema{"enum": v.words}) }
func (v choice[T]) kind() string            { return strings.Join(v.words, ", ") }

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// boolean is true or false.
type boolean struct{ p *bool }

func (v boolean) decode(d *decoder, path string, n *node) {
	s, ok := d.text(path, n, "true or false")
	switch {
	case !ok:
	case s == "true" || s == "false":
		*v.p = s == "true"
	default:
		d.problem(path, n.at, "write true or false", "%q is neither true nor false", s)
	}
}

func (v boolean) show(path string) *shown { return &shown{path: path, text: strconv.FormatBool(*v.p)} }
func (v boolean) schema() schema          { return orVariable(schema{"type": "boolean"}) }
func (v boolean) kind() string            { return "true, false" }

// whole is a whole number in a range; auto, when not nil, is what the word
// "auto" stands for.
type whole[T ~int | ~int64 | ~uint64] struct {
	p      *T
	lo, hi int64
	auto   *int
}

func (v whole[T]) decode(d *decoder, path string, n *node) {
	s, ok := d.text(path, n, v.want())
	if !ok {
		return
	}
	if v.auto != nil && s == "auto" {
		*v.p = T(*v.auto)
		return
	}
	i, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		d.problem(path, n.at, "write "+v.want(), "%q is no whole number", s)
	case i < v.lo || i > v.hi:
		d.problem(path, n.at, "write "+v.want(), "%d is out of range", i)
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

func (v whole[T]) show(path string) *shown {
	if v.auto != nil && *v.auto < 0 && int64(*v.p) == int64(*v.auto) {
		return showText(path, "auto")
	}
	return &shown{path: path, text: fmt.Sprint(*v.p)}
}

func (v whole[T]) schema() schema {
	s := schema{"type": "integer", "minimum": v.lo}
	if v.hi != math.MaxInt64 {
		s["maximum"] = v.hi
	}
	if v.auto != nil {
		return orVariable(schema{"anyOf": []schema{{"const": "auto"}, s}})
	}
	return orVariable(s)
}

func (v whole[T]) kind() string {
	if v.auto != nil {
		return "auto, number"
	}
	return "number"
}

func cpus() *int { n := runtime.NumCPU(); return &n }

func surgeAuto() *int { n := spec.SurgeAuto; return &n }

// decimal is a finite number.
type decimal struct{ p *float64 }

func (v decimal) decode(d *decoder, path string, n *node) {
	s, ok := d.text(path, n, "a number such as 0.5")
	if !ok {
		return
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		d.problem(path, n.at, "write a number such as 0.5 or 2", "%q is no number", s)
		return
	}
	*v.p = f
}

func (v decimal) show(path string) *shown {
	return &shown{path: path, text: strconv.FormatFloat(*v.p, 'g', -1, 64)}
}
func (v decimal) schema() schema { return orVariable(schema{"type": "number"}) }
func (v decimal) kind() string   { return "number" }

// form is a type with a text form of its own; T is *spec.Duration and the like.
type form[T interface {
	encoding.TextUnmarshaler
	encoding.TextMarshaler
}] struct {
	p    T
	what string // duration, size, mode
}

func duration(p *spec.Duration) value { return form[*spec.Duration]{p, "duration"} }
func size(p *spec.Bytes) value        { return form[*spec.Bytes]{p, "size"} }
func mode(p *spec.FileMode) value     { return form[*spec.FileMode]{p, "mode"} }

func (v form[T]) examples() string {
	return map[string]string{
		"duration": "500ms, 30s, 5m or 2h", "size": "512MiB, 50MB or 1.5GiB", "mode": "0600 or 0660",
	}[v.what]
}

func (v form[T]) decode(d *decoder, path string, n *node) {
	if s, ok := d.text(path, n, v.what+" such as "+v.examples()); ok {
		d.invalid(path, n.at, v.p.UnmarshalText([]byte(s)))
	}
}

func (v form[T]) show(path string) *shown {
	s, _ := v.p.MarshalText() // none of the three can fail
	return &shown{path: path, text: string(s)}
}

func (v form[T]) schema() schema {
	pattern := map[string]string{
		"duration": `^([0-9.]+(ns|us|µs|ms|s|m|h|d))+$|^0$|\$\{`,
		"size":     `^[0-9.eE+]+ ?([kKMGT]i?B?|B)?$|\$\{`,
		"mode":     `^(0o)?[0-7]{1,5}$|\$\{`,
	}[v.what]
	s := schema{"type": []string{"string", "integer"}, "pattern": pattern}
	if v.what == "duration" {
		s = schema{"anyOf": []schema{{"const": 0}, {"type": "string", "pattern": pattern}}}
	}
	return s
}

func (v form[T]) kind() string { return v.what }

// optional is a value that may be absent: nil until it is written.
type optional[T any] struct {
	p    **T
	make func(*T) value
}

func (v optional[T]) decode(d *decoder, path string, n *node) {
	fresh := new(T)
	v.make(fresh).decode(d, path, n)
	*v.p = fresh
}

func (v optional[T]) show(path string) *shown {
	if *v.p == nil {
		return nil
	}
	return v.make(*v.p).show(path)
}
func (v optional[T]) schema() schema { return v.make(new(T)).schema() }
func (v optional[T]) kind() string   { return v.make(new(T)).kind() }

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// orVariable also lets "${VAR}" pass: its value is not known to an editor.
func orVariable(s schema) schema {
	return schema{"anyOf": []schema{s, {"type": "string", "pattern": `\$\{`}}}
}
