package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/pick"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
)

// watchPause is the time between two pictures of `status -w`.
const watchPause = 2 * time.Second

func (s *session) statusCommand() *cobra.Command {
	var all, watch bool
	cmd := &cobra.Command{
		Use: "status [SELECTOR]", Aliases: []string{"ps", "ls"}, Short: "Show what runs, and why something does not",
		Long: "Status lists the apps. With a selector, or with -o wide, it lists their workers. Below the\n" +
			"table it says why something is not well: the last exit, the last line, the next try.\n\n" +
			"Exit code 3 when no agent runs, or when an app that should run is not healthy; 5 when the\n" +
			"agent does not answer. With -o wide it tells of agent and keeper, too.",
		Example: "  muster status\n  muster status web\n  muster status --json\n  muster ps --all-projects",
		Args:    usage.Between(0, 1, "one SELECTOR"),
		RunE: func(cmd *cobra.Command, args []string) error {
			picture := func(ctx context.Context) error { return s.status(ctx, args) }
			if all {
				picture = s.statusAll
			}
			if watch {
				ctx, cancel := interruptible(cmd.Context())
				defer cancel()
				return s.out.Repeat(ctx, watchPause, picture)
			}
			return picture(cmd.Context())
		},
		ValidArgsFunction: s.completeSelectors,
	}
	cmd.Flags().BoolVar(&all, "all-projects", false, "list every agent of this user")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again every 2s until Ctrl-C")
	return cmd
}

func (s *session) status(ctx context.Context, args []string) error {
	c, t, err := s.connect()
	if err != nil {
		return t.NotRunning(err)
	}
	st, err := c.Status(ctx)
	if err != nil {
		return t.NotRunning(err)
	}
	if len(args) == 1 {
		if st.Apps, err = pick.Choose(st.Apps, args[0]); err != nil {
			return err
		}
	}
	if err := s.showStatus(st, len(args) == 1); err != nil {
		return err
	}
	if pick.Unwell(st.Apps, len(args) == 1) {
		return status(3)
	}
	return nil
}

func (s *session) showStatus(st api.Status, workers bool) error {
	if done, err := s.printData(st); done || err != nil {
		return err
	}
	if s.format() == show.FormatName {
		s.printNames(st.Apps, workers)
		return nil
	}
	v := show.Status{Printer: s.out, Now: time.Now(), Wide: s.format() == show.FormatWide}
	if len(st.Apps) == 0 {
		s.note("%s has no apps (agent %d)", st.Project, st.AgentPID)
		return nil
	}
	if workers || v.Wide {
		v.Workers(st.Apps)
	} else {
		v.Apps(st.Apps)
	}
	v.Reasons(st.Apps)
	if v.Wide {
		v.Muster(st)
	}
	return nil
}

func (s *session) printNames(apps []api.App, workers bool) {
	for _, a := range apps {
		if !workers {
			s.out.Line("%s", a.Name)
			continue
		}
		for _, w := range a.Workers {
			s.out.Line("%s", show.WorkerName(w.App, w.Slot))
		}
	}
}

// statusAll lists the agents of this user.
func (s *session) statusAll(ctx context.Context) error {
	roots := agent.FindRoots(s.environ)
	list := []api.Status{}
	for _, r := range roots.Running() {
		c := s.dial(project.Target{Name: r.Project, File: r.File, Paths: roots.Key(r.Key)})
		st, err := c.Status(ctx)
		if err != nil {
			s.note("warning: %s (muster %d, agent %d) does not answer: %v", r.Project, r.PID, r.AgentPID, err)
			continue
		}
		list = append(list, st)
	}
	if done, err := s.printData(list); done || err != nil {
		return err
	}
	if len(list) == 0 {
		return fault.New(fault.NotRunning, "no agent of this user runs").WithFix("`muster up -d` starts one")
	}
	v := show.Status{Printer: s.out, Now: time.Now()}
	v.Projects(list)
	return nil
}
