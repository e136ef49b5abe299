package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/muster-run/muster/spec"
)

// SchemaURL is the schema's identity; editors find it by the comment line
// `# yaml-language-server: $schema=…`.
const SchemaURL = "https://muster.run/schema/v1.json"

// schema is a JSON schema.
type schema map[string]any

// objectSchema is a map with these keys and no others.
func objectSchema(fields []field) schema {
	props := schema{}
	for _, f := range fields {
		s := schema{"description": plain(f.doc)}
		if f.def != "" {
			s["description"] = plain(f.doc) + " Default: " + f.def + "."
		}
		for k, v := range f.value.schema() {
			s[k] = v
		}
		props[f.key] = s
	}
	return schema{"type": "object", "properties": props, "additionalProperties": false}
}

// plain is a doc text without Markdown.
func plain(doc string) string { return strings.ReplaceAll(doc, "`", "") }

// Schema is the JSON schema (draft 2020-12) of muster.yaml, made from the same
// tables that Load reads by.
func Schema() []byte {
	var s spec.Spec
	root := objectSchema(allRootFields(&s))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = SchemaURL
	root["title"] = "muster.yaml"
	root["required"] = []string{"version", "apps"}
	root["patternProperties"] = schema{"^x-": schema{"description": "A place for YAML anchors."}}
	app := objectSchema((&appDraft{App: &spec.App{}}).fields())
	app["type"] = []string{"object", "null"}
	root["$defs"] = schema{"app": app}
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		return []byte(fmt.Sprintf("{%q: %q}", "$comment", err.Error()))
	}
	return append(out, '\n')
}

// Reference is the reference of muster.yaml in Markdown, made from the same
// tables.
func Reference() string {
	var s spec.Spec
	app := spec.DefaultApp("app")
	var b strings.Builder
	b.WriteString("# muster.yaml\n\n" +
		"Every key, made from the tables that muster itself reads the file by (`muster config schema` is the same for editors).\n\n" +
		"`${NAME}` and `${NAME:-default}` in any value stand for a variable of the environment or of `.env` beside the file; `$$` is a `$`. " +
		"Keys at the top that begin with `x-` are ignored: a place for YAML anchors. Relative paths are relative to the file. " +
		"Durations: `500ms`, `30s`, `5m`, `2h`, `1d`. Sizes: `64KiB`, `512MiB`, `50MB`.\n")
	table(&b, "Top level", allRootFields(&s))
	table(&b, "An app", (&appDraft{App: &app}).fields())
	h := spec.DefaultHealth()
	for _, t := range []struct {
		title  string
		fields []field
	}{
		{"control", controlFields(&s.Control)},
		{"listen, each", listenerFields(&spec.Listener{})},
		{"ports, each", portFields(&spec.Port{})},
		{"ready", readyFields(&app.Ready)},
		{"health", healthFields(&h)},
		{"restart", restartValue(&app.Restart).(section).fields()},
		{"stop", stopFields(&app.Stop)},
		{"reload", reloadFields(&app.Reload)},
		{"limits", limitFields(&app.Limits)},
		{"log", logValue(&app.Log).(section).fields()},
	} {
		table(&b, t.title, t.fields)
	}
	return b.String()
}

func table(b *strings.Builder, title string, fields []field) {
	fmt.Fprintf(b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", title)
	for _, f := range fields {
		def := ""
		if f.def != "" {
			def = "`" + f.def + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.key, f.value.kind(), def, f.doc)
	}
}
