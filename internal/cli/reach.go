package cli

import (
	"context"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/serve"
)

// answerTime is how long an agent may take to begin an answer that needs no work
// before it counts as hanging.
const answerTime = 5 * time.Second

func (s *session) dial(t target) *client.Client {
	return client.New(client.Options{
		Socket: t.paths.Socket, Version: serve.Version(), AnswerTime: answerTime,
		Alive: func() bool { _, held := agent.LockHolder(t.paths); return held },
		SkewWarning: func(theirs, own string) {
			s.note("warning: the agent is muster %s and this command is %s; `muster upgrade` makes the agent this one, and touches no worker", theirs, own)
		},
	})
}

// reach makes a client of the project's agent and asks it once, so that an agent
// that hangs does not get an order that waits for ever.
func (s *session) reach(ctx context.Context) (*client.Client, target, error) {
	c, t, err := s.connect()
	if err != nil {
		return nil, t, err
	}
	if _, err := c.Version(ctx); err != nil {
		return nil, t, t.unreachable(err)
	}
	return c, t, nil
}

// unreachable says in the project's words that no agent answered; other errors
// stay as they are.
func (t target) unreachable(err error) error {
	if fault.CodeOf(err) != fault.AgentUnreachable || t.paths.Lock == "" {
		return err
	}
	pid, held := agent.LockHolder(t.paths)
	rec, known := t.paths.Recorded()
	switch {
	case held && known && rec.PID == pid && rec.AgentPID != pid:
		return fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) does not answer; its keeper (pid %d) lives, and what runs is untouched",
			t.name, rec.AgentPID, pid).
			At(t.paths.Socket).WithFix("try again in a moment; if it hangs, kill -9 its pid: the keeper starts another; its log is " + t.paths.Log)
	case held:
		return fault.New(fault.AgentUnreachable, "the agent of project %s (pid %d) does not answer", t.name, pid).
			At(t.paths.Socket).WithFix("it may just be starting or ending: try again; its log is " + t.paths.Log)
	case known:
		return fault.New(fault.AgentUnreachable, "no agent runs for project %s: muster (pid %d) was killed", t.name, rec.PID).
			WithFix("`muster up -d` ends what it has left and starts everything again; its log is " + t.paths.Log)
	}
	return noAgent("no agent runs for project " + t.name)
}

// notRunning is unreachable for commands that look: exit code 3 instead of 5.
func (t target) notRunning(err error) error {
	f := fault.From(t.unreachable(err))
	if f.Code != fault.AgentUnreachable {
		return err
	}
	if _, held := agent.LockHolder(t.paths); held && t.paths.Lock != "" {
		return f // it runs, and hangs
	}
	return fault.New(fault.NotRunning, "%s", f.Text).At(f.Where).WithFix(f.Fix)
}

// broken is what a command says whose order, given since, has lost its agent. An
// agent that was started again meanwhile goes on with what the one before it had
// begun.
func (t target) broken(ctx context.Context, c *client.Client, since time.Time, err error) error {
	if fault.CodeOf(err) != fault.AgentUnreachable {
		return err
	}
	st, failed := c.Status(ctx)
	if failed != nil || !st.AgentStartedAt.After(since) || st.AgentStarts < 2 {
		return t.unreachable(err)
	}
	return fault.New(fault.AgentUnreachable, "the agent went away while it carried this out; agent %d has taken over, and what was begun goes on", st.AgentPID).
		WithFix("`muster status` and `muster events` show how it ends; what had not begun yet is to be ordered again")
}
