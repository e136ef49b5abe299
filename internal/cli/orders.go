package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/talk"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// orderFlags are those of every command that gives an order.
type orderFlags struct {
	timeout time.Duration
	wait    bool
}

func (f *orderFlags) register(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "stop waiting after this time, exit code 124 (default: wait for the end)")
	cmd.Flags().BoolVar(&f.wait, "wait", true, "wait until the order is carried out; --wait=false only gives it")
}

// bounded is ctx with the --timeout.
func (f *orderFlags) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if f.timeout > 0 {
		return context.WithTimeout(ctx, f.timeout)
	}
	return context.WithCancel(ctx)
}

// orderCall is one of the client's methods on workers.
type orderCall func(*client.Client, context.Context, api.Order) (api.Outcome, error)

// order is an order to give and how to talk about it.
type order struct {
	api.Order
	call orderCall
	// verb is its name on the wire; doing describes it while it runs.
	verb, doing string
	// goal is the state that counts as done, for the progress lines.
	goal event.State
	// next is the command to look at afterwards.
	next string
	// fresh: the order takes over what the configuration file says now.
	fresh bool
}

// give carries out an order with progress, prints what came of it, and returns
// the fault that decides the exit code.
func (s *session) give(cmd *cobra.Command, flags *orderFlags, o order) error {
	ctx, cancel := interruptible(cmd.Context())
	defer cancel()
	ctx, cancel = flags.bounded(ctx)
	defer cancel()
	c, t, err := s.reach(ctx)
	if err != nil {
		return err
	}
	if o.fresh && t.File != "" {
		var changes []spec.Change
		file := config.Options{Path: t.File, Environ: s.environ, DotEnv: true}
		if o.Apps, changes, err = talk.Declarations(ctx, c, file, o.Selector); err != nil {
			return t.Unreachable(err)
		}
		show.Changes(s.err, changes)
	}
	stop, since := s.follow(ctx, c, o.progress()), time.Now()
	outcome, err := o.run(ctx, c, flags.wait)
	stop()
	if err != nil {
		return t.Broken(ctx, c, since, err)
	}
	return s.report(outcome, o.next)
}

func (o order) run(ctx context.Context, c *client.Client, wait bool) (api.Outcome, error) {
	return talk.Give(ctx, c, o.verb, wait, func(ctx context.Context) (api.Outcome, error) { return o.call(c, ctx, o.Order) })
}

// report prints the results of an order: what was done on stdout, what failed
// on stderr.
func (s *session) report(outcome api.Outcome, next string) error {
	f := outcome.Fault()
	if done, err := s.printData(outcome); done || err != nil {
		if f != nil && err == nil {
			return f
		}
		return err
	}
	show.Results(s.out, s.err, outcome.Results, s.flags.quiet)
	if f == nil {
		if next != "" && len(outcome.Results) > 0 {
			s.note("%s", s.err.Paint(show.Dim, "next: "+next))
		}
		return nil
	}
	return f
}

// selectorOrder makes a command that takes one selector and gives an order.
func (s *session) selectorOrder(cmd *cobra.Command, make func(selector string) order) *cobra.Command {
	flags := &orderFlags{}
	flags.register(cmd)
	cmd.Args = usage.Exactly(1, "SELECTOR: an app, app#slot, tag:NAME, role:NAME, a glob or all")
	cmd.ValidArgsFunction = s.completeSelectors
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.give(cmd, flags, make(args[0]))
	}
	return cmd
}
