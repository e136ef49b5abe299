package usage

import (
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// NoSuchCommand refuses what is no command, with what it may have meant.
func NoSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	f := fault.New(fault.Usage, "there is no command %q", args[0]).WithFix("`muster help` lists the commands")
	var known []string
	for _, c := range cmd.Commands() {
		if !c.Hidden {
			known = append(append(known, c.Name()), c.Aliases...)
		}
	}
	if like := spec.Nearest(args[0], known); like != "" {
		f = f.WithFix("did you mean `muster " + like + "`?")
	}
	return f
}

// FlagFault turns a flag error into a usage fault with what it may have meant.
func FlagFault(cmd *cobra.Command, err error) error {
	f := fault.New(fault.Usage, "%w", err).WithFix("see `" + cmd.CommandPath() + " --help`")
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return f
	}
	if len(unknown.GetSpecifiedName()) > 1 {
		f = fault.New(fault.Usage, "`%s` has no flag --%s", cmd.CommandPath(), unknown.GetSpecifiedName()).WithFix(f.Fix)
		if like := closestFlag(cmd, unknown.GetSpecifiedName()); like != "" {
			return f.WithFix("did you mean --" + like + "?")
		}
	}
	return f
}

func closestFlag(cmd *cobra.Command, name string) string {
	var known []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			known = append(known, f.Name)
		}
	})
	return spec.Nearest(name, known)
}
