package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/talk"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) requestCommand() *cobra.Command {
	var all bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "request SELECTOR OP [JSON]", Short: "Ask workers, and print what they reply",
		Long: "Request asks one of the selected workers, in turn, or with --all each of them. Their\n" +
			"programs answer it by the SDK (docs/tasks/operations.md). JSON of - is read from stdin.",
		Example: "  muster request web stock:left '{\"item\":7}'\n  muster request web cache:warm --all",
		Args:    usage.Between(2, 3, "a SELECTOR, an OP and a JSON value"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if timeout < time.Millisecond { // 0 would mean the default
				return fault.New(fault.Usage, "--timeout %s leaves no time for a reply", timeout).WithFix("write a time such as 5s")
			}
			a := api.Ask{Selector: args[0], Op: args[1], All: all, WithinMS: timeout.Milliseconds()}
			if len(args) > 2 {
				text, err := talk.ReadMessage(args[2:], s.stdin)
				if err != nil {
					return err
				}
				a.Body = text
			}
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			c, t, err := s.connect()
			if err != nil {
				return err
			}
			replies, err := c.Ask(ctx, a)
			if err != nil {
				return t.Unreachable(err)
			}
			return s.report(talk.Replied(replies), "")
		},
		ValidArgsFunction: s.completeSelectors,
	}
	cmd.Flags().BoolVar(&all, "all", false, "ask every selected worker")
	cmd.Flags().DurationVar(&timeout, "timeout", 30*time.Second, "stop waiting for replies after this time")
	return cmd
}
