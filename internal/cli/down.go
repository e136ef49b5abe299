package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/usage"
)

func (s *session) downCommand() *cobra.Command {
	flags := &orderFlags{}
	request := api.StopRequest{Reason: "muster down"}
	cmd := &cobra.Command{
		Use: "down", Short: "Stop everything and end the agent",
		Long: "Down stops all apps in reverse order of depends_on, waits until nothing of them is\n" +
			"left, runs the on_exit hooks, and ends the agent. Exit code 3 when none runs.",
		Args: usage.Exactly(0, "nothing"),
		RunE: func(cmd *cobra.Command, _ []string) error { return s.down(cmd, flags, request) },
	}
	flags.register(cmd)
	_ = cmd.Flags().MarkHidden("wait")
	cmd.Flags().BoolVar(&request.Now, "now", false, "kill at once, without the graceful part")
	cmd.Flags().StringVar(&request.Reason, "reason", request.Reason, "what the hooks and the log are told")
	cmd.Flags().IntVar(&request.ExitCode, "exit-code", 0, "exit code of the agent")
	return cmd
}

func (s *session) down(cmd *cobra.Command, flags *orderFlags, request api.StopRequest) error {
	c, t, err := s.connect()
	if err != nil {
		return t.NotRunning(err)
	}
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	ctx, cancel = flags.bounded(ctx)
	defer cancel()
	pid, err := agentPID(ctx, c)
	if err != nil {
		return t.NotRunning(err)
	}
	p := order{doing: "stopping", goal: event.Stopped}.progress()
	stop := s.follow(ctx, c, p)
	err = t.Shutdown(ctx, c, request)
	stop()
	if err != nil {
		return t.Unreachable(err)
	}
	if err := t.Gone(ctx); err != nil {
		return err
	}
	if !s.flags.quiet {
		s.out.Line("%s is down (agent %d has ended)", t.Name, pid)
	}
	return nil
}

func agentPID(ctx context.Context, c *client.Client) (int, error) {
	a, err := c.Version(ctx)
	return a.PID, err
}
