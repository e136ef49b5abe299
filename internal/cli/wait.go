package cli

import (
	"context"
	"time"

	"github.com/muster-run/muster/internal/agent"
)

// pollPause is the time between two looks at something that tells nobody when
// it changes.
const pollPause = 20 * time.Millisecond

// poll asks done until it says true or ctx ends.
func poll(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(pollPause)
	defer tick.Stop()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// gone waits until the agent of the project has given its lock back.
func (t target) gone(ctx context.Context) error {
	return poll(ctx, func() (bool, error) {
		_, held := agent.LockHolder(t.paths)
		return !held, nil
	})
}
