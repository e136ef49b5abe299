package serve

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/process/apart"
)

// Start begins to run a project. The configuration is loaded and checked by then.
type Start struct {
	Boot     Boot
	Environ  []string
	Out, Err *show.Printer
	// NoKeeper runs the agent in the place of the keeper.
	NoKeeper bool
}

// Foreground makes this process the keeper and returns only what prevented it; or,
// without a keeper, it returns the exit code when everything has ended.
func (s Start) Foreground(ctx context.Context) (int, error) {
	if s.NoKeeper {
		signals, stop := obeyed()
		defer stop()
		r := runner{boot: s.Boot, environ: s.Environ, out: s.Out, err: s.Err, signals: signals}
		code, _, err := r.run(ctx)
		return code, err
	}
	boot, err := s.Boot.file()
	if err != nil {
		return 1, err
	}
	defer boot.Close()
	plan := keeperPlan{name: s.Boot.Spec.Project, key: s.Boot.Key, boot: int(boot.Fd()), answer: -1, noCgroup: s.Boot.NoCgroup, console: s.Boot.Console}
	return 1, apart.Renew(plan.argv(), s.Environ, boot)
}

// Background starts the keeper (or an agent without one) in a session of its own
// and returns its pid when the control API answers. Faults: those of the start.
func (s Start) Background(ctx context.Context) (int, error) {
	paths := agent.FindRoots(s.Environ).Key(s.Boot.Key)
	if err := paths.Prepare(); err != nil {
		return 0, err
	}
	log, err := os.OpenFile(paths.Log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return 0, fault.New(fault.StateDir, "cannot open the agent's log: %w", err)
	}
	defer log.Close()
	boot, err := s.Boot.file()
	if err != nil {
		return 0, err
	}
	defer boot.Close()
	from, to, err := os.Pipe()
	if err != nil {
		return 0, fault.New(fault.StartFailed, "cannot make a pipe: %w", err)
	}
	pid, err := apart.Detach(apart.Program{Argv: s.background(), Env: detached(s.Environ)}, log, boot, to)
	to.Close()
	if err != nil {
		from.Close()
		return 0, err
	}
	return pid, await(ctx, from)
}

// background is the command line of what Detach gives its files to: the first of
// them is 3.
func (s Start) background() []string {
	plan := keeperPlan{name: s.Boot.Spec.Project, key: s.Boot.Key, boot: 3, answer: 4, noCgroup: s.Boot.NoCgroup}
	if s.NoKeeper {
		return []string{"muster", agentWord, plan.name, "--boot", "3", "--answer", "4"}
	}
	return plan.argv()
}

// OwnProgram is the path that this process was started from, with the symbolic
// links that may lead to another version by now; where it cannot be told, the
// path of this very binary.
func OwnProgram(arg0 string) string {
	self, err := os.Executable()
	if err != nil {
		return arg0
	}
	path, err := exec.LookPath(arg0)
	if err != nil {
		return self
	}
	if path, err = filepath.Abs(path); err != nil {
		return self
	}
	here, err := os.Stat(path)
	own, ownErr := os.Stat("/proc/self/exe")
	if err != nil || ownErr != nil || !os.SameFile(here, own) {
		return self
	}
	return path
}
