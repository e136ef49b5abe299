package table

import (
	"encoding"

	"github.com/muster-run/muster/internal/config/tree"
	"github.com/muster-run/muster/spec"
)

// Duration is a time such as 30s.
func Duration(p *spec.Duration) Value { return form[*spec.Duration]{p, "duration"} }

// Size is a number of bytes such as 512MiB.
func Size(p *spec.Bytes) Value { return form[*spec.Bytes]{p, "size"} }

// Mode is a file mode such as 0600.
func Mode(p *spec.FileMode) Value { return form[*spec.FileMode]{p, "mode"} }

// form is a type with a text form of its own.
type form[T interface {
	encoding.TextUnmarshaler
	encoding.TextMarshaler
}] struct {
	p    T
	what string // duration, size, mode
}

func (v form[T]) examples() string {
	return map[string]string{
		"duration": "500ms, 30s, 5m or 2h", "size": "512MiB, 50MB or 1.5GiB", "mode": "0600 or 0660",
	}[v.what]
}

func (v form[T]) Decode(d *Decoder, path string, n *tree.Node) {
	if s, ok := d.Text(path, n, v.what+" such as "+v.examples()); ok {
		d.Invalid(path, n.At, v.p.UnmarshalText([]byte(s)))
	}
}

func (v form[T]) Show(path string) *Shown {
	s, _ := v.p.MarshalText() // none of the three can fail
	return ShowPlain(path, string(s))
}

func (v form[T]) Schema() Schema {
	pattern := map[string]string{
		"duration": `^([0-9.]+(ns|us|µs|ms|s|m|h|d))+$|^0$|\$\{`,
		"size":     `^[0-9.eE+]+ ?([kKMGT]i?B?|B)?$|\$\{`,
		"mode":     `^(0o)?[0-7]{1,5}$|\$\{`,
	}[v.what]
	s := Schema{"type": []string{"string", "integer"}, "pattern": pattern}
	if v.what == "duration" {
		s = Schema{"anyOf": []Schema{{"const": 0}, {"type": "string", "pattern": pattern}}}
	}
	return s
}

func (v form[T]) Kind() string { return v.what }

// Signal is a signal by any of its names; its variable gets the full one.
func Signal(p *string) Value { return signal{p} }

type signal struct{ p *string }

func (v signal) Decode(d *Decoder, path string, n *tree.Node) {
	s, ok := d.Text(path, n, "a signal such as SIGTERM")
	if !ok || s == "" {
		return
	}
	name, err := spec.ParseSignal(s)
	d.Invalid(path, n.At, err)
	if err == nil {
		*v.p = name
	}
}

func (v signal) Show(path string) *Shown { return ShowText(path, *v.p) }
func (v signal) Schema() Schema          { return Schema{"type": []string{"string", "integer"}} }
func (v signal) Kind() string            { return "signal" }
