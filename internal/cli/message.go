package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/talk"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) messageCommand() *cobra.Command {
	var wait bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "message SELECTOR [JSON]", Short: "Send a message to workers",
		Long: "Message sends a JSON value to each selected worker: process.on('message') in Node.js, a\n" +
			"line on its channel for any other program. Without JSON, or with -, it is read from\n" +
			"stdin. --wait prints the first message that each worker sends from then on.",
		Example: "  muster message 'web#1' '{\"type\":\"gc\"}'\n  muster message web '\"reload-flags\"'\n  muster message web --wait --timeout 2s '{\"type\":\"stats\"}'",
		Args:    usage.Between(1, 2, "a SELECTOR and a JSON value"),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := talk.ReadMessage(args[1:], s.stdin)
			if err != nil {
				return err
			}
			if !wait {
				timeout = 0
			}
			return s.message(cmd, api.Message{Selector: args[0], Message: text}, wait, timeout)
		},
		ValidArgsFunction: s.completeSelectors,
	}
	cmd.Flags().BoolVar(&wait, "wait", false, "wait for the first message of each worker, and print it")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Second, "with --wait: stop waiting after this time, exit code 124")
	return cmd
}

func (s *session) message(cmd *cobra.Command, m api.Message, wait bool, timeout time.Duration) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	ctx, cancel = (&orderFlags{timeout: timeout}).bounded(ctx)
	defer cancel()
	c, t, err := s.connect()
	if err != nil {
		return err
	}
	since := time.Now()
	sent, err := c.Message(ctx, m)
	if err != nil {
		return t.Broken(ctx, c, since, err)
	}
	if !wait {
		return s.report(sent, "")
	}
	data := s.format().Data()
	answers, err := talk.Await(ctx, c, sent, func(a talk.Answer) {
		if !data {
			s.out.Line("%s", a.Line())
		}
	})
	if err != nil {
		return t.Broken(ctx, c, since, err)
	}
	return s.answers(answers)
}

// answers prints the answers as data, or who has not answered on stderr.
func (s *session) answers(a talk.Answers) error {
	done, err := s.printData(a)
	f := a.Fault()
	if err != nil || f == nil {
		return err
	}
	for _, r := range a.Results {
		if r.Fault != nil && !done && len(a.Results) > 1 {
			s.printFault(show.FaultOf(r.Result))
		}
	}
	return f
}
