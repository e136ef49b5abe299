package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
)

func (s *session) restartCommand() *cobra.Command {
	var now bool
	cmd := s.selectorOrder(&cobra.Command{
		Use: "restart SELECTOR", Short: "Stop and start with the same release",
		Long: "Restart stops apps or workers and starts them again with the release they had.\n" +
			"Requests may fail meanwhile: `muster reload` is the way without that.",
		Example: "  muster restart web\n  muster restart web#2\n  muster restart role:worker",
	}, func(selector string) order {
		return order{
			Order: api.Order{Selector: selector, Now: now}, call: (*client.Client).Restart,
			verb: "restart", doing: "restarting", goal: event.Ready, next: "muster status " + selector,
		}
	})
	cmd.Flags().BoolVar(&now, "now", false, "kill at once, without the graceful part")
	return cmd
}
