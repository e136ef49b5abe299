package boot

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/show"
)

// write puts the unit in its place, enables it and, with --now, starts it.
func (i *install) write(ctx context.Context, f flags) error {
	if err := i.systemd.check(); err != nil {
		return err
	}
	u, err := i.unit()
	if err != nil && (!f.force || fault.CodeOf(err) != fault.Config) {
		return err
	}
	if err := i.startable(ctx, f); err != nil {
		return err
	}
	if err := i.replace(u.text(), f.force); err != nil {
		return err
	}
	if err := i.enable(ctx); err != nil {
		return err
	}
	return i.start(ctx, f)
}

// startable refuses --now where it cannot work, before anything is written.
func (i *install) startable(ctx context.Context, f flags) error {
	if !f.now {
		return nil
	}
	if !i.systemd.up() {
		return fault.New(fault.Startup, "systemd does not run here, so nothing can be started now").
			WithFix("without --now the unit is only enabled, for the next boot")
	}
	if pid, ours := i.running(ctx); pid != 0 && !ours {
		return fault.New(fault.AgentRunning, "an agent (pid %d) runs %s already, outside of the unit", pid, i.project.spec.Project).
			WithFix("`muster down`, then again; or without --now: the unit takes over at the next boot")
	}
	return nil
}

// replace writes the file in one step and shows what is different.
func (i *install) replace(text string, force bool) error {
	old, err := i.ours(force)
	if err != nil {
		return err
	}
	if old == text {
		i.line.note("%s is up to date", i.path)
		return nil
	}
	for _, line := range difference(old, text) {
		i.line.note("%s", i.line.Err.Paint(inkOf(line), line))
	}
	if err := os.MkdirAll(filepath.Dir(i.path), 0o755); err != nil {
		return fault.New(fault.Startup, "cannot create the directory of the unit: %w", err)
	}
	next := i.path + ".muster-new"
	if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
		return errors.Join(fault.New(fault.Startup, "cannot write the unit: %w", err), os.Remove(next))
	}
	if err := os.Rename(next, i.path); err != nil {
		return fault.New(fault.Startup, "cannot write the unit: %w", err)
	}
	i.line.Out.Line("wrote %s", i.path)
	return nil
}

func inkOf(line string) show.Ink {
	if line[0] == '-' {
		return show.Red
	}
	return show.Green
}

// ours is the text of the present unit, "" without one, and refuses what is not
// to be replaced.
func (i *install) ours(force bool) (string, error) {
	text, err := os.ReadFile(i.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fault.New(fault.Startup, "cannot read the present unit: %w", err)
	}
	written, unchanged := authorship(string(text))
	switch {
	case force || unchanged:
		return string(text), nil
	case written:
		return "", fault.New(fault.Startup, "the unit was changed since muster wrote it").At(i.path).
			WithFix("move the change into `systemctl edit " + i.name + "`, then --force")
	}
	return "", fault.New(fault.Startup, "the unit was not written by muster").At(i.path).
		WithFix("give another name (muster startup systemd NAME), or --force")
}

func (i *install) enable(ctx context.Context) error {
	ctx, cancel := bounded(ctx)
	defer cancel()
	service := i.name + ".service"
	if i.systemd.up() {
		if err := i.systemd.control(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	if err := i.systemd.control(ctx, "enable", "--quiet", service); err != nil {
		return err
	}
	i.line.Out.Line("enabled: %s starts at boot", service)
	if i.systemd.user {
		i.line.note("without `loginctl enable-linger` your systemd starts at your login, not at boot")
	}
	return nil
}

// start starts it with --now, else says how. What runs already is left alone.
func (i *install) start(ctx context.Context, f flags) error {
	command, service := "systemctl", i.name+".service"
	if i.systemd.user {
		command += " --user"
	}
	pid, ours := i.running(ctx)
	switch {
	case ours:
		i.line.note("it runs already; a changed unit counts from the next `%s restart %s`", command, i.name)
		return nil
	case f.now:
		if err := i.systemd.control(ctx, "start", service); err != nil {
			return fault.From(err).WithFix("journalctl -u " + i.name + " -n 50")
		}
		i.line.Out.Line("started")
		return nil
	case pid != 0:
		i.line.note("agent %d runs the project now; at the next boot the unit does", pid)
		return nil
	}
	i.line.note("next: %s start %s", command, i.name)
	return nil
}

// remove undoes what write has done.
func (i *install) remove(ctx context.Context, f flags) error {
	if !exists(i.path) {
		i.line.note("there is no %s", i.path)
		return nil
	}
	if _, err := i.ours(f.force); err != nil {
		return err
	}
	if err := i.systemd.check(); err != nil {
		return err
	}
	service := i.name + ".service"
	if f.now && i.systemd.up() {
		if err := i.systemd.control(ctx, "stop", service); err != nil {
			return err
		}
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	if err := i.systemd.control(ctx, "disable", "--quiet", service); err != nil {
		return err
	}
	if err := os.Remove(i.path); err != nil {
		return fault.New(fault.Startup, "cannot remove the unit: %w", err)
	}
	if i.systemd.up() {
		if err := i.systemd.control(ctx, "daemon-reload"); err != nil {
			return err
		}
	}
	i.line.Out.Line("removed %s", i.path)
	if exists(i.path + ".d") {
		i.line.note("your own settings in %s.d are left", i.path)
	}
	return nil
}
