package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
)

// session is one run of the command line.
type session struct {
	stdin    io.Reader
	out, err *show.Printer
	environ  []string
	flags    globalFlags
	// noCgroup and noKeeper are of the commands that become or start muster.
	noCgroup, noKeeper bool
	resume             bool // of `up`: begin as it was left
	withConsole        bool // of `up` and `run`: on this terminal
	// pinned is the project of the console that the command was given in; nil: none.
	pinned *project.Target
}

// globalFlags are those of every command.
type globalFlags struct {
	config, project, output        string
	json, quiet, noColour, noInput bool
	verbose                        bool
}

// status is the error of a command that has printed everything it had to say
// and ends with an exit code of its own.
type status int

func (s status) Error() string { return "exit status" }

// Run runs one command line (args without the program's name) and returns its
// exit code: 0 ok, 1 the action failed, 2 usage or configuration, 3 not running
// or degraded, 4 no such app, 5 agent unreachable, 6 denied, 7 partly done,
// 124 timed out, 130 interrupted; `run` and `exec` pass their program's code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer, environ []string) int {
	noColour := usage.HasFlag(args, "--no-color")
	get := func(name string) string { return agent.Variable(environ, name) }
	s := &session{
		stdin: stdin, environ: environ,
		out: show.NewPrinter(stdout, get, noColour), err: show.NewPrinter(stderr, get, noColour),
	}
	root := s.root()
	root.SetArgs(usage.Negatives(args))
	root.SetIn(stdin)
	root.SetOut(s.out)
	root.SetErr(s.err)
	return s.finish(root.ExecuteContext(context.Background()))
}

// finish prints an error and gives its exit code.
func (s *session) finish(err error) int {
	var code status
	if lost := s.out.Failed(); err == nil && lost != nil && !errors.Is(lost, syscall.EPIPE) {
		err = fault.New(fault.LogWrite, "the output of this command could not be written: %w", lost).
			WithFix("free space where it goes, and give the command again")
	}
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled) && fault.CodeOf(err) == "":
		err = fault.New(fault.Interrupted, "interrupted")
	case errors.Is(err, context.DeadlineExceeded) && fault.CodeOf(err) == "":
		err = fault.New(fault.Timeout, "it took longer than --timeout")
	}
	s.printFault(fault.From(err))
	return fault.ExitCode(fault.From(err))
}

// printFault prints an error.
func (s *session) printFault(f *fault.Fault) { s.err.Error(f) }

func (s *session) warn(f fault.Fault) { s.err.Warning(f) }

// note prints a line for people, unless -q was given.
func (s *session) note(format string, args ...any) {
	if !s.flags.quiet {
		s.err.Line(format, args...)
	}
}

// interruptible ends with the first Ctrl-C or TERM.
func interruptible(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}

// root builds the whole tree of commands.
func (s *session) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "muster",
		Short: "Run server programs as supervised pools of workers",
		Long: "muster runs any server program as a supervised pool of worker processes and\n" +
			"replaces them without dropping a request.",
		SilenceUsage: true, SilenceErrors: true,
		Args:              usage.NoSuchCommand,
		RunE:              func(*cobra.Command, []string) error { return s.welcome() },
		PersistentPreRunE: func(*cobra.Command, []string) error { return s.format().Check() },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetFlagErrorFunc(usage.FlagFault)
	s.globalFlags(root.PersistentFlags())
	for _, g := range groups() {
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
	}
	for _, g := range groups() {
		for _, make := range g.commands {
			c := make(s)
			c.GroupID = g.id
			root.AddCommand(c)
		}
	}
	root.AddCommand(s.agentCommand(), s.docsCommand())
	root.SetHelpCommandGroupID("more")
	root.InitDefaultHelpCmd()
	return root
}

// group is one heading of `muster help`.
type group struct {
	id, title string
	commands  []func(*session) *cobra.Command
}

func groups() []group {
	return []group{
		{"run", "Run:", []func(*session) *cobra.Command{
			(*session).runCommand, (*session).upCommand, (*session).downCommand,
			(*session).saveCommand, (*session).startupCommand,
		}},
		{"change", "Change what runs:", []func(*session) *cobra.Command{
			(*session).startCommand, (*session).stopCommand, (*session).restartCommand,
			(*session).reloadCommand, (*session).rollbackCommand, (*session).scaleCommand,
			(*session).signalCommand, (*session).setCommand, (*session).messageCommand, (*session).requestCommand,
		}},
		{"look", "Look:", []func(*session) *cobra.Command{
			(*session).statusCommand, (*session).logsCommand, (*session).eventsCommand,
			(*session).execCommand, (*session).inspectCommand, (*session).consoleCommand,
		}},
		{"more", "Configuration and more:", []func(*session) *cobra.Command{
			(*session).validateCommand, (*session).configCommand, (*session).explainCommand,
			(*session).completionCommand, (*session).versionCommand, (*session).upgradeCommand, (*session).keyCommand,
			(*session).notifyCommand,
		}},
	}
}

func (s *session) globalFlags(f *pflag.FlagSet) {
	f.StringVarP(&s.flags.config, "config", "c", agent.Variable(s.environ, "MUSTER_CONFIG"), "configuration file (default: muster.yaml here or above)")
	f.StringVar(&s.flags.project, "project", agent.Variable(s.environ, "MUSTER_PROJECT"), "name of a running project, where there is no file")
	f.StringVarP(&s.flags.output, "output", "o", "", "table, wide, json, jsonl, yaml or name")
	f.BoolVar(&s.flags.json, "json", false, "the same as -o json")
	f.BoolVarP(&s.flags.quiet, "quiet", "q", false, "print errors only")
	f.BoolVarP(&s.flags.verbose, "verbose", "v", false, "print more")
	f.BoolVar(&s.flags.noColour, "no-color", false, "no colour (also NO_COLOR)")
	f.BoolVar(&s.flags.noInput, "no-input", false, "never ask; take the default answer")
	f.Lookup("config").DefValue, f.Lookup("project").DefValue = "", ""
}

func (s *session) welcome() error {
	s.out.Printf("%s", `muster runs server programs as supervised pools of workers.

  muster run -n 4 --listen :8000 -- gunicorn app:app   run a program, no file needed
  muster up                                            run the apps of ./muster.yaml
  muster status                                        what runs, and why not
  muster reload web                                    new release, no request lost

`+"`muster help` lists all commands, `muster help COMMAND` explains one.\n")
	return nil
}
