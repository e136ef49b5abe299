package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) logsCommand() *cobra.Command {
	var lines, since string
	var o client.LogOptions
	cmd := &cobra.Command{
		Use: "logs [SELECTOR]", Short: "Print what workers wrote",
		Long: "Logs prints the recorded output of workers. -f goes on with what comes; a reader that is\n" +
			"too slow misses lines and is told how many. The files hold more: see log: in muster.yaml.",
		Example: "  muster logs web -n 50\n  muster logs web#2 -f\n  muster logs all --since 10m --stream stderr -o jsonl",
		Args:    usage.Between(0, 1, "one SELECTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				o.Selector = args[0]
			}
			if err := usage.LogWindow(cmd, &o, lines, since, time.Now()); err != nil {
				return err
			}
			return s.logs(cmd.Context(), o)
		},
		ValidArgsFunction: s.completeSelectors,
	}
	f := cmd.Flags()
	f.BoolVarP(&o.Follow, "follow", "f", false, "go on with what comes until Ctrl-C")
	f.StringVarP(&lines, "lines", "n", "100", "how many lines of the past, or all")
	f.StringVar(&since, "since", "", "not older than this: 10m, 2h, or a time like 2006-01-02T15:04:05Z")
	f.StringVar(&o.Stream, "stream", "", "stdout or stderr (default: both)")
	return cmd
}

func (s *session) logs(ctx context.Context, o client.LogOptions) error {
	c, t, err := s.connect()
	if err != nil {
		return err
	}
	if o.Follow {
		var cancel context.CancelFunc
		ctx, cancel = interruptible(ctx)
		defer cancel()
	}
	view := show.Records{Out: s.out, Err: s.err, JSON: s.format().Lines()}
	err = c.Logs(ctx, o, view.Print)
	if fault.CodeOf(err) == fault.Interrupted { // Ctrl-C is how a follower ends
		return nil
	}
	return t.Unreachable(err)
}
