package agent

import (
	"context"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/notifier"
)

// buildNotifiers tells people outside from the first event on.
func (a *Agent) buildNotifiers() {
	a.notifiers = notifier.New(notifier.Options{
		Project: a.opts.Spec.Project, Node: a.opts.Node, Hub: a.events, Dir: a.opts.Dir,
		Environ: a.opts.Environ, Log: a.opts.Log, Session: a.session,
	})
	a.undo("notifiers", a.notifiers.Close)
	declared := a.supervisor.Spec().Notify
	if a.before == nil {
		declared = a.opts.Spec.Notify
	}
	a.notifiers.Apply(declared)
}

// testNotifiers has one, or for "" all of them, deliver a test note.
func (a *Agent) testNotifiers(ctx context.Context, name string) (results []api.Result) {
	names := []string{name}
	if name == "" {
		names = a.notifiers.Names()
	}
	if len(names) == 0 {
		f := fault.New(fault.NoApp, "there are no notifiers").WithFix("write notify: in muster.yaml, then `muster up`")
		return []api.Result{{Fault: f}}
	}
	for _, name := range names {
		r := api.Result{App: name, Text: "delivered"}
		if err := a.notifiers.Test(ctx, name); err != nil {
			r.Text, r.Fault = "", fault.From(err)
		}
		results = append(results, r)
	}
	return results
}
