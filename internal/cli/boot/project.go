package boot

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/internal/saved"
	"github.com/muster-run/muster/spec"
)

// Line is what these commands get of the command line. Config and Project are the
// values of -c and --project, known once it has been parsed.
type Line struct {
	Out, Err        *show.Printer
	Environ         []string
	Version         string
	Config, Project func() string
	Quiet           func() bool
}

// note prints a line for people, unless -q was given.
func (l Line) note(format string, args ...any) {
	if !l.Quiet() {
		l.Err.Line(format, args...)
	}
}

// warn prints a fault that stops nothing.
func (l Line) warn(f *fault.Fault) {
	where := f.Where
	if where != "" {
		where += ": "
	}
	l.Err.Line("%s %s%s (%s)", l.Err.Paint(show.Yellow, "warning:"), where, f.Text, f.Code)
	if f.Fix != "" {
		l.Err.Line("  fix: %s", f.Fix)
	}
}

// project is one that is to start at boot.
type project struct {
	spec  spec.Spec
	dir   string
	paths agent.Paths
}

// find names the project: by --project among those that run or were saved, else
// by the configuration file.
func (l Line) find() (project, error) {
	if name := l.Project(); name != "" {
		return l.named(name)
	}
	loaded, err := l.load("", l.Environ)
	if err != nil {
		if errors.Is(err, config.ErrNoFile) {
			return project{}, fault.From(err).WithFix("name the file with -c, or with --project a project of `muster run` that `muster save` has saved")
		}
		return project{}, err
	}
	return project{loaded.Spec, filepath.Dir(loaded.File), l.paths(loaded.Spec, filepath.Dir(loaded.File))}, nil
}

func (l Line) load(path string, environ []string) (*config.Loaded, error) {
	if path == "" {
		path = l.Config()
	}
	return config.Load(config.Options{Path: path, Environ: environ, DotEnv: true})
}

// paths are the places of a project; dir stands for the file where there is none.
func (l Line) paths(s spec.Spec, dir string) agent.Paths {
	origin := s.File
	if origin == "" {
		origin = dir
	}
	return agent.FindRoots(l.Environ).Project(s.Project, origin)
}

// named finds a saved project by its name or key. A project with a file is what
// the file says now.
func (l Line) named(name string) (project, error) {
	entry, err := l.savedAs(func(e saved.Listed) bool { return e.Spec.Project == name || e.Key == name }, "project "+name)
	if err != nil {
		return project{}, err
	}
	p := project{entry.AsDeclared(), entry.Dir, agent.FindRoots(l.Environ).Key(entry.Key)}
	if entry.Spec.File == "" {
		return p, nil
	}
	loaded, err := l.load(entry.Spec.File, l.Environ)
	if err != nil {
		return p, err
	}
	p.spec = loaded.Spec
	return p, nil
}

// savedAs is the one saved project that matches.
func (l Line) savedAs(match func(saved.Listed) bool, what string) (saved.Listed, error) {
	var found []saved.Listed
	var names []string
	for _, e := range saved.List(agent.FindRoots(l.Environ).State) {
		if match(e) {
			found = append(found, e)
			names = append(names, e.Key+" ("+e.Dir+")")
		}
	}
	switch len(found) {
	case 0:
		return saved.Listed{}, fault.New(fault.Saved, "nothing was saved of %s", what).
			WithFix("start it, then `muster save`")
	case 1:
		if found[0].Damage != nil {
			l.warn(found[0].Damage)
		}
		return found[0], nil
	}
	return saved.Listed{}, fault.New(fault.Usage, "%d saved projects match: %s", len(found), strings.Join(names, ", ")).
		WithFix("name one with -c FILE, or with --project and its key")
}

// Resume is what `up --resume` runs: what the configuration says, or, where that
// is missing or not valid, what ran last, with a warning. loaded and err are what
// came of loading the configuration. The sizes and stops made by hand are put in
// by the agent.
func (l Line) Resume(loaded *config.Loaded, err error) (*config.Loaded, error) {
	if l.Project() == "" && err == nil {
		return loaded, nil
	}
	entry, lost := l.lastRun()
	if lost != nil {
		if err != nil && l.Project() == "" {
			return nil, err
		}
		return nil, lost
	}
	now := entry.AsDeclared()
	if now.File == "" {
		// Its agent is found by this directory, as it was when it was started.
		if err := os.Chdir(entry.Dir); err != nil {
			return nil, fault.New(fault.DirMissing, "the directory in which `muster run` was started cannot be entered: %w", err)
		}
		return &config.Loaded{Spec: now}, nil
	}
	if l.Project() != "" {
		if loaded, err = l.load(now.File, l.Environ); err == nil {
			return loaded, nil
		}
	}
	f := fault.From(err)
	l.warn(fault.New(f.Code, "what ran last is started, because the configuration cannot be used: %s", f.Text).At(now.File).
		WithFix("correct it, then `muster up`"))
	for _, line := range f.Output {
		l.Err.Line("  | %s", line)
	}
	now.Environ = config.BaseEnviron(l.Environ)
	return &config.Loaded{Spec: now, File: now.File}, nil
}

// lastRun finds what was saved, by --project or by the path of the file.
func (l Line) lastRun() (saved.Listed, error) {
	if name := l.Project(); name != "" {
		return l.savedAs(func(e saved.Listed) bool { return e.Spec.Project == name || e.Key == name }, "project "+name)
	}
	file, err := filepath.Abs(l.Config())
	if err != nil || l.Config() == "" {
		return saved.Listed{}, fault.New(fault.Saved, "which project is meant is not known").WithFix("name its file with -c")
	}
	return l.savedAs(func(e saved.Listed) bool { return e.Spec.File == file }, file)
}

// Saved lists what `up --saved` starts: the projects that `muster save` has marked
// and that were not ended for good, without those that run.
func (l Line) Saved() []saved.Listed {
	roots := agent.FindRoots(l.Environ)
	list := saved.List(roots.State)
	return slices.DeleteFunc(list, func(e saved.Listed) bool {
		_, runs := agent.LockHolder(roots.Key(e.Key))
		return !e.Boot || e.Ended || runs
	})
}

// exists says whether there is a file.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// key is that of the project; one that was saved needs no valid file for it.
func (l Line) key() (string, error) {
	if l.Project() != "" {
		entry, err := l.lastRun()
		return entry.Key, err
	}
	p, err := l.find()
	return p.paths.Key, err
}

// all are the saved projects.
func (l Line) all() []saved.Listed { return saved.List(agent.FindRoots(l.Environ).State) }

func (l Line) forget(e saved.Listed) error {
	dir := agent.FindRoots(l.Environ).Key(e.Key).State
	if e.Spec.File == "" {
		return saved.Remove(dir)
	}
	return saved.Update(dir, func(p *saved.Project) bool { p.Boot = false; return true })
}

// EachSaved calls start for each project of Saved, in whose directory it is called
// then; err says why there is nothing to start.
func (l Line) EachSaved(start func(project string, loaded *config.Loaded, err error)) {
	for _, e := range l.Saved() {
		one := l
		one.Project = func() string { return e.Key }
		loaded, err := one.Resume(nil, nil)
		if err == nil {
			err = os.Chdir(e.Dir)
		}
		start(e.Spec.Project, loaded, err)
	}
}
