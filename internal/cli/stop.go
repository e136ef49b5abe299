package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
)

func (s *session) stopCommand() *cobra.Command {
	var now bool
	cmd := s.selectorOrder(&cobra.Command{
		Use: "stop SELECTOR", Short: "Stop apps or workers",
		Long: "Stop ends apps or workers and waits until nothing of them is left. Apps that depend\n" +
			"on them are stopped first. The agent goes on; `muster down` ends it as well.",
		Example: "  muster stop web\n  muster stop web#2\n  muster stop all --now",
	}, func(selector string) order {
		return order{
			Order: api.Order{Selector: selector, Now: now}, call: (*client.Client).Stop,
			verb: "stop", doing: "stopping", goal: event.Stopped, next: "muster start " + selector,
		}
	})
	cmd.Flags().BoolVar(&now, "now", false, "kill at once, without the graceful part")
	return cmd
}
