package table

import (
	"strings"

	"github.com/muster-run/muster/internal/config/tree"
)

// Value is the type of a field, bound to the variable it fills. It is the one
// source of how the field is read, shown, checked by editors and documented.
type Value interface {
	// Decode fills the variable; it is called only when the key was written.
	Decode(d *Decoder, path string, n *tree.Node)
	// Show is the variable as it would be written, nil when it says nothing.
	Show(path string) *Shown
	// Schema is the JSON schema of what Decode takes.
	Schema() Schema
	// Kind names the type in the reference.
	Kind() string
}

// Field is one key of a map.
type Field struct {
	Key   string
	Value Value
	// Default as it would be written, "" when there is none.
	Default string
	// Doc is one or more sentences in Markdown.
	Doc string
}

// Key is a row of a table.
func Key(key string, value Value, def, doc string) Field {
	return Field{Key: key, Value: value, Default: def, Doc: doc}
}

func names(fields []Field) []string {
	list := make([]string, len(fields))
	for i, f := range fields {
		list[i] = f.Key
	}
	return list
}

// firstNames lists the first n keys: "command, dir, env …".
func firstNames(fields []Field, n int) string {
	if n < len(fields) {
		return strings.Join(names(fields[:n]), ", ") + " …"
	}
	return strings.Join(names(fields), ", ")
}

// Join is the path of a key in what is at path.
func Join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// Parent is the path of what a path lies in, "" at the top.
func Parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// Schema is a JSON schema.
type Schema map[string]any

// ObjectSchema is a map with these keys and no others.
func ObjectSchema(fields []Field) Schema {
	props := Schema{}
	for _, f := range fields {
		s := Schema{"description": plain(f.Doc)}
		if f.Default != "" {
			s["description"] = plain(f.Doc) + " Default: " + f.Default + "."
		}
		for k, v := range f.Value.Schema() {
			s[k] = v
		}
		props[f.Key] = s
	}
	return Schema{"type": "object", "properties": props, "additionalProperties": false}
}

// OrVariable also lets "${VAR}" pass: its value is not known to an editor.
func OrVariable(s Schema) Schema {
	return Schema{"anyOf": []Schema{s, {"type": "string", "pattern": `\$\{`}}}
}

// plain is a doc text without Markdown.
func plain(doc string) string { return strings.ReplaceAll(doc, "`", "") }
