package worker

import (
	"context"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/op"
)

// KillOptions say how the worker's app is ended.
type KillOptions struct {
	// Reason is logged, and told to notifiers.
	Reason string
	// Force: at once, instead of with the app's own stop rules.
	Force bool
	// ExitCode of muster itself, once everything has stopped.
	ExitCode int
	// Agent: the agent and all it runs, which needs allow: [stop_agent].
	Agent bool
}

// Kill has muster stop this worker's app (S1.2), this worker included. It returns when
// muster has taken the order.
func (w *Worker) Kill(ctx context.Context, o KillOptions) error {
	graceful := !o.Force
	return w.Request(ctx, "", op.Kill, op.KillBody{Reason: o.Reason, Graceful: &graceful, ExitCode: o.ExitCode, Agent: o.Agent}, nil)
}

// Restart has muster start the workers of a selector anew, with the release they run;
// "": the worker's own app. Others need allow: [orders].
func (w *Worker) Restart(ctx context.Context, selector, reason string) error {
	return w.Request(ctx, "", op.Restart, op.OrderBody{Selector: selector, Reason: reason}, nil)
}

// Reload has muster replace them one after the other, with no request lost; otherwise as
// Restart.
func (w *Worker) Reload(ctx context.Context, selector, reason string) error {
	return w.Request(ctx, "", op.Reload, op.OrderBody{Selector: selector, Reason: reason}, nil)
}

// SetPort changes a named port of the worker's app, from the next start on; now: by a
// reload.
func (w *Worker) SetPort(ctx context.Context, name string, port int, now bool) error {
	return w.Request(ctx, "", op.SetPort, op.PortBody{Name: name, Port: port, Now: now}, nil)
}

// SetProbe changes how often the worker's app is probed; whole milliseconds.
func (w *Worker) SetProbe(ctx context.Context, interval time.Duration) error {
	return w.Request(ctx, "", op.SetProbe, op.ProbeBody{IntervalMS: interval.Milliseconds()}, nil)
}

// ReloadConfig has muster read its configuration again (allow: [orders]).
func (w *Worker) ReloadConfig(ctx context.Context) error {
	return w.Request(ctx, "", op.ConfigReload, nil, nil)
}

// MusterStatus is the state of the project, as `muster status` shows it.
func (w *Worker) MusterStatus(ctx context.Context) (api.Status, error) {
	var s api.Status
	return s, w.Request(ctx, "", op.Status, nil, &s)
}

// Lifecycle says a line about this worker to people (S1.15). It waits for nothing.
func (w *Worker) Lifecycle(text string) error {
	return w.Send(context.Background(), "", op.Lifecycle, op.TextBody{Text: text})
}
