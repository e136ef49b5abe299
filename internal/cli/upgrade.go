package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/cli/show"
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
		Args:    between(0, 1, "one BINARY"),
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
	now, err := upgraded(ctx, c, before, planned)
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
		show.Count(processes(now), "worker"))
	return nil
}

// upgraded waits for the status of an agent that knows how the upgrade went. The
// keeper tells every agent of the last one: where one that began later does not
// know it, the one before was killed before it could hand over.
func upgraded(ctx context.Context, c *client.Client, before api.Status, planned api.Upgrade) (now api.Status, err error) {
	err = project.Poll(ctx, func() (bool, error) {
		now, err = c.Status(ctx)
		if fault.CodeOf(err) == fault.AgentUnreachable {
			return false, nil // between two agents
		}
		known := now.Upgrade != nil && !now.Upgrade.Time.Before(planned.Time)
		if err == nil && !known && now.AgentPID != before.AgentPID && now.AgentStartedAt.After(planned.Time) {
			return false, fault.New(fault.UpgradeFailed, "agent %d ended before it handed over, and agent %d (%s) has taken over as after any end",
				before.AgentPID, now.AgentPID, now.Version).WithFix("`muster upgrade` again")
		}
		return err == nil && known && now.AgentPID != before.AgentPID, err
	})
	return now, err
}

// processes counts the workers that run.
func processes(st api.Status) int {
	n := 0
	for _, a := range st.Apps {
		for _, w := range a.Workers {
			if w.PID != 0 {
				n++
			}
		}
	}
	return n
}
