package boot

import (
	"context"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/saved"
	"github.com/muster-run/muster/spec"
)

// Asker is the agent of a project, as the control API shows it.
type Asker interface {
	// Spec is what is declared now, with its secrets.
	Spec(ctx context.Context, secrets bool) (spec.Spec, error)
	Status(ctx context.Context) (api.Status, error)
}

// Running is a project whose agent runs.
type Running struct {
	Agent Asker
	// Key names the project's directories.
	Key string
	// Lost says in the project's words that no agent answers; others stay.
	Lost func(error) error
}

// Save is the command `muster save`. find names the project of the command line,
// all every project of this user; only those that run are found.
func Save(l Line, find func() (Running, error), all func() []Running) *cobra.Command {
	var everything, remove bool
	cmd := &cobra.Command{
		Use: "save", Short: "Mark what runs to be started by `up --saved`",
		Long: "Save marks the project that runs here, so that `muster up --saved` starts it: one command\n" +
			"for the boot of a host without systemd (cron: @reboot), or for several projects at once.\n" +
			"What was scaled or stopped by hand since then is kept without a new save. Of a project of\n" +
			"`muster run`, which has no file, it writes down the command and its environment, so that\n" +
			"`muster startup systemd --project NAME` can start it, too. `muster down` ends a project\n" +
			"for good: it is not started until it has been started again by hand.",
		Example: "  muster save\n  muster save --all-projects\n  muster save --remove",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fault.New(fault.Usage, "`muster save` takes no arguments, and got %q", args[0]).WithFix("--project NAME chooses a project")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case remove:
				return l.unmark(everything)
			case everything:
				return l.saveAll(cmd.Context(), all())
			}
			r, err := find()
			if err != nil {
				return err
			}
			return l.save(cmd.Context(), r)
		},
	}
	cmd.Flags().BoolVar(&everything, "all-projects", false, "every project of this user that runs")
	cmd.Flags().BoolVar(&remove, "remove", false, "take the mark away; of `muster run`, forget everything")
	return cmd
}

func (l Line) saveAll(ctx context.Context, running []Running) error {
	if len(running) == 0 {
		return fault.New(fault.NotRunning, "no agent runs, so there is nothing to save")
	}
	for _, r := range running {
		if err := l.save(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (l Line) save(ctx context.Context, r Running) error {
	now, err := r.Agent.Spec(ctx, true)
	if err != nil {
		return r.Lost(err)
	}
	st, err := r.Agent.Status(ctx)
	if err != nil {
		return r.Lost(err)
	}
	roots := agent.FindRoots(l.Environ)
	err = saved.Update(roots.Key(r.Key).State, func(p *saved.Project) bool {
		if now.File == "" || p.Dir == "" { // else the agent keeps it
			p.Spec, p.Dir, p.Stopped = now, home(roots, r.Key), stoppedApps(st)
			if now.File != "" {
				p.Spec.Environ = nil
			}
		}
		p.Boot, p.Ended, p.Version, p.SavedAt = true, false, l.Version, time.Now().UTC()
		return true
	})
	if err != nil {
		return err
	}
	l.Out.Line("%s is saved: `muster up --saved` starts it", now.Project)
	l.note("under systemd: `muster startup systemd` gives it a unit of its own")
	return nil
}

// home is the directory that the running project with that key belongs to.
func home(roots agent.Roots, key string) string {
	for _, r := range roots.Running() {
		if r.Key == key {
			return r.Dir
		}
	}
	return ""
}

// stoppedApps are those that an order has stopped, as far as a status tells.
func stoppedApps(st api.Status) []string {
	var names []string
	for _, app := range st.Apps {
		if app.Status == event.AppStopped && app.Wanted > 0 && app.Type != spec.Task && !endedItself(app) {
			names = append(names, app.Name)
		}
	}
	slices.Sort(names)
	return names
}

func endedItself(app api.App) bool {
	return slices.ContainsFunc(app.Workers, func(w api.Worker) bool { return w.LastExit != nil && !w.LastExit.Planned })
}

// unmark takes the mark of `save` away. Of a project without a file nothing else
// would keep what was saved.
func (l Line) unmark(everything bool) error {
	entries := slices.DeleteFunc(l.all(), func(e saved.Listed) bool { return !e.Boot })
	if !everything {
		key, err := l.key()
		if err != nil {
			return err
		}
		entries = slices.DeleteFunc(entries, func(e saved.Listed) bool { return e.Key != key })
	}
	if len(entries) == 0 {
		l.note("nothing was saved")
	}
	for _, e := range entries {
		if err := l.forget(e); err != nil {
			return err
		}
		l.Out.Line("%s is not started by `muster up --saved` any more", e.Spec.Project)
	}
	return nil
}
