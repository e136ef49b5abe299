package cli

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/console"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// cgroupFlag is of every command that becomes or starts an agent.
func (s *session) cgroupFlag(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.noCgroup, "no-cgroup", getenv(s.environ, "MUSTER_NO_CGROUP") != "", "do without cgroups (also MUSTER_NO_CGROUP)")
}

// foreground runs an agent in this process until its workers have ended or
// somebody stops it, and passes its exit code on.
func (s *session) foreground(ctx context.Context, loaded *config.Loaded) error {
	signals := obeyed()
	defer signal.Stop(signals)
	// Who reads our output may leave (`muster up | tee log`): the workers serve on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a, err := agent.New(s.agentOptions(loaded, signals))
	if err != nil {
		return err
	}
	wait := console.Show(console.Options{Agent: a, Out: s.out, Err: s.err, Verbose: s.flags.verbose, Quiet: s.flags.quiet})
	code, err := a.Run(ctx)
	wait()
	if err != nil {
		return err
	}
	return exitWith(code)
}

func (s *session) agentOptions(loaded *config.Loaded, signals <-chan os.Signal) agent.Options {
	dir, _ := os.Getwd()
	o := agent.Options{
		Spec: loaded.Spec, Environ: s.environ, Version: Version(), Signals: signals,
		UntilEnded: true, NoCgroup: s.noCgroup, Log: s.logger(),
	}
	if loaded.File == "" {
		o.Dir = dir
		return o
	}
	if !s.onTerminal() { // on a terminal HUP means that it was closed
		o.Load = func() (spec.Spec, error) { return s.reread(loaded.File) }
	}
	return o
}

// reread loads the file that the agent was started with.
func (s *session) reread(file string) (spec.Spec, error) {
	loaded, err := config.Load(config.Options{Path: file, Environ: s.environ, DotEnv: true})
	if err != nil {
		return spec.Spec{}, err
	}
	return loaded.Spec, nil
}

// obeyed delivers the signals that an agent understands.
func obeyed() chan os.Signal {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGTTIN, syscall.SIGTTOU)
	return c
}

// onTerminal says whether stdin is a terminal.
func (s *session) onTerminal() bool {
	f, ok := s.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// logger is the agent's own log: warnings, with -v everything.
func (s *session) logger() *slog.Logger {
	level := slog.LevelWarn
	if s.flags.verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(s.err, &slog.HandlerOptions{Level: level}))
}

// exitWith is the error that carries an exit code, nil for 0.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return status(code)
}
