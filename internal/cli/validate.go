package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/show"
)

func (s *session) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the configuration",
		Long: "Validate reads muster.yaml as `muster up` would and lists all problems at once, with\n" +
			"line and column. Exit code 2 when there is one. Nothing that runs is touched.",
		Args: exactly(0, "nothing; -c names another file"),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := s.load()
			if err != nil {
				return err
			}
			if done, err := s.printData(map[string]any{"valid": true, "file": loaded.File, "apps": len(loaded.Spec.Apps)}); done || err != nil {
				return err
			}
			if !s.flags.quiet {
				s.out.Line("%s is valid: %s", loaded.File, show.Count(len(loaded.Spec.Apps), "app"))
			}
			return nil
		},
	}
}
