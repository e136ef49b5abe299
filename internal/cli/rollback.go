package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
)

func (s *session) rollbackCommand() *cobra.Command {
	return s.selectorOrder(&cobra.Command{
		Use: "rollback SELECTOR", Short: "Go back to the release that ran before",
		Long: "Rollback is a reload with the specification and the directory of the release that\n" +
			"ran before, with the same guarantees.",
		Example: "  muster rollback web",
	}, func(selector string) order {
		return order{
			Order: api.Order{Selector: selector}, call: (*client.Client).Rollback,
			verb: "rollback", doing: "rolling back " + selector, next: "muster status " + selector,
		}
	})
}
