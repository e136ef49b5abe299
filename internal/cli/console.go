package cli

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/live"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/serve"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/console"
)

func (s *session) consoleCommand() *cobra.Command {
	attached := ""
	cmd := &cobra.Command{
		Use: "console [APP#N]", Short: "Give commands at a prompt, or inside of a worker",
		Long: "Console reads commands, without muster before them, and shows above the line what happens\n" +
			"meanwhile. Tab completes, Ctrl-R searches what was typed before, Ctrl-C ends a command,\n" +
			"Ctrl-D leaves. Piped into it, commands are carried out one a line, without a prompt, until\n" +
			"one fails; its exit code is then that of the console.\n\n" +
			"With APP#N it connects you with the console that the worker itself opens for you: that of\n" +
			"its SDK, in its own process.",
		Example: "  muster console\n  echo 'reload web' | muster console\n  muster console 'web#1'",
		Args:    usage.Between(0, 1, "one worker, APP#N"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) == 1:
				return s.workerConsole(cmd.Context(), args[0])
			case s.pinned != nil:
				return fault.New(fault.Usage, "this is a console already").WithFix("`console APP#N` opens that of a worker")
			}
			return s.console(cmd.Context(), attached)
		},
		ValidArgsFunction: s.completeSelectors,
	}
	cmd.Flags().StringVar(&attached, "attached", "", "key of the session that it was started with")
	_ = cmd.Flags().MarkHidden("attached")
	return cmd
}

// console reads commands for one project. attached is its key, where the console was
// started by the process that is the session's own.
func (s *session) console(ctx context.Context, attached string) error {
	t := project.Target{Name: s.flags.project, Paths: agent.FindRoots(s.environ).Key(attached)}
	if attached == "" {
		var err error
		if _, t, err = s.connect(); err != nil {
			return err
		}
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)
	c := &commander{s: s, t: t}
	o := console.Options{
		Commander: c, Agent: s.dial(t), Attached: attached != "", Interrupts: interrupts,
		Stdin: s.stdin, Out: s.out, Notes: s.err,
	}
	if !s.onTerminal() || !s.out.TTY || agent.Variable(s.environ, "TERM") == "dumb" {
		return exitWith(console.Piped(ctx, o))
	}
	c.terminal = s.stdin
	return s.terminal(ctx, o, c)
}

// terminal is a console for people.
func (s *session) terminal(ctx context.Context, o console.Options, c *commander) error {
	tty := s.stdin.(*os.File) // onTerminal has seen it
	view := &live.Project{
		Name: c.t.Name, Client: s.dial(c.t), Looks: s.out, Attached: o.Attached,
		Verbose: s.flags.verbose, Quiet: s.flags.quiet,
		Runs: func() bool { _, held := agent.LockHolder(c.t.Paths); return held },
	}
	var err error
	if o.History, err = console.OpenHistory(filepath.Join(c.t.Paths.State, "console.history")); err != nil {
		s.warn(*fault.From(err))
	}
	o.Prompt, o.Live, o.Looked = view.Prompt, view.Follow, view.Look
	if !o.Attached {
		view.Look(ctx)
		s.note("%s", s.err.Paint(show.Dim, "`help` lists the commands, Tab completes, Ctrl-D leaves"))
		return exitWith(console.Terminal(ctx, o, tty))
	}
	back, err := console.Attach(tty)
	if err != nil {
		return fault.New(fault.Internal, "the console cannot have the terminal: %w", err)
	}
	over := make(chan os.Signal, 1)
	signal.Notify(over, serve.SessionOver)
	o.Over = over
	code := console.Terminal(ctx, o, tty)
	err = back()
	if !view.Runs() {
		s.note("%s has ended", c.t.Name)
	}
	if err != nil || ctx.Err() != nil || !view.Runs() {
		return exitWith(code)
	}
	signal.Reset(serve.SessionOver) // nothing is left to do before the end
	signal.Ignore(os.Interrupt)     // it is for the session, in whose group this is again
	s.note("left the console: Ctrl-C ends the session, `muster console` opens another")
	view.Fresh = true
	view.Follow(ctx, func(line string) {
		if line != "" {
			s.err.Line("%s", line)
		}
	})
	return nil
}

// commander carries out the commands of a console, each with the whole tree of
// commands anew, in this process.
type commander struct {
	s *session
	t project.Target
	// terminal is what commands may ask questions on; nil: none.
	terminal io.Reader
}

// session is that of one command.
func (c *commander) session() *session {
	n := &session{stdin: c.terminal, out: c.s.out, err: c.s.err, pinned: &c.t}
	if n.stdin == nil {
		n.stdin = strings.NewReader("") // what is piped into the console are its commands
	}
	for _, kv := range c.s.environ {
		if !strings.HasPrefix(kv, "MUSTER_CONFIG=") && !strings.HasPrefix(kv, "MUSTER_PROJECT=") {
			n.environ = append(n.environ, kv)
		}
	}
	return n
}

// Run implements console.Commander.
func (c *commander) Run(ctx context.Context, args []string) int {
	c.locate(ctx)
	n := c.session()
	root := n.root()
	root.SetArgs(usage.Negatives(args))
	root.SetIn(n.stdin)
	root.SetOut(n.out)
	root.SetErr(n.err)
	return n.finish(root.ExecuteContext(ctx))
}

// locate asks once which file the session has, where only its key is known.
func (c *commander) locate(ctx context.Context) {
	if c.t.File != "" {
		return
	}
	for _, r := range agent.FindRoots(c.s.environ).Running() {
		if r.Key == c.t.Paths.Key {
			c.t.File = r.File
		}
	}
}

// Complete implements console.Commander: it asks the tree what it tells shells.
func (c *commander) Complete(ctx context.Context, words []string) []console.Candidate {
	n := c.session()
	var out bytes.Buffer
	root := n.root()
	root.SetArgs(append([]string{cobra.ShellCompRequestCmd}, words...))
	root.SetOut(&out)
	root.SetErr(io.Discard)
	if root.ExecuteContext(ctx) != nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	bits, _ := strconv.Atoi(strings.TrimPrefix(lines[len(lines)-1], ":"))
	open := cobra.ShellCompDirective(bits)&cobra.ShellCompDirectiveNoSpace != 0
	var list []console.Candidate
	for _, line := range lines[:len(lines)-1] {
		text, help, _ := strings.Cut(line, "\t")
		list = append(list, console.Candidate{Text: text, Help: help, Open: open})
	}
	return list
}

// Verbs implements console.Commander.
func (c *commander) Verbs() []string {
	var list []string
	for _, cmd := range c.session().root().Commands() {
		if !cmd.Hidden {
			list = append(append(list, cmd.Name()), cmd.Aliases...)
		}
	}
	return list
}

// Fail implements console.Commander.
func (c *commander) Fail(err error) int { return c.s.finish(err) }

// workerConsole connects this terminal with a console inside of a worker.
func (s *session) workerConsole(ctx context.Context, worker string) error {
	ctx, cancel := interruptible(ctx)
	defer cancel()
	c, t, err := s.connect()
	if err != nil {
		return err
	}
	place, err := c.WorkerConsole(ctx, api.ConsoleOrder{Worker: worker})
	if err != nil {
		return t.Unreachable(err)
	}
	defer func() { // also when it was left by Ctrl-C
		_, _ = c.WorkerConsole(context.WithoutCancel(ctx), api.ConsoleOrder{Worker: worker, Close: true})
	}()
	in, ok := s.stdin.(*os.File)
	if !ok {
		return fault.New(fault.Usage, "a worker's console needs a terminal, or lines that are piped into it").
			WithFix("echo COMMAND | muster console '" + worker + "'")
	}
	if term.IsTerminal(int(in.Fd())) {
		s.note("%s", s.err.Paint(show.Dim, "the console of "+worker+": Ctrl-D leaves it, the worker runs on"))
	}
	err = console.Join(ctx, place, in, s.out)
	switch {
	case fault.CodeOf(err) == fault.Interrupted:
		s.note("")
		return nil
	case errors.Is(err, console.ErrClosed):
		s.note("%s has closed its console, or has ended (`muster status`)", worker)
		return nil
	}
	return err
}

// notHere refuses what would make the console's own process something else.
func (s *session) notHere(what, instead string) error {
	if s.pinned == nil {
		return nil
	}
	return fault.New(fault.Usage, "%s makes no sense in a console", what).WithFix(instead)
}
