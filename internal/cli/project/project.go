package project

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/config"
)

// Target is the project that a command is about.
type Target struct {
	Name  string
	File  string // its configuration, "" when it was found without one
	Paths agent.Paths
}

// Of is the project of a configuration; of `run` it is the directory that
// tells it from others of its name.
func (l Line) Of(loaded *config.Loaded) Target {
	name, origin := loaded.Spec.Project, loaded.File
	if origin == "" {
		origin, _ = os.Getwd()
	}
	return Target{Name: name, File: loaded.File, Paths: agent.FindRoots(l.Environ).Project(name, origin)}
}

// Line is what a command line says about the project.
type Line struct {
	// Config and Project are the values of -c and --project, "" without.
	Config, Project string
	Environ         []string
}

// Load reads the configuration of the command line.
func (l Line) Load() (*config.Loaded, error) {
	return config.Load(config.Options{Path: l.Config, Environ: l.Environ, DotEnv: true})
}

// Find names the project: by --project, else by the configuration file, else
// by an agent of this directory, else by the only agent that runs. A broken
// file does not hide the agent that it was started from.
func (l Line) Find() (Target, error) {
	roots := agent.FindRoots(l.Environ)
	if l.Project != "" {
		return l.pick(roots, func(r agent.Record) bool { return r.Project == l.Project }, "project "+l.Project)
	}
	loaded, err := l.Load()
	if err == nil {
		name := loaded.Spec.Project
		return Target{Name: name, File: loaded.File, Paths: roots.Project(name, loaded.File)}, nil
	}
	if l.Config != "" {
		return l.orElse(err, roots, func(r agent.Record) bool { return r.File == absolute(l.Config) })
	}
	here, _ := os.Getwd()
	t, found := l.orElse(err, roots, func(r agent.Record) bool { return r.Dir == here || r.File != "" && within(here, r.Dir) })
	if found == nil {
		return t, nil
	}
	if len(config.Problems(err)) > 0 {
		return t, err
	}
	return l.pick(roots, func(agent.Record) bool { return true }, "this directory (no muster.yaml here or above)")
}

// orElse is the one running agent that matches, else err.
func (l Line) orElse(err error, roots agent.Roots, match func(agent.Record) bool) (Target, error) {
	t, found := l.pick(roots, match, "")
	if found != nil {
		return t, err
	}
	return t, nil
}

// pick finds the one running agent that matches.
func (l Line) pick(roots agent.Roots, match func(agent.Record) bool, what string) (Target, error) {
	var names []string
	var t Target
	for _, r := range roots.Running() {
		if match(r) {
			t = Target{Name: r.Project, File: r.File, Paths: roots.Key(r.Key)}
			names = append(names, r.Project+" ("+r.Dir+")")
		}
	}
	switch len(names) {
	case 0:
		return t, noAgent("no agent runs for " + what)
	case 1:
		return t, nil
	}
	return t, fault.New(fault.Usage, "%d agents run, and it is not clear which is meant: %s",
		len(names), strings.Join(names, ", ")).
		WithFix("name one with -c FILE or --project NAME, or run the command in its directory")
}

func noAgent(text string) *fault.Fault {
	return fault.New(fault.AgentUnreachable, "%s", text).
		WithFix("`muster up -d` starts one; `muster status --all-projects` lists those that run")
}

func within(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}

func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}
