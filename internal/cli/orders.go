package cli

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/cli/project"
	"github.com/muster-run/muster/internal/cli/show"
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
		if o.Apps, err = s.declarations(ctx, c, t, o.Selector); err != nil {
			return t.Unreachable(err)
		}
	}
	stop, since := s.follow(ctx, c, o.progress()), time.Now()
	outcome, err := o.run(ctx, c, flags.wait)
	stop()
	if err != nil {
		return t.Broken(ctx, c, since, err)
	}
	return s.report(outcome, o.next)
}

// declarations reads the configuration file again for the apps that a selector
// picks, and shows what has changed. A file that is not valid changes nothing.
func (s *session) declarations(ctx context.Context, c *client.Client, t project.Target, selector string) ([]spec.App, error) {
	loaded, err := config.Load(config.Options{Path: t.File, Environ: s.environ, DotEnv: true})
	if err != nil {
		return nil, err
	}
	sel, err := api.ParseSelector(selector)
	if err != nil {
		return nil, err
	}
	now, err := c.Spec(ctx, true)
	if err != nil {
		return nil, err
	}
	var apps []spec.App
	var changes []spec.Change
	for _, app := range loaded.Spec.Apps {
		i := slices.IndexFunc(now.Apps, func(a spec.App) bool { return a.Name == app.Name })
		if _, picked := sel.Match(api.Target{App: app.Name, Role: app.Role, Tags: app.Tags}); !picked || i < 0 {
			continue
		}
		app.Workers = now.Apps[i].Workers
		apps = append(apps, app)
		changes = append(changes, spec.DiffApp(now.Apps[i], app)...)
	}
	show.Changes(s.err, changes)
	return apps, nil
}

// run gives the order and waits for its outcome; without wait only until the
// agent says that it has it.
func (o order) run(ctx context.Context, c *client.Client, wait bool) (api.Outcome, error) {
	if wait {
		return o.call(c, ctx, o.Order)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		api.Outcome
		error
	}
	answered := make(chan answer, 1)
	since := time.Now()
	go func() {
		out, err := o.call(c, ctx, o.Order)
		answered <- answer{out, err}
	}()
	given := make(chan struct{})
	go func() { // ends with ctx, or at the order's event
		_ = c.Events(ctx, 0, func(e event.Event) error {
			if d, ok := e.Data.(event.Order); ok && d.Verb == o.verb && !e.Time.Before(since) {
				close(given)
				return context.Canceled
			}
			return nil
		})
	}()
	select {
	case a := <-answered:
		return a.Outcome, a.error
	case <-given:
		return api.Outcome{Results: []api.Result{{App: o.Selector, Text: o.verb + " is under way"}}}, nil
	}
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
	failed := 0
	for _, r := range outcome.Results {
		switch {
		case r.Fault != nil:
			failed++
		case !s.flags.quiet:
			s.out.Line("%s", resultLine(r))
		}
	}
	if f == nil {
		if next != "" && len(outcome.Results) > 0 {
			s.note("%s", s.err.Paint(show.Dim, "next: "+next))
		}
		return nil
	}
	if failed > 1 || len(outcome.Results) > 1 {
		for _, r := range outcome.Results {
			if r.Fault != nil {
				s.printFault(named(r))
			}
		}
	}
	return f
}

// named is the fault of a result, with its app as the place where it has none.
func named(r api.Result) *fault.Fault {
	if r.Fault.Where == "" && r.App != "" {
		return r.Fault.At(r.App)
	}
	return r.Fault
}

func resultLine(r api.Result) string {
	if r.App == "" {
		return r.Text
	}
	return fmt.Sprintf("%s: %s", cmp.Or(r.Worker, r.App), r.Text)
}

// selectorOrder makes a command that takes one selector and gives an order.
func (s *session) selectorOrder(cmd *cobra.Command, make func(selector string) order) *cobra.Command {
	flags := &orderFlags{}
	flags.register(cmd)
	cmd.Args = exactly(1, "SELECTOR: an app, app#slot, tag:NAME, role:NAME, a glob or all")
	cmd.ValidArgsFunction = s.completeSelectors
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return s.give(cmd, flags, make(args[0]))
	}
	return cmd
}
