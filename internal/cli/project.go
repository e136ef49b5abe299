package cli

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/config"
)

// target is the project that a command is about.
type target struct {
	name  string
	file  string // its configuration, "" when it was found without one
	paths agent.Paths
}

// load reads the configuration of this command line.
func (s *session) load() (*config.Loaded, error) {
	return config.Load(config.Options{Path: s.flags.config, Environ: s.environ, DotEnv: true})
}

// find names the project: by --project, else by the configuration file, else
// by an agent of this directory, else by the only agent that runs. A broken
// file does not hide the agent that it was started from.
func (s *session) find() (target, error) {
	roots := agent.FindRoots(s.environ)
	if s.flags.project != "" {
		return s.pick(roots, func(r agent.Record) bool { return r.Project == s.flags.project }, "project "+s.flags.project)
	}
	loaded, err := s.load()
	if err == nil {
		name := loaded.Spec.Project
		return target{name: name, file: loaded.File, paths: roots.Project(name, loaded.File)}, nil
	}
	if s.flags.config != "" {
		return s.orElse(err, roots, func(r agent.Record) bool { return r.File == absolutePath(s.flags.config) })
	}
	here, _ := os.Getwd()
	t, found := s.orElse(err, roots, func(r agent.Record) bool { return r.Dir == here || r.File != "" && within(here, r.Dir) })
	if found == nil {
		return t, nil
	}
	if len(config.Problems(err)) > 0 {
		return t, err
	}
	return s.pick(roots, func(agent.Record) bool { return true }, "this directory (no muster.yaml here or above)")
}

// orElse is the one running agent that matches, else err.
func (s *session) orElse(err error, roots agent.Roots, match func(agent.Record) bool) (target, error) {
	t, found := s.pick(roots, match, "")
	if found != nil {
		return t, err
	}
	return t, nil
}

// pick finds the one running agent that matches.
func (s *session) pick(roots agent.Roots, match func(agent.Record) bool, what string) (target, error) {
	var names []string
	var t target
	for _, r := range roots.Running() {
		if match(r) {
			t = target{name: r.Project, file: r.File, paths: roots.Key(r.Key)}
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

func absolutePath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// connect finds the project and makes a client of its agent. That the agent is
// there shows at the first call.
func (s *session) connect() (*client.Client, target, error) {
	t, err := s.find()
	if err != nil {
		return nil, t, err
	}
	return s.dial(t), t, nil
}
