package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/spec"
)

// upFlags are those of `up`.
type upFlags struct {
	orderFlags
	detach, dryRun, yes, saved bool
}

func (s *session) upCommand() *cobra.Command {
	flags := &upFlags{}
	cmd := &cobra.Command{
		Use: "up", Short: "Run the apps of muster.yaml",
		Long: "Up runs the apps of muster.yaml in the foreground, or with -d in the background. Where\n" +
			"an agent runs them already, it shows what differs and applies it: changed apps are\n" +
			"reloaded without losing a request. It waits until every app is ready or has failed.",
		Example: "  muster up\n  muster up -d\n  muster up --dry-run",
		Args:    usage.Exactly(0, "nothing; -c names another file"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.saved {
				return s.upSaved(cmd.Context(), flags)
			}
			loaded, err := s.line().Load()
			if s.resume {
				loaded, err = s.resumed(loaded, err)
			} else if err == nil {
				err = launch.CheckAll(loaded.Spec, s.warn)
			}
			if err != nil {
				return err
			}
			return s.up(cmd.Context(), flags, loaded)
		},
	}
	flags.register(cmd)
	s.serveFlags(cmd)
	cmd.Flags().BoolVarP(&flags.detach, "detach", "d", false, "run the agent in the background")
	cmd.Flags().BoolVar(&flags.dryRun, "dry-run", false, "only show what would change")
	cmd.Flags().BoolVar(&s.resume, "resume", false, "begin as it was left: with the sizes and stops that were made by hand")
	cmd.Flags().BoolVar(&flags.saved, "saved", false, "start in the background what was marked by muster save")
	cmd.Flags().BoolVarP(&flags.yes, "yes", "y", false, "do not ask before apps are removed, or what a killed muster left is ended")
	return cmd
}

// up becomes the agent, starts one, or is a client of the one that runs.
func (s *session) up(ctx context.Context, flags *upFlags, loaded *config.Loaded) error {
	t := s.line().Of(loaded)
	_, running := agent.LockHolder(t.Paths)
	switch {
	case flags.dryRun && !running:
		return s.showChanges(spec.Diff(spec.Spec{Project: t.Name, File: loaded.File, Control: loaded.Spec.Control}, loaded.Spec))
	case running:
		return s.update(ctx, flags, t, loaded.Spec)
	case !flags.detach:
		if err := s.notHere("`up` in the foreground", "`up -d` starts muster in the background"); err != nil {
			return err
		}
	}
	asking, cancel := interruptible(ctx)
	err := s.leftovers(asking, t, flags.yes)
	cancel()
	switch {
	case err != nil:
		return err
	case flags.detach:
		return s.background(ctx, flags, t, loaded)
	}
	return s.foreground(ctx, loaded)
}

// update shows the difference to what runs, asks where apps would go, applies
// it and prints what came of it.
func (s *session) update(ctx context.Context, flags *upFlags, t project.Target, wanted spec.Spec) error {
	ctx, cancel := interruptible(ctx)
	defer cancel()
	c := s.dial(t)
	changes, err := c.Diff(ctx, wanted)
	if err != nil {
		return t.Unreachable(err)
	}
	if flags.dryRun {
		return s.showChanges(changes)
	}
	if len(changes) == 0 {
		// What was stopped is started all the same, and a task runs again.
		s.note("no changes")
	}
	show.Changes(s.err, changes)
	if err := s.confirm(ctx, flags, changes); err != nil {
		return err
	}
	return s.apply(ctx, flags, t, wanted)
}

// apply hands the spec to the agent and prints the result and the status.
func (s *session) apply(ctx context.Context, flags *upFlags, t project.Target, wanted spec.Spec) error {
	ctx, cancel := flags.bounded(ctx)
	defer cancel()
	c := s.dial(t)
	o := order{
		verb: "apply", doing: "applying", goal: event.Ready,
		call: func(c *client.Client, ctx context.Context, _ api.Order) (api.Outcome, error) {
			r, err := c.Apply(ctx, wanted)
			return r.Outcome, err
		},
	}
	stop, since := s.follow(ctx, c, o.progress()), time.Now()
	outcome, err := o.run(ctx, c, flags.wait)
	stop()
	if err != nil {
		return t.Broken(ctx, c, since, err)
	}
	if s.format() != show.FormatTable && s.format() != show.FormatWide {
		return s.report(outcome, "")
	}
	return s.applied(ctx, c, outcome)
}

// applied prints the table; faults come behind it, so that they are seen.
func (s *session) applied(ctx context.Context, c *client.Client, outcome api.Outcome) error {
	st, err := c.Status(ctx)
	if err == nil && !s.flags.quiet {
		v := show.Status{Printer: s.out, Now: time.Now(), Wide: s.format() == show.FormatWide}
		v.Applied(st.Apps)
	}
	return s.report(show.Failures(outcome), "muster status; muster logs -f")
}

// confirm asks on a terminal before apps are removed.
func (s *session) confirm(ctx context.Context, flags *upFlags, changes []spec.Change) error {
	var gone []string
	for _, c := range changes {
		if c.Action == spec.RemoveApp {
			gone = append(gone, c.App)
		}
	}
	if len(gone) == 0 || flags.yes || s.flags.noInput || !s.onTerminal() {
		return nil
	}
	return s.ask(ctx, "stop and remove "+strings.Join(gone, ", ")+"?", false)
}

// background starts an agent of its own session and hands it the spec.
func (s *session) background(ctx context.Context, flags *upFlags, t project.Target, loaded *config.Loaded) error {
	ctx, cancel := interruptible(ctx)
	defer cancel()
	b := s.boot(loaded)
	if !s.resume {
		b.Spec.Apps = nil // they are applied over the API, with progress
	}
	b.Background, b.Rereads = true, true
	pid, err := s.start(b).Background(ctx)
	if fault.CodeOf(err) == fault.AgentRunning { // another `up` was faster
		return s.join(ctx, flags, t, loaded.Spec)
	}
	if err != nil {
		return err
	}
	s.note("muster %d runs %s in the background, its log is %s", pid, t.Name, t.Paths.Log)
	if s.resume {
		return nil
	}
	return s.apply(ctx, flags, t, loaded.Spec)
}

// join gives the order to an agent that another command is just starting.
func (s *session) join(ctx context.Context, flags *upFlags, t project.Target, wanted spec.Spec) error {
	starting, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_ = project.Poll(starting, func() (bool, error) { // where it never answers, apply says so
		_, err := s.dial(t).Status(starting)
		return err == nil, nil
	})
	return s.apply(ctx, flags, t, wanted)
}
