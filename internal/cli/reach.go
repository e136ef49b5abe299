package cli

import (
	"context"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/serve"
)

// answerTime is how long an agent may take to begin an answer that needs no work
// before it counts as hanging; also how long is waited for the next agent. It is
// longer than the keeper ever pauses between two (5s).
const answerTime = 8 * time.Second

func (s *session) dial(t project.Target) *client.Client {
	return client.New(client.Options{
		Socket: t.Paths.Socket, Version: serve.Version(), AnswerTime: answerTime, Patience: answerTime,
		Alive: func() bool { _, held := agent.LockHolder(t.Paths); return held },
		SkewWarning: func(theirs, own string) {
			s.note("warning: the agent is muster %s and this command is %s; `muster upgrade` makes the agent this one, and touches no worker", theirs, own)
		},
	})
}

// connect finds the project and makes a client of its agent. That the agent is
// there shows at the first call.
func (s *session) connect() (*client.Client, project.Target, error) {
	if s.pinned != nil && s.flags.config == "" && s.flags.project == "" {
		return s.dial(*s.pinned), *s.pinned, nil
	}
	t, err := s.line().Find()
	if err != nil {
		return nil, t, err
	}
	return s.dial(t), t, nil
}

// reach makes a client of the project's agent and asks it once, so that an agent
// that hangs does not get an order that waits for ever.
func (s *session) reach(ctx context.Context) (*client.Client, project.Target, error) {
	c, t, err := s.connect()
	if err != nil {
		return nil, t, err
	}
	if _, err := c.Version(ctx); err != nil {
		return nil, t, t.Unreachable(err)
	}
	return c, t, nil
}

// line is what this command line says about the project.
func (s *session) line() project.Line {
	l := project.Line{Config: s.flags.config, Project: s.flags.project, Environ: s.environ}
	if s.pinned != nil && l.Config == "" && l.Project == "" {
		l.Config = s.pinned.File
	}
	return l
}
