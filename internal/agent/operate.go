package agent

import (
	"context"
	"os"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/metrics"
	"github.com/muster-run/muster/internal/operations"
	"github.com/muster-run/muster/internal/process"
)

// buildOperations makes what processes ask of each other; the supervisor's workers
// enter there.
func (a *Agent) buildOperations(store process.Store) error {
	epoch := 1
	if a.keeper != nil {
		epoch = a.keeper.Hello.Agents
	}
	var err error
	a.operations, err = operations.New(operations.Options{
		Project: a.opts.Spec.Project, Node: a.opts.Node, Agent: os.Getpid(), Epoch: epoch,
		Files: store, Events: a.events, Log: a.opts.Log,
	})
	if err != nil {
		return err
	}
	a.undo("operations", func() error { a.operations.Close(); return nil })
	return nil
}

// beginOperations lets through what workers order, once there is a supervisor.
func (a *Agent) beginOperations() {
	a.operations.Begin(operations.Home{
		Apps: a.supervisor, Status: a.Status, StopApp: a.stopApp, StopAgent: a.stopAgent, ReloadConfig: a.loadAnew,
	})
}

// countOperations is for the metrics.
func (a *Agent) countOperations() metrics.Operations {
	all := a.operations.Counts()
	x, p := all.Exchange, all.Primitives
	return metrics.Operations{
		Parties: x.Parties, Joined: x.Joined, Damaged: all.Damaged,
		InUse: map[string]int{
			"subscriptions": x.Subscriptions, "listens": x.Listens, "commands": x.Commands, "requests": x.UnderWay,
			"limiters": p.Limiters, "locks": p.Locks, "lock_waiters": p.Waiting, "counters": p.Counters, "caches": p.CacheUses,
		},
		Ended: map[string]uint64{
			"answered": x.Answered, "refused": x.Refused, "deadline": x.Deadlines, "cancelled": x.Cancelled, "gone": x.PeersGone,
		},
		Heard: map[string]uint64{
			"all": x.Heard, "served": x.Served, "published": x.Published, "bad": x.Bad, "failed": x.Panics, "unknown": x.Unknown, "late": x.Late, "doubtful": x.Doubtful,
		},
		Sent: map[string]uint64{"passed": x.Passed, "received": x.Received, "replies": x.Replies, "missed": x.Missed, "lost": x.Lost},
	}
}

// loadAnew reads the configuration and applies it; one that is not valid changes
// nothing.
func (a *Agent) loadAnew(ctx context.Context) error {
	if a.opts.Load == nil {
		return fault.New(fault.Usage, "there is no configuration to read again: it was given on the command line")
	}
	s, err := a.opts.Load()
	if err != nil {
		return err
	}
	if f := a.Apply(ctx, s).Outcome.Fault(); f != nil {
		return f
	}
	return nil
}
