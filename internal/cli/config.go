package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

func (s *session) configCommand() *cobra.Command {
	return usage.Group(&cobra.Command{Use: "config", Short: "Show the configuration, its schema, or what differs"},
		s.configShow(), s.configSchema(), s.configDiff())
}

func (s *session) configShow() *cobra.Command {
	origin := false
	cmd := &cobra.Command{
		Use: "show", Short: "Print the effective configuration, secrets masked",
		Long: "Show prints what muster.yaml means with every default filled in. Values that look\n" +
			"like secrets are masked. --origin adds where each value comes from.",
		Args: usage.Exactly(0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			loaded, err := s.line().Load()
			if err != nil {
				return err
			}
			if s.format() != show.FormatYAML {
				if done, err := s.printData(loaded.Spec.Masked()); done || err != nil {
					return err
				}
			}
			s.out.Printf("%s", config.Show(loaded, origin))
			return nil
		},
	}
	cmd.Flags().BoolVar(&origin, "origin", false, "say where each value comes from")
	return cmd
}

func (s *session) configSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of muster.yaml",
		Args: usage.Exactly(0, "nothing"),
		RunE: func(*cobra.Command, []string) error {
			_, err := s.out.Write(config.Schema())
			return err
		},
	}
}

func (s *session) configDiff() *cobra.Command {
	return &cobra.Command{
		Use: "diff", Short: "Show what `muster up` would change",
		Args: usage.Exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			loaded, err := s.line().Load()
			if err != nil {
				return err
			}
			changes, err := s.dial(s.line().Of(loaded)).Diff(cmd.Context(), loaded.Spec)
			if err != nil && fault.CodeOf(err) == fault.AgentUnreachable {
				changes, err = spec.Diff(spec.Spec{Project: loaded.Spec.Project}, loaded.Spec), nil
			}
			if err != nil {
				return err
			}
			return s.showChanges(changes)
		},
	}
}

// showChanges prints changes as data or as a list for people.
func (s *session) showChanges(changes []spec.Change) error {
	if changes == nil {
		changes = []spec.Change{}
	}
	if done, err := s.printData(changes); done || err != nil {
		return err
	}
	if len(changes) == 0 {
		s.out.Line("no changes")
	}
	show.Changes(s.out, changes)
	return nil
}
