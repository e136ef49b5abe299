package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/boot"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/config"
)

// bootLine is what the commands about the start at boot get of this session.
func (s *session) bootLine() boot.Line {
	return boot.Line{
		Out: s.out, Err: s.err, Environ: s.environ, Version: serve.Version(),
		Config: func() string { return s.flags.config }, Project: func() string { return s.flags.project },
		Quiet: func() bool { return s.flags.quiet },
	}
}

func (s *session) startupCommand() *cobra.Command { return boot.Startup(s.bootLine()) }

func (s *session) saveCommand() *cobra.Command {
	return boot.Save(s.bootLine(), func() (boot.Running, error) {
		c, t, err := s.connect()
		if err != nil {
			return boot.Running{}, t.NotRunning(err)
		}
		return boot.Running{Agent: c, Key: t.Paths.Key, Lost: t.NotRunning}, nil
	}, s.everyProject)
}

// everyProject is each project of this user that runs.
func (s *session) everyProject() []boot.Running {
	var list []boot.Running
	roots := agent.FindRoots(s.environ)
	for _, r := range roots.Running() {
		t := project.Target{Name: r.Project, File: r.File, Paths: roots.Key(r.Key)}
		list = append(list, boot.Running{Agent: s.dial(t), Key: r.Key, Lost: t.NotRunning})
	}
	return list
}

// resumed is what `up --resume` begins with.
func (s *session) resumed(loaded *config.Loaded, err error) (*config.Loaded, error) {
	loaded, err = s.bootLine().Resume(loaded, err)
	if err != nil {
		return nil, err
	}
	t := s.line().Of(loaded)
	if pid, running := agent.LockHolder(t.Paths); running {
		return nil, fault.New(fault.AgentRunning, "an agent (pid %d) runs %s already", pid, t.Name)
	}
	return loaded, nil
}

// upSaved starts in the background what `muster save` has marked.
func (s *session) upSaved(ctx context.Context, flags *upFlags) error {
	flags.detach, s.resume = true, true
	var outcome api.Outcome
	s.bootLine().EachSaved(func(name string, loaded *config.Loaded, err error) {
		result := api.Result{App: name, Text: "started"}
		if err == nil {
			err = s.up(ctx, flags, loaded)
		}
		if err != nil {
			result.Fault = fault.From(err)
		}
		outcome.Results = append(outcome.Results, result)
	})
	return s.report(outcome, "muster status --all-projects")
}
