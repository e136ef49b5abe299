package cli

import (
	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
)

func (s *session) startCommand() *cobra.Command {
	return s.selectorOrder(&cobra.Command{
		Use: "start SELECTOR", Short: "Start what is stopped or was given up",
		Long:    "Start starts apps or workers that are stopped or failed, after those they depend\non, and waits until they are ready. What runs already is left alone.",
		Example: "  muster start web\n  muster start web#2\n  muster start tag:edge",
	}, func(selector string) order {
		return order{
			Order: api.Order{Selector: selector}, call: (*client.Client).Start,
			verb: "start", doing: "starting", goal: event.Ready, next: "muster status " + selector, fresh: true,
		}
	})
}
