package usage

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
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

// Group gives a command that does nothing by itself the commands below it, which it
// names to who names none of them.
func Group(cmd *cobra.Command, below ...*cobra.Command) *cobra.Command {
	cmd.AddCommand(below...)
	var names []string
	for _, c := range below {
		names = append(names, c.Name())
	}
	list := names[len(names)-1]
	if n := len(names) - 1; n > 0 {
		list = strings.Join(names[:n], ", ") + " and " + list
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		err := Wrong(cmd, "`%s` knows %s, not %q", cmd.CommandPath(), list, args[0])
		if like := spec.Nearest(args[0], names); like != "" {
			return fault.From(err).WithFix("did you mean `" + cmd.CommandPath() + " " + like + "`?")
		}
		return err
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if len(names) == 1 {
			return Wrong(cmd, "`%s` needs a command: %s", cmd.CommandPath(), list)
		}
		return Wrong(cmd, "`%s` needs one of %s", cmd.CommandPath(), list)
	}
	return cmd
}
