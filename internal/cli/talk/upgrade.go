package talk

import (
	"context"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/project"
)

// Upgraded waits for the status of an agent that knows how the upgrade went. The
// keeper tells every agent of the last one: where one that began later does not
// know it, the one before was killed before it could hand over.
func Upgraded(ctx context.Context, c *client.Client, before api.Status, planned api.Upgrade) (now api.Status, err error) {
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

// Processes counts the workers that run.
func Processes(st api.Status) int {
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
