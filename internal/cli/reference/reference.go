// Package reference writes the reference pages of docs/ from the tables that muster
// itself works by, so that they cannot differ.
package reference

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/internal/control"
	"github.com/muster-run/muster/internal/metrics"
)

// generated stands at the top of each page.
const generated = "<!-- Made by `go run ./cmd/muster docs`; do not edit. -->\n\n"

// Pages are the files of the reference by name.
func Pages(root *cobra.Command) map[string]string {
	return map[string]string{
		"cli.md":             cliPage(root),
		"configuration.md":   generated + config.Reference(),
		"api.md":             generated + control.Reference(),
		"metrics.md":         generated + metricsTitle + metrics.Reference(),
		"errors.md":          errorsPage(),
		"muster.schema.json": string(config.Schema()),
	}
}

const metricsTitle = "# Metrics\n\n`GET /metrics` on the control socket answers in the Prometheus text format:\n\n" +
	"```sh\ncurl --unix-socket \"$SOCKET\" http://muster/metrics\n```\n\n"

func errorsPage() string {
	var b strings.Builder
	b.WriteString(generated + "# Errors\n\nEvery error has a stable code; `muster explain CODE` prints the same as this page.\n")
	for _, e := range fault.Table() {
		fmt.Fprintf(&b, "\n## %s\n\n%s. Exit code %d.\n\n%s\n\nFix: %s.\n", e.Code, capital(e.Summary), e.Exit, e.Text, e.Fix)
	}
	return b.String()
}

func cliPage(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(generated + "# Command line\n\n## Exit codes\n\n")
	b.WriteString("| code | means |\n|---|---|\n")
	for _, row := range [][2]string{
		{"0", "done"},
		{"1", "the action failed"},
		{"2", "usage or configuration"},
		{"3", "not running, or degraded"},
		{"4", "no such app"},
		{"5", "agent unreachable"},
		{"6", "denied"},
		{"7", "partly done"},
		{"124", "timed out"},
		{"130", "interrupted"},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	b.WriteString("\n`run`, `up` in the foreground and `exec` pass the code of their program on.\n\n" +
		"## Selectors\n\n`web` is an app, `web#2` one worker, `web-*` a glob, `tag:edge` the apps with a tag,\n" +
		"`role:worker` those with a role, `all` every app. Several stand behind commas: `web,api#0`.\n\n## Flags of every command\n\n")
	flagTable(&b, root.PersistentFlags())
	for _, c := range root.Commands() {
		commandPage(&b, c)
	}
	return b.String()
}

func commandPage(b *strings.Builder, c *cobra.Command) {
	if c.Hidden || c.Name() == "help" {
		return
	}
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	fmt.Fprintf(b, "\n## %s\n\n```\n%s\n```\n\n%s\n", c.CommandPath(), c.UseLine(), long)
	if len(c.Aliases) > 0 {
		fmt.Fprintf(b, "\nAlso: `%s`.\n", strings.Join(c.Aliases, "`, `"))
	}
	if c.Example != "" {
		fmt.Fprintf(b, "\n```sh\n%s\n```\n", dedent(c.Example))
	}
	if c.LocalNonPersistentFlags().HasAvailableFlags() {
		b.WriteByte('\n')
		flagTable(b, c.LocalNonPersistentFlags())
	}
	for _, child := range c.Commands() {
		commandPage(b, child)
	}
}

func flagTable(b *strings.Builder, flags *pflag.FlagSet) {
	b.WriteString("| flag | meaning |\n|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name := "`--" + f.Name + "`"
		if f.Shorthand != "" {
			name = "`-" + f.Shorthand + "`, " + name
		}
		meaning := strings.ReplaceAll(f.Usage, "|", "\\|")
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "[]" && !strings.Contains(f.Usage, "default") && f.DefValue != "0s" {
			meaning += " (default " + f.DefValue + ")"
		}
		fmt.Fprintf(b, "| %s | %s |\n", name, meaning)
	})
}

func dedent(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimPrefix(lines[i], "  ")
	}
	return strings.Join(lines, "\n")
}

func capital(text string) string { return strings.ToUpper(text[:1]) + text[1:] }
