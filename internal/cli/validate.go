package cli

import (
	"maps"
	"slices"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/launch"
)

func (s *session) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the configuration",
		Long: "Validate reads muster.yaml as `muster up` would and lists all problems at once, with\n" +
			"line and column. Exit code 2 when there is one. Nothing that runs is touched. Warnings\n" +
			"name what is known not to work well together, such as a wrapper and inherited sockets.\n" +
			"Where another command is run than the one written (node itself for `npm start`), that\n" +
			"is told.",
		Args: usage.Exactly(0, "nothing; -c names another file"),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := s.line().Load()
			if err == nil {
				err = launch.CheckAll(loaded.Spec, s.warn)
			}
			if err != nil {
				return err
			}
			resolved := map[string]string{}
			for _, app := range loaded.Spec.Apps {
				if command, ok := launch.Resolved(app); ok {
					resolved[app.Name] = command
				}
			}
			if done, err := s.printData(map[string]any{"valid": true, "file": loaded.File, "apps": len(loaded.Spec.Apps), "runs": resolved}); done || err != nil {
				return err
			}
			if !s.flags.quiet {
				for _, name := range slices.Sorted(maps.Keys(resolved)) {
					s.out.Line("%s runs as: %s", name, resolved[name])
				}
				s.out.Line("%s is valid: %s", loaded.File, show.Count(len(loaded.Spec.Apps), "app"))
			}
			return nil
		},
	}
}
