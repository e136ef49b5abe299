package control

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/spec"
)

// schema is a JSON schema (2020-12), as OpenAPI 3.1 has it.
type schema map[string]any

// schemas collects the named types that the API uses.
type schemas map[string]schema

// field is one key of an object on the wire.
type field struct {
	name     string
	typ      reflect.Type
	required bool
}

// of describes a type; structs are described once and referred to.
func (all schemas) of(t reflect.Type) schema {
	if s, ok := scalar(t); ok {
		return s
	}
	switch t.Kind() {
	case reflect.Pointer:
		return all.of(t.Elem())
	case reflect.Slice, reflect.Array:
		return schema{"type": "array", "items": all.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": all.of(t.Elem())}
	case reflect.Struct:
		return all.object(t)
	}
	return schema{}
}

// object describes a struct: in place where it has no name.
func (all schemas) object(t reflect.Type) schema {
	name := nameOf(t)
	if name != "" {
		if _, known := all[name]; known {
			return refTo(name)
		}
		all[name] = nil // breaks the circle of a type that holds itself
	}
	properties := map[string]any{}
	var required []string
	for _, f := range fieldsOf(t) {
		properties[f.name] = all.of(f.typ)
		if f.required {
			required = append(required, f.name)
		}
	}
	s := schema{"type": "object", "properties": properties}
	if required != nil {
		s["required"] = required
	}
	if name == "" {
		return s
	}
	all[name] = s
	return refTo(name)
}

func refTo(name string) schema { return schema{"$ref": "#/components/schemas/" + name} }

// nameOf is "Status" for a type of api, "EventReload" for one of another package.
func nameOf(t reflect.Type) string {
	if t.Name() == "" {
		return ""
	}
	pkg := t.PkgPath()[strings.LastIndexByte(t.PkgPath(), '/')+1:]
	if pkg == "api" {
		return t.Name()
	}
	return strings.ToUpper(pkg[:1]) + pkg[1:] + t.Name()
}

// fieldsOf lists the keys of a struct as encoding/json does; what is embedded
// without a key of its own is part of it.
func fieldsOf(t reflect.Type) []field {
	var list []field
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported():
			continue
		case f.Anonymous && name == "":
			list = append(list, fieldsOf(f.Type)...)
			continue
		case name == "":
			name = f.Name
		}
		optional := strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")
		list = append(list, field{name: name, typ: f.Type, required: !optional})
	}
	return list
}

// scalar describes what is one value on the wire.
func scalar(t reflect.Type) (schema, bool) {
	switch t {
	case reflect.TypeFor[time.Time]():
		return schema{"type": "string", "format": "date-time"}, true
	case reflect.TypeFor[time.Duration]():
		return schema{"type": "integer", "format": "int64", "description": "nanoseconds"}, true
	case reflect.TypeFor[spec.Duration]():
		return schema{"type": "string", "examples": []string{"1m30s"}}, true
	case reflect.TypeFor[spec.Bytes]():
		return schema{"type": "string", "examples": []string{"64KiB"}}, true
	case reflect.TypeFor[spec.FileMode]():
		return schema{"type": "string", "examples": []string{"0600"}}, true
	case reflect.TypeFor[event.Data]():
		return schema{"type": "object", "description": "what is told depends on type"}, true
	case reflect.TypeFor[json.RawMessage]():
		return schema{}, true
	}
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return schema{"type": "string"}, true
	}
	return basic(t)
}

// basic describes a type that the language has.
func basic(t reflect.Type) (schema, bool) {
	switch t.Kind() {
	case reflect.Bool:
		return schema{"type": "boolean"}, true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return schema{"type": "integer"}, true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}, true
	case reflect.Float32, reflect.Float64:
		return schema{"type": "number"}, true
	case reflect.String:
		s := schema{"type": "string"}
		if values := valuesOf(t); values != nil {
			s["enum"] = values
		}
		return s, true
	}
	return nil, false
}

// valuesOf lists the values of the string types that have a closed set of them;
// nil: not closed. Fault codes and event types grow with each version.
func valuesOf(t reflect.Type) []string {
	switch t {
	case reflect.TypeFor[event.State]():
		return texts(event.Starting, event.Ready, event.Draining, event.Stopping, event.Stopped, event.Backoff, event.Failed)
	case reflect.TypeFor[event.Health]():
		return texts(event.Healthy, event.Degraded, event.Reloading, event.Recovering, event.AppFailed, event.AppStopped)
	case reflect.TypeFor[spec.Kind]():
		return texts(spec.Service, spec.Task)
	case reflect.TypeFor[spec.Action]():
		return texts(spec.AddApp, spec.RemoveApp, spec.ReloadApp, spec.ScaleApp, spec.UpdateApp, spec.UpdateSpec)
	}
	return nil
}

func texts[T ~string](values ...T) []string {
	var list []string
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}
