// Package set has the commands that change one value of an app that runs: a named
// port, the interval of its health check.
package set

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/cli/usage"
	"github.com/muster-run/muster/spec"
)

// Order is what one of the commands asks for.
type Order struct {
	Selector string
	// Verb is its name on the wire; Next is the command to look at afterwards.
	Verb, Next string
	Call       func(ctx context.Context, c *client.Client) (api.Outcome, error)
}

// Line is what the commands need of the command line.
type Line struct {
	// Flags adds those of every order; Give carries one out, and prints what came of it.
	Flags func(cmd *cobra.Command)
	Give  func(cmd *cobra.Command, o Order) error
	// Selectors and Spec (of what runs, else of the file) are for completion.
	Selectors func(ctx context.Context, word string) []string
	Spec      func(ctx context.Context) spec.Spec
}

// Command is `muster set`.
func Command(l Line) *cobra.Command {
	return usage.Group(&cobra.Command{
		Use: "set", Short: "Change a port, or how often is probed",
		Long: "Set changes one value of an app that runs. It holds over reloads and restarts, also of\n" +
			"the agent, until the next `muster up`, or until muster.yaml says something new there.",
	}, l.port(), l.probe())
}

func (l Line) port() *cobra.Command {
	var now bool
	cmd := &cobra.Command{
		Use: "port APP NAME N", Short: "Change a named port",
		Long: "Port changes the number of one of an app's ports:, or the port of a listener, by its name:\n" +
			"1024 to 65535, or lower where the privilege is there. With --now the workers are reloaded\n" +
			"onto it; when they cannot serve there, the old ones serve on. Without, it holds from the\n" +
			"next start or reload.",
		Example:           "  muster set port web http 9000 --now\n  muster set port web metrics 9100",
		Args:              usage.Exactly(3, "an app, the name of its port, and a number"),
		ValidArgsFunction: l.completePort,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := api.SetPort{Selector: args[0], Name: args[1], Now: now}
			var err error
			if o.Port, err = strconv.Atoi(args[2]); err != nil {
				return usage.Wrong(cmd, "%q is no port: write a number from 1 to 65535", args[2])
			}
			next := "muster reload " + o.Selector
			if now {
				next = "muster status " + o.Selector
			}
			return l.Give(cmd, Order{
				Selector: o.Selector, Verb: "set port " + o.Name + " " + strconv.Itoa(o.Port), Next: next,
				Call: func(ctx context.Context, c *client.Client) (api.Outcome, error) { return c.SetPort(ctx, o) },
			})
		},
	}
	l.Flags(cmd)
	cmd.Flags().BoolVar(&now, "now", false, "reload the app onto the new port")
	return cmd
}

func (l Line) probe() *cobra.Command {
	cmd := &cobra.Command{
		Use: "probe APP INTERVAL", Short: "Change how often an app is probed",
		Long:              "Probe changes health.interval. It counts at once; no worker is touched.",
		Example:           "  muster set probe web 2s",
		Args:              usage.Exactly(2, "an app and a time such as 10s"),
		ValidArgsFunction: l.complete,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := api.SetProbe{Selector: args[0]}
			if err := o.Interval.UnmarshalText([]byte(args[1])); err != nil {
				return usage.Wrong(cmd, "%s", err)
			}
			return l.Give(cmd, Order{
				Selector: o.Selector, Verb: "set probe " + o.Interval.String(), Next: "muster status " + o.Selector,
				Call: func(ctx context.Context, c *client.Client) (api.Outcome, error) { return c.SetProbe(ctx, o) },
			})
		},
	}
	l.Flags(cmd)
	cmd.Flags().Bool("now", false, "at once, as ever")
	_ = cmd.Flags().MarkHidden("now")
	return cmd
}

func (l Line) complete(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return l.Selectors(cmd.Context(), word), cobra.ShellCompDirectiveNoFileComp
}

func (l Line) completePort(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
	if len(args) != 1 {
		return l.complete(cmd, args, word)
	}
	var names []string
	for _, app := range l.Spec(cmd.Context()).Apps {
		for _, name := range api.PortNames(app) {
			if app.Name == args[0] && strings.HasPrefix(name, word) {
				names = append(names, name)
			}
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
