package usage

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
)

// Exactly wants n arguments, named as in the command's Use line.
func Exactly(n int, names string) cobra.PositionalArgs {
	return Between(n, n, names)
}

// Between wants min to max arguments; max < 0 is any number.
func Between(least, most int, names string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) < least:
			return Wrong(cmd, "`%s` needs %s", cmd.CommandPath(), names)
		case most == 0 && len(args) > 0:
			return Wrong(cmd, "`%s` takes no arguments, and got %q", cmd.CommandPath(), args[0])
		case most >= 0 && len(args) > most:
			return Wrong(cmd, "`%s` got %q beyond %s", cmd.CommandPath(), args[most], names)
		}
		return nil
	}
}

// Wrong is a fault that names the command's help.
func Wrong(cmd *cobra.Command, format string, args ...any) error {
	fix := "usage: " + cmd.UseLine()
	return fault.New(fault.Usage, format, args...).WithFix(strings.TrimSuffix(fix, " [flags]"))
}
