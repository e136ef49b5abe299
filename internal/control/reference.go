package control

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

const referenceHead = `# Control API

HTTP/1.1 over the agent's UNIX socket, JSON in both directions. Who may ask is
decided by the credentials of the peer: root, the owner of the agent, and the
group of ` + "`control.group`" + ` where there is one.

` + "```" + `
curl --unix-socket "$SOCKET" http://muster/v1/status
` + "```" + `

An answer of 400 or more is ` + "`{\"error\": {code, text, where, output, fix}}`" + `; the code is
one of those that ` + "`muster explain`" + ` knows. Orders and apply answer with their results
beside the error. Requests hold no unknown keys and at most 8 MiB.

`

// Reference is the description of the API in Markdown.
func Reference() string {
	var b strings.Builder
	b.WriteString(referenceHead)
	b.WriteString("| route | access | what it does |\n|---|---|---|\n")
	for _, r := range Routes() {
		fmt.Fprintf(&b, "| `%s %s` | %s | %s |\n", r.Method, r.Path, r.Access, r.Text)
	}
	all := schemas{}
	for _, r := range Routes() {
		fmt.Fprintf(&b, "\n## %s %s\n\n%s\n", r.Method, r.Path, r.Text)
		r.details(&b, all)
	}
	b.WriteString("\n## Events\n\nThe `data` of an event, by its `type`.\n\n")
	for _, d := range event.Kinds() {
		all.of(reflect.TypeOf(d))
		fmt.Fprintf(&b, "- `%s`: [%s](#%s)\n", d.Kind(), nameOf(reflect.TypeOf(d)), anchor(nameOf(reflect.TypeOf(d))))
	}
	all.of(reflect.TypeFor[api.Failure]())
	b.WriteString("\n## Types\n")
	for _, name := range sortedNames(all) {
		fmt.Fprintf(&b, "\n### %s\n\n", name)
		writeFields(&b, all[name])
	}
	return b.String()
}

func (r Route) details(b *strings.Builder, all schemas) {
	if r.Query != nil {
		b.WriteByte('\n')
	}
	for _, p := range r.Query {
		required := ""
		if p.Required {
			required = ", required"
		}
		fmt.Fprintf(b, "- `%s` (%s%s): %s\n", p.Name, p.Type, required, p.Text)
	}
	if r.in != nil {
		fmt.Fprintf(b, "\nBody: %s\n", typeText(all.of(r.in)))
	}
	switch {
	case r.out == nil:
		fmt.Fprintf(b, "\nAnswer: `%s`\n", r.media)
	case r.media != mediaJSON:
		fmt.Fprintf(b, "\nAnswer: `%s`, each %s\n", r.media, typeText(all.of(r.out)))
	default:
		fmt.Fprintf(b, "\nAnswer: %s\n", typeText(all.of(r.out)))
	}
}

func sortedNames[V any](m map[string]V) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func writeFields(b *strings.Builder, s schema) {
	properties, _ := s["properties"].(map[string]any)
	required, _ := s["required"].([]string)
	for _, name := range sortedNames(properties) {
		t, _ := properties[name].(schema)
		optional := " (may be absent)"
		if slices.Contains(required, name) {
			optional = ""
		}
		fmt.Fprintf(b, "- `%s`: %s%s\n", name, typeText(t), optional)
	}
}

// typeText says in words what a schema is.
func typeText(s schema) string {
	if ref, ok := s["$ref"].(string); ok {
		name := ref[strings.LastIndexByte(ref, '/')+1:]
		return fmt.Sprintf("[%s](#%s)", name, anchor(name))
	}
	switch s["type"] {
	case "array":
		items, _ := s["items"].(schema)
		return "list of " + typeText(items)
	case "object":
		if values, ok := s["additionalProperties"].(schema); ok {
			return "map to " + typeText(values)
		}
		if properties, _ := s["properties"].(map[string]any); len(properties) == 0 {
			return "object"
		}
	case nil:
		return "any value"
	}
	text := fmt.Sprint(s["type"])
	if examples, ok := s["examples"].([]string); ok {
		text += " such as `" + examples[0] + "`"
	}
	if values, ok := s["enum"].([]string); ok && len(values) < 12 {
		text += ": `" + strings.Join(values, "`, `") + "`"
	}
	if d, ok := s["description"].(string); ok {
		text += ", " + d
	}
	return text
}

// anchor is where a heading can be linked to.
func anchor(heading string) string { return strings.ToLower(heading) }
