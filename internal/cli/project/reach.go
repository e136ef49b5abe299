package project

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
)

// Unreachable says in the project's words that no agent answered; other errors
// stay as they are.
func (t Target) Unreachable(err error) error {
	if fault.CodeOf(err) != fault.AgentUnreachable || t.Paths.Lock == "" {
		return err
	}
	pid, held := agent.LockHolder(t.Paths)
	rec, known := t.Paths.Recorded()
	switch {
	case held && known && rec.PID == pid && rec.AgentPID != pid:
		return t.silent(rec)
	case held:
		return fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) does not answer", t.Name, pid).
			At(t.Paths.Socket).WithFix("it may just be starting or ending: try again; its log is " + t.Paths.Log)
	case known:
		return fault.New(fault.AgentUnreachable, "no agent runs for project %s: muster (pid %d) was killed, or gave up", t.Name, rec.PID).
			WithFix("`muster up -d` ends what it has left and starts everything again; its log is " + t.Paths.Log)
	}
	return noAgent("no agent runs for project " + t.Name)
}

// silent says which of agent and keeper are there while the lock is held and
// nobody answers. The agent of the record may be gone and its successor still to
// come: then there is nothing to kill.
func (t Target) silent(rec agent.Record) *fault.Fault {
	f := fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) does not answer; its keeper (pid %d) lives, and what runs is untouched",
		t.Name, rec.AgentPID, rec.PID).
		WithFix("try again in a moment; if it hangs, kill -9 its pid: the keeper starts another; its log is " + t.Paths.Log)
	switch {
	case !lives(rec.PID):
		f = fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) does not answer, and its keeper (pid %d) is gone", t.Name, rec.AgentPID, rec.PID).
			WithFix(fmt.Sprintf("kill -9 %d, then `muster up -d`: it ends what is left and starts everything again; the log is %s", rec.AgentPID, t.Paths.Log))
	case !lives(rec.AgentPID):
		f = fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) is gone; its keeper (pid %d) starts the next one, and what runs is untouched",
			t.Name, rec.AgentPID, rec.PID).
			WithFix("try again in a moment; why agents end says the log, " + t.Paths.Log)
	}
	return f.At(t.Paths.Socket)
}

// lives says that there is a process of this number.
func lives(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// NotRunning is Unreachable for commands that look: exit code 3 instead of 5.
func (t Target) NotRunning(err error) error {
	f := fault.From(t.Unreachable(err))
	if f.Code != fault.AgentUnreachable {
		return err
	}
	if _, held := agent.LockHolder(t.Paths); held && t.Paths.Lock != "" {
		return f // it runs, and hangs
	}
	return fault.New(fault.NotRunning, "%s", f.Text).At(f.Where).WithFix(f.Fix)
}

// Broken is what a command says whose order, given since, has lost its agent. An
// agent that was started again meanwhile goes on with what the one before it had
// begun.
func (t Target) Broken(ctx context.Context, c *client.Client, since time.Time, err error) error {
	if fault.CodeOf(err) != fault.AgentUnreachable {
		return err
	}
	st, failed := c.Status(ctx)
	if failed != nil || !st.AgentStartedAt.After(since) || st.AgentStarts < 2 {
		return t.Unreachable(err)
	}
	return fault.New(fault.AgentUnreachable, "the agent went away while it carried this out; agent %d has taken over, and what was begun goes on", st.AgentPID).
		WithFix("`muster status` and `muster events` show how it ends; what had not begun yet is to be ordered again")
}

// shutdownTries is how many agents Shutdown asks one after the other.
const shutdownTries = 5

// Shutdown asks the agent to end; where it goes away meanwhile, the next one.
func (t Target) Shutdown(ctx context.Context, c *client.Client, request api.StopRequest) error {
	for try := 1; ; try++ {
		err := c.Shutdown(ctx, request)
		if fault.CodeOf(err) != fault.AgentUnreachable {
			return err
		}
		if _, held := agent.LockHolder(t.Paths); !held {
			return nil
		}
		if try == shutdownTries {
			return err
		}
	}
}

// Gone waits until the agent of the project has given its lock back.
func (t Target) Gone(ctx context.Context) error {
	return Poll(ctx, func() (bool, error) {
		_, held := agent.LockHolder(t.Paths)
		return !held, nil
	})
}

// pollPause is the time between two looks at something that tells nobody when
// it changes.
const pollPause = 20 * time.Millisecond

// Poll asks done until it says true or ctx ends.
func Poll(ctx context.Context, done func() (bool, error)) error {
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
