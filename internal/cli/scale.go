package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) scaleCommand() *cobra.Command {
	flags := &orderFlags{}
	cmd := &cobra.Command{
		Use: "scale APP N|+N|-N", Short: "Change the number of workers",
		Long: "Scale sets the number of workers of an app, or changes it by a difference. New ones\n" +
			"are waited for until they are ready; those that go drain. It holds until the next\n" +
			"`muster up`, which takes the number from muster.yaml.",
		Example: "  muster scale web 8\n  muster scale web +2\n  muster scale web -1",
		Args:    usage.Exactly(2, "an app and a number: N, +N or -N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := usage.ScaleOrder(cmd, args[0], args[1])
			if err != nil {
				return err
			}
			return s.give(cmd, flags, order{
				Order: o, call: (*client.Client).Scale, verb: "scale",
				doing: "scaling", goal: event.Ready, next: "muster status " + args[0],
			})
		},
		ValidArgsFunction: s.completeSelectors,
	}
	flags.register(cmd)
	return cmd
}
