package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/talk"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) inspectCommand() *cobra.Command {
	flags := &orderFlags{}
	cmd := &cobra.Command{
		Use: "inspect APP#N", Short: "Open the debugger of a Node.js worker",
		Long: "Inspect makes a running Node.js worker open its debugger (SIGUSR1) and prints where it\n" +
			"listens: on this host only, until the worker ends. Each worker has a port of its own.",
		Example: "  muster inspect 'web#1'",
		Args:    usage.Exactly(1, "one worker, APP#N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			ctx, cancel = flags.bounded(ctx)
			defer cancel()
			c, t, err := s.connect()
			if err != nil {
				return err
			}
			d, err := talk.Inspect(ctx, c, args[0])
			if err != nil {
				return t.Unreachable(err)
			}
			if done, err := s.printData(d); done || err != nil {
				return err
			}
			s.out.Line("%s: %s", d.Worker, d.URL)
			s.note("%s", s.err.Paint(show.Dim, "next: node inspect "+d.Address+", or add "+d.Address+" under chrome://inspect"))
			return nil
		},
		ValidArgsFunction: s.completeSelectors,
	}
	cmd.Flags().DurationVar(&flags.timeout, "timeout", 5*time.Second, "stop waiting for its address after this time, exit code 124")
	return cmd
}
