package config

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/muster-run/muster/internal/config/table"
	"github.com/muster-run/muster/spec"
)

// SchemaURL is the schema's identity; editors find it by the comment line
// `# yaml-language-server: $schema=…`.
const SchemaURL = "https://muster.run/schema/v1.json"

// Schema is the JSON schema (draft 2020-12) of muster.yaml, made from the same
// tables that Load reads by.
func Schema() []byte {
	var s spec.Spec
	root := table.ObjectSchema(allRootFields(&s))
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["$id"] = SchemaURL
	root["title"] = "muster.yaml"
	root["required"] = []string{"version", "apps"}
	root["patternProperties"] = table.Schema{"^x-": table.Schema{"description": "A place for YAML anchors."}}
	app := table.ObjectSchema((&appDraft{App: &spec.App{}}).fields())
	app["type"] = []string{"object", "null"}
	root["$defs"] = table.Schema{"app": app}
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
	section(&b, "Top level", allRootFields(&s))
	section(&b, "An app", (&appDraft{App: &app}).fields())
	h := spec.DefaultHealth()
	for _, t := range []struct {
		title  string
		fields []table.Field
	}{
		{"control", controlFields(&s.Control)},
		{"notify, each", notifierFields(&spec.Notifier{})},
		{"listen, each", listenerFields(&spec.Listener{})},
		{"ports, each", portFields(&spec.Port{})},
		{"node", nodeFields(&app.Node)},
		{"ready", readyFields(&app.Ready)},
		{"health", healthFields(&h)},
		{"heartbeat", heartbeatFields(&app.Heartbeat)},
		{"console", consoleFields(&app.Console)},
		{"restart", restartFields(&app.Restart)},
		{"stop", stopFields(&app.Stop)},
		{"reload", reloadFields(&app.Reload)},
		{"limits", limitFields(&app.Limits)},
		{"log", logFields(&app.Log)},
	} {
		section(&b, t.title, t.fields)
	}
	return b.String()
}

func section(b *strings.Builder, title string, fields []table.Field) {
	fmt.Fprintf(b, "\n## %s\n\n| key | value | default | meaning |\n|---|---|---|---|\n", title)
	for _, f := range fields {
		def := ""
		if f.Default != "" {
			def = "`" + f.Default + "`"
		}
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", f.Key, f.Value.Kind(), def, f.Doc)
	}
}
