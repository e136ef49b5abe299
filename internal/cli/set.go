package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/set"
	"github.com/muster-run/muster/spec"
)

func (s *session) setCommand() *cobra.Command {
	flags := &orderFlags{}
	return set.Command(set.Line{
		Flags: flags.register, Selectors: s.selectors, Spec: s.knownSpec,
		Give: func(cmd *cobra.Command, o set.Order) error {
			return s.give(cmd, flags, order{
				Order: api.Order{Selector: o.Selector}, verb: o.Verb, doing: "reloading", goal: event.Ready, next: o.Next,
				call: func(c *client.Client, ctx context.Context, _ api.Order) (api.Outcome, error) { return o.Call(ctx, c) },
			})
		},
	})
}

// knownSpec is what runs, or what the file declares when no agent answers.
func (s *session) knownSpec(ctx context.Context) spec.Spec {
	ctx, cancel := context.WithTimeout(ctx, completionPatience)
	defer cancel()
	if c, _, err := s.connect(); err == nil {
		if running, err := c.Spec(ctx, false); err == nil {
			return running
		}
	}
	return s.declared()
}

// declared is what the file says; nothing, where there is none.
func (s *session) declared() spec.Spec {
	loaded, err := s.line().Load()
	if err != nil {
		return spec.Spec{}
	}
	return loaded.Spec
}
