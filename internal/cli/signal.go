package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/spec"
)

func (s *session) signalCommand() *cobra.Command {
	flags := &orderFlags{}
	var group bool
	cmd := &cobra.Command{
		Use: "signal SIGNAL SELECTOR", Short: "Send a signal to workers",
		Long: "Signal sends a signal to the main process of each worker. What ends by it counts as\n" +
			"an accident and is started again; to end workers, use `muster stop`.",
		Example: "  muster signal USR1 web\n  muster signal HUP web#0 --group",
		Args:    usage.Exactly(2, "a signal and a SELECTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, err := spec.ParseSignal(args[0])
			if err != nil {
				return usage.Wrong(cmd, "%w", err)
			}
			return s.give(cmd, flags, order{
				Order: api.Order{Selector: args[1], Signal: name, Group: group},
				call:  (*client.Client).Signal, verb: "signal", doing: "sending " + name,
			})
		},
		ValidArgsFunction: s.completeSecond,
	}
	flags.register(cmd)
	cmd.Flags().BoolVar(&group, "group", false, "send it to every process of the worker's group")
	return cmd
}
