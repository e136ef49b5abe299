package boot

import (
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// unitName is what systemd allows, without the ending.
var unitName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9:_.@-]{0,200}$`)

// flags of `startup`.
type flags struct {
	user, print, remove, now, force bool
}

// Startup is the command `muster startup`.
func Startup(l Line) *cobra.Command {
	var f flags
	cmd := &cobra.Command{
		Use: "startup systemd [NAME]", Short: "Start a project at boot",
		Long: "Startup writes a systemd unit for the project and enables it, so that what ran starts\n" +
			"again after a reboot: as muster.yaml says, with the sizes of `muster scale` and without\n" +
			"the apps that were stopped by hand. NAME is that of the unit (default: muster-PROJECT).\n" +
			"It shows what it changes and never replaces a unit that somebody else has written. The\n" +
			"unit takes PATH from your environment and nothing else: what muster.yaml needs besides\n" +
			"belongs into .env, an env_file:, or `systemctl edit NAME`.",
		Example: "  sudo muster startup systemd -c /srv/shop/muster.yaml --now\n  muster startup systemd --user\n" +
			"  muster startup systemd --print\n  sudo muster startup systemd --remove",
		Args: func(cmd *cobra.Command, args []string) error { return initSystem(args) },
		RunE: func(cmd *cobra.Command, args []string) error { return l.startup(cmd.Context(), f, args[1:]) },
	}
	cmd.Flags().BoolVar(&f.user, "user", false, "a unit of your own systemd instead of the system's")
	cmd.Flags().BoolVar(&f.print, "print", false, "only print the unit")
	cmd.Flags().BoolVar(&f.print, "dry-run", false, "the same as --print")
	cmd.Flags().BoolVar(&f.now, "now", false, "also start it now (with --remove: stop it)")
	cmd.Flags().BoolVar(&f.remove, "remove", false, "disable the unit and remove it")
	cmd.Flags().BoolVar(&f.force, "force", false, "replace or remove a unit that muster did not write, or that was changed")
	return cmd
}

// initSystem wants the name of one that is known.
func initSystem(args []string) error {
	const fix = "usage: muster startup systemd [NAME]"
	switch {
	case len(args) == 0:
		return fault.New(fault.Usage, "`muster startup` needs the name of the init system: systemd").WithFix(fix)
	case args[0] != "systemd":
		return fault.New(fault.Startup, "muster writes units for systemd, and none for %q", args[0]).
			WithFix("let " + args[0] + " run `muster up --resume -c FILE` in the foreground, or at boot once `muster up --saved`")
	case len(args) > 2:
		return fault.New(fault.Usage, "`muster startup systemd` got %q beyond the name of the unit", args[2]).WithFix(fix)
	}
	if len(args) == 2 && !unitName.MatchString(strings.TrimSuffix(args[1], ".service")) {
		return fault.New(fault.Usage, "%q is no name of a unit", args[1]).WithFix("use letters, digits and any of : _ . @ -")
	}
	return nil
}

func (l Line) startup(ctx context.Context, f flags, names []string) error {
	d := systemd{user: f.user, environ: l.Environ}
	if !f.user && !f.print && os.Getuid() != 0 {
		return fault.New(fault.Denied, "a unit of the system is root's to write").
			WithFix("sudo muster startup systemd …, or --user for a unit of your own")
	}
	p, err := l.find()
	if err != nil {
		return err
	}
	name := "muster-" + p.spec.Project
	if len(names) > 0 {
		name = strings.TrimSuffix(names[0], ".service")
	}
	i, err := newInstall(l, d, name, p)
	if err != nil {
		return err
	}
	switch {
	case f.print:
		return l.print(i)
	case f.remove:
		return i.remove(ctx, f)
	}
	return i.write(ctx, f)
}

func (l Line) print(i *install) error {
	u, err := i.unit()
	if err == nil {
		l.Out.Printf("%s", u.text())
	}
	return err
}

// install is one unit in its place.
type install struct {
	line    Line
	systemd systemd
	project project
	name    string
	path    string
}

func newInstall(l Line, d systemd, name string, p project) (*install, error) {
	dir, err := d.dir()
	if err != nil {
		return nil, err
	}
	return &install{l, d, p, name, filepath.Join(dir, name+".service")}, nil
}

// unit makes the unit, and checks that the configuration loads with what it gives.
func (i *install) unit() (unit, error) {
	path, err := program()
	if err != nil {
		return unit{}, err
	}
	u := unit{
		name: i.name, project: i.project.spec.Project, program: path, file: i.project.spec.File, dir: i.project.dir,
		user: i.systemd.user, environ: i.environ(), stop: stopTime(i.project.spec),
	}
	for _, text := range append([]string{u.program, u.file, u.dir}, u.environ...) {
		if strings.ContainsAny(text, "\n\r\x00") {
			return u, fault.New(fault.Startup, "a unit cannot hold a line end: %q", text).WithFix("rename it")
		}
	}
	if u.file == "" {
		u.project = i.project.paths.Key // of one name there may be several
		return u, nil
	}
	return u, i.checkEnvironment(u)
}

// environ is what the unit cannot do without: where programs are, and where this
// project's directories are when not in their usual place.
func (i *install) environ() []string {
	own := i.line.Environ
	var list []string
	if path := agent.Variable(own, "PATH"); path != "" {
		list = append(list, "PATH="+path)
	}
	bare := []string{"HOME=" + agent.Variable(own, "HOME")}
	if i.systemd.user {
		bare = append(bare, "XDG_RUNTIME_DIR="+agent.Variable(own, "XDG_RUNTIME_DIR"))
	}
	mine, usual := agent.FindRoots(own), agent.FindRoots(bare)
	if mine.State != usual.State {
		list = append(list, "MUSTER_STATE_DIR="+mine.State)
	}
	if mine.Runtime != usual.Runtime {
		list = append(list, "MUSTER_RUNTIME_DIR="+mine.Runtime)
	}
	for _, name := range []string{"MUSTER_NO_CGROUP", "MUSTER_NO_KEEPER"} {
		if v := agent.Variable(own, name); v != "" {
			list = append(list, name+"="+v)
		}
	}
	return list
}

// checkEnvironment loads the configuration as the unit will: what only the
// caller's shell gives would be missing at boot, at night.
func (i *install) checkEnvironment(u unit) error {
	environ := append([]string{}, u.environ...)
	for _, name := range []string{"HOME", "USER", "LOGNAME", "SHELL", "LANG", "XDG_RUNTIME_DIR"} {
		if v := agent.Variable(i.line.Environ, name); v != "" {
			environ = append(environ, name+"="+v)
		}
	}
	fix := "put what is missing into " + filepath.Join(u.dir, ".env") + ", or (--force) into `systemctl edit " + u.name + "`"
	loaded, err := i.line.load(u.file, environ)
	if err != nil {
		f := *fault.From(err)
		f.Text = "in the unit's environment the configuration is not valid: " + f.Text
		return f.WithFix(fix)
	}
	if changes := i.lost(loaded); len(changes) > 0 {
		i.line.warn(fault.New(fault.Config, "these values come from your shell, and will be others under systemd").At(u.file).WithFix(fix))
		show.Changes(i.line.Err, changes)
	}
	return nil
}

func (i *install) lost(loaded *config.Loaded) []spec.Change {
	here, there := i.project.spec, loaded.Spec
	here.Environ, there.Environ = nil, nil
	return spec.Diff(here, there)
}

// running is the pid of an agent that the unit does not know.
func (i *install) running(ctx context.Context) (pid int, ours bool) {
	pid, held := agent.LockHolder(i.project.paths)
	if !held {
		return 0, false
	}
	return pid, i.systemd.up() && i.systemd.control(ctx, "is-active", "--quiet", i.name+".service") == nil
}

// bounded is the time for one call of systemctl; a start may take as long as the
// apps do.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Minute)
}
