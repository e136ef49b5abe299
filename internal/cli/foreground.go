package cli

import (
	"context"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// serveFlags are of the commands that become or start muster.
func (s *session) serveFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&s.noCgroup, "no-cgroup", agent.Variable(s.environ, "MUSTER_NO_CGROUP") != "", "do without cgroups (also MUSTER_NO_CGROUP)")
	cmd.Flags().BoolVar(&s.noKeeper, "no-keeper", agent.Variable(s.environ, "MUSTER_NO_KEEPER") != "",
		"run the agent alone: its workers end with it (for debugging; also MUSTER_NO_KEEPER)")
	cmd.Flags().BoolVar(&s.withConsole, "console", false, "a console on this terminal, in place of what is printed in the foreground")
}

// foreground makes this process the keeper of the project, whose exit code is that
// of muster; or, without a keeper, runs the agent in it.
func (s *session) foreground(ctx context.Context, loaded *config.Loaded) error {
	if err := s.consoleFits(loaded.Spec); err != nil {
		return err
	}
	b := s.boot(loaded)
	b.UntilEnded = true
	if loaded.File != "" {
		b.Rereads = !s.onTerminal() // on a terminal HUP means that it was closed
	}
	code, err := s.start(b).Foreground(ctx)
	if err != nil {
		s.printFault(fault.From(err))
	}
	return exitWith(code)
}

// consoleFits refuses --console where there is no terminal for it.
func (s *session) consoleFits(wanted spec.Spec) error {
	if !s.withConsole {
		return nil
	}
	if s.noKeeper {
		return fault.New(fault.Usage, "--console is not possible with --no-keeper").WithFix("open `muster console` in another terminal")
	}
	if !s.onTerminal() || !s.out.TTY || agent.Variable(s.environ, "TERM") == "dumb" {
		return fault.New(fault.Usage, "--console needs a terminal").WithFix("leave it out; `muster console` takes commands from a pipe, too")
	}
	for _, a := range wanted.Apps {
		if a.Stdin == "inherit" {
			return fault.New(fault.Usage, "--console: %s reads the terminal itself (stdin: inherit)", a.Name).
				WithFix("leave --console out, and open `muster console` in another terminal")
		}
	}
	return nil
}

func (s *session) start(b serve.Boot) serve.Start {
	return serve.Start{Boot: b, Environ: s.environ, Out: s.out, Err: s.err, NoKeeper: s.noKeeper}
}

// boot is what every agent of the project is to know.
func (s *session) boot(loaded *config.Loaded) serve.Boot {
	dir := ""
	if loaded.File == "" {
		dir, _ = os.Getwd()
	}
	return serve.Boot{
		Dir:  dir,
		Spec: loaded.Spec, Key: s.line().Of(loaded).Paths.Key, NoCgroup: s.noCgroup, Program: serve.OwnProgram(os.Args[0]),
		Resume: s.resume, Console: s.withConsole, Verbose: s.flags.verbose, Quiet: s.flags.quiet, NoColour: s.flags.noColour,
	}
}

// onTerminal says whether stdin is a terminal.
func (s *session) onTerminal() bool {
	f, ok := s.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// exitWith is the error that carries an exit code, nil for 0.
func exitWith(code int) error {
	if code == 0 {
		return nil
	}
	return status(code)
}
