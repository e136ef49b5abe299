package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/talk"
	"github.com/muster-run/muster/internal/cli/usage"
)

// upgradeTime bounds the wait for the next agent: the keeper gives it 30s, and
// then the one before time to begin.
const upgradeTime = 60 * time.Second

func (s *session) upgradeCommand() *cobra.Command {
	timeout := upgradeTime
	cmd := &cobra.Command{
		Use: "upgrade [BINARY]", Short: "Replace the agent by a new version, no worker touched",
		Long: "Upgrade makes another binary the agent: by default this one. It is asked first whether it\n" +
			"can take over; then the agent leaves and the new one goes on with the same workers,\n" +
			"listeners and logs. If that one does not come up, the agent before runs again (exit code 1).\n" +
			"The keeper stays the program it was until the next `muster down`.\n\n" +
			"SIGUSR2 to muster does the same with what lies where muster was started from.",
		Example: "  muster upgrade\n  muster upgrade /opt/muster-1.4/muster",
		Args:    usage.Between(0, 1, "one BINARY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			binary, err := newBinary(args)
			if err != nil {
				return err
			}
			ctx, cancel := interruptible(cmd.Context())
			defer cancel()
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
			if s.pinned != nil {
				s.note("this console stays muster %s; leave it and open another for the new one", serve.Version())
			}
			return s.upgrade(ctx, binary)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", upgradeTime, "stop waiting after this time, exit code 124")
	return cmd
}

func newBinary(args []string) (string, error) {
	if len(args) == 1 {
		return filepath.Abs(args[0])
	}
	own, err := os.Executable()
	if err != nil {
		return "", fault.New(fault.UpgradeFailed, "the path of this program is not known: %w", err).WithFix("name the new binary: `muster upgrade BINARY`")
	}
	return filepath.Clean(own), nil
}

// upgrade asks for it and waits until the next agent says how it went.
func (s *session) upgrade(ctx context.Context, binary string) error {
	c, t, err := s.reach(ctx)
	if err != nil {
		return err
	}
	before, err := c.Status(ctx)
	if err != nil {
		return t.Unreachable(err)
	}
	planned, err := c.Upgrade(ctx, api.UpgradeRequest{Binary: binary})
	if fault.CodeOf(err) == fault.AgentUnreachable { // it left before the answer was out
		planned, err = api.Upgrade{Time: before.AgentStartedAt}, nil
	}
	if err != nil {
		return err
	}
	now, err := talk.Upgraded(ctx, c, before, planned)
	if err != nil {
		return t.Unreachable(err)
	}
	if now.Upgrade.Fault != nil {
		return now.Upgrade.Fault
	}
	if done, err := s.printData(now.Upgrade); done || err != nil {
		return err
	}
	s.out.Line("agent %d (%s) → %d (%s), %s untouched", before.AgentPID, before.Version, now.AgentPID, now.Version,
		show.Count(talk.Processes(now), "worker"))
	return nil
}
