package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) explainCommand() *cobra.Command {
	return &cobra.Command{
		Use: "explain [CODE]", Short: "Explain an error code",
		Long:    "Explain tells what an error code means and what to do about it; without a code it\nlists all of them.",
		Example: "  muster explain E-READY-TIMEOUT",
		Args:    usage.Between(0, 1, "a code such as E-READY-TIMEOUT"),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return s.listCodes()
			}
			return s.explain(args[0])
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return show.CodeNames(), cobra.ShellCompDirectiveNoFileComp
		},
	}
}

func (s *session) explain(word string) error {
	e, err := show.Explained(word)
	if err != nil {
		return err
	}
	if done, err := s.printData(e); done || err != nil {
		return err
	}
	show.Code(s.out, e)
	return nil
}

func (s *session) listCodes() error {
	if done, err := s.printData(fault.Table()); done || err != nil {
		return err
	}
	show.Codes(s.out)
	return nil
}
