package serve

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/foreground"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// runner runs one agent in this process.
type runner struct {
	boot     Boot
	environ  []string
	out, err *show.Printer
	keeper   *agent.Keeper // nil: none
	signals  <-chan os.Signal
	serving  func()
}

// run returns when the agent has ended. began is false when it could not even
// begin.
func (r runner) run(ctx context.Context) (code int, began bool, err error) {
	// Who reads our output may leave (`muster up | tee log`): the workers serve on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	a, err := agent.New(r.options())
	if err != nil {
		return fault.ExitCode(err), false, err
	}
	wait := func() {}
	if !r.boot.Console {
		wait = foreground.Show(foreground.Options{
			Agent: a, Out: r.out, Err: r.err, Verbose: r.boot.Verbose, Quiet: r.boot.Quiet, LifecycleOnly: r.boot.Background,
		})
	}
	code, err = a.Run(ctx)
	if fault.CodeOf(err) == fault.KeeperLost {
		return code, true, err // the foreground would wait for ends that do not come
	}
	wait()
	if err != nil && !errors.Is(err, agent.ErrLeft) {
		code = fault.ExitCode(err)
	}
	return code, true, err
}

func (r runner) options() agent.Options {
	o := agent.Options{
		Spec: r.boot.Spec, Dir: r.boot.Dir, Environ: r.environ, Version: Version(), Signals: r.signals, Keeper: r.keeper,
		Resume: r.boot.Resume, UntilEnded: r.boot.UntilEnded, NoCgroup: r.boot.NoCgroup, Program: r.boot.Program, Serving: r.serving, Log: r.logger(),
	}
	if r.boot.Rereads {
		o.Load = r.reread
	}
	return o
}

// reread loads the file that muster was started with.
func (r runner) reread() (spec.Spec, error) {
	loaded, err := config.Load(config.Options{Path: r.boot.Spec.File, Environ: r.environ, DotEnv: true})
	if err != nil {
		return spec.Spec{}, err
	}
	return loaded.Spec, nil
}

// logger is the agent's own log: warnings, with -v everything.
func (r runner) logger() *slog.Logger {
	level := slog.LevelWarn
	if r.boot.Verbose {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(r.err, &slog.HandlerOptions{Level: level}))
}

// obeyed delivers the signals that an agent without a keeper understands.
func obeyed() (signals <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 8)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU)
	return c, func() { signal.Stop(c) }
}

// heeded delivers what the keeper forwards, and what is sent to the agent itself.
// A terminal sends INT, QUIT and HUP to the keeper, too: here they mean nothing.
func heeded(forwarded <-chan os.Signal) (signals <-chan os.Signal, stop func()) {
	signal.Ignore(os.Interrupt, syscall.SIGQUIT, syscall.SIGHUP)
	direct := make(chan os.Signal, 8)
	signal.Notify(direct, syscall.SIGTERM, syscall.SIGUSR2, syscall.SIGTTIN, syscall.SIGTTOU)
	all, ended := make(chan os.Signal, 8), make(chan struct{})
	go func() { // ends with stop
		for {
			var sig os.Signal
			select {
			case sig = <-direct:
			case sig = <-forwarded:
			case <-ended:
				return
			}
			select {
			case all <- sig:
			case <-ended:
				return
			}
		}
	}()
	return all, func() { signal.Stop(direct); close(ended) }
}
