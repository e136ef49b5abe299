package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
)

func (s *session) reloadCommand() *cobra.Command {
	var now bool
	cmd := s.selectorOrder(&cobra.Command{
		Use: "reload SELECTOR", Short: "Replace workers by a new release without losing a request",
		Long: "Reload starts new workers beside the old ones on the same sockets, waits until each\n" +
			"is ready, and only then drains an old one. When a new worker fails, all new ones are\n" +
			"stopped, the old release serves on, its last lines are printed, and the exit code\n" +
			"is 1. A reload that comes while another one runs waits in line.\n\n" +
			"It takes the program as it is on disk now (dir and symlinks are looked up again), and\n" +
			"what muster.yaml and the env files now say of these apps; the difference is shown.\n" +
			"The number of workers, other apps, and the environment of the calling shell are left\n" +
			"to `muster up`.",
		Example: "  muster reload web\n  muster reload all\n  muster reload web --now",
	}, func(selector string) order {
		return order{
			Order: api.Order{Selector: selector, Now: now}, call: (*client.Client).Reload,
			verb: "reload", doing: "reloading " + selector, next: "muster rollback " + selector + " goes back", fresh: true,
		}
	})
	cmd.Flags().BoolVar(&now, "now", false, "replace a reload that runs instead of waiting for it")
	return cmd
}
