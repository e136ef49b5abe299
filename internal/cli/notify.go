package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) notifyCommand() *cobra.Command {
	return usage.Group(&cobra.Command{
		Use: "notify", Short: "Try the notifiers",
		Long: "Notify is about notify: in muster.yaml: who is told when a worker crashes, recovers or\nis given up.",
	}, s.notifyTestCommand())
}

func (s *session) notifyTestCommand() *cobra.Command {
	flags := &orderFlags{}
	cmd := &cobra.Command{
		Use: "test [NAME]", Short: "Have notifiers deliver a test note",
		Long:    "Test has one notifier, or without NAME all of them, deliver a test note now, and prints\nwhat came of it.",
		Example: "  muster notify test\n  muster notify test ops",
		Args:    usage.Between(0, 1, "the NAME of a notifier"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			return s.give(cmd, flags, order{
				Order: api.Order{Selector: name}, verb: "notify test", doing: "delivering",
				call: func(c *client.Client, ctx context.Context, o api.Order) (api.Outcome, error) {
					return c.NotifyTest(ctx, o.Selector)
				},
			})
		},
	}
	flags.register(cmd)
	return cmd
}
