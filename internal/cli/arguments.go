package cli

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
)

// exactly wants n arguments, named as in the command's Use line.
func exactly(n int, names string) cobra.PositionalArgs {
	return between(n, n, names)
}

// between wants min to max arguments; max < 0 is any number.
func between(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return usage(cmd, "`%s` needs %s", cmd.CommandPath(), names)
		case most == 0 && len(args) > 0:
			return usage(cmd, "`%s` takes no arguments, and got %q", cmd.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return usage(cmd, "`%s` got %q beyond %s", cmd.CommandPath(), args[most], names)
		}
		return nil
	}
}

// usage is a fault that names the command's help.
func usage(cmd *cobra.Command, format string, args ...any) error {
	fix := "usage: " + cmd.UseLine()
	return fault.New(fault.Usage, format, args...).WithFix(strings.TrimSuffix(fix, " [flags]"))
}
