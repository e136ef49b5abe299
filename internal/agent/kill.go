package agent

import (
	"context"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

// What a worker may ask for with op.Kill (S1.2).

// stopApp ends an app. Where muster is to end with its workers (`run`, `up` in the
// foreground) and nothing else runs, it ends, with this exit code; it does so at once
// where nothing else runs already, so that a successor of the agent goes on with that.
func (a *Agent) stopApp(ctx context.Context, app, reason string, code int, now bool) api.Outcome {
	end := ending{Reason: reason, Code: code, Now: now, Good: true}
	if a.opts.UntilEnded && a.idleBut(app) {
		a.askToEnd(end)
		return api.Outcome{Results: []api.Result{{App: app, Text: "muster ends"}}}
	}
	out := a.supervisor.Stop(ctx, api.Order{Selector: app, Now: now, Reason: reason})
	if out.Fault() == nil && a.opts.UntilEnded && a.idleBut("") {
		a.askToEnd(end)
	}
	return out
}

// stopAgent ends muster and all it runs; it does not wait for that.
func (a *Agent) stopAgent(reason string, code int, now bool) {
	a.askToEnd(ending{Reason: reason, Code: code, Now: now, Good: true})
}

// askToEnd leaves a request to Run.
func (a *Agent) askToEnd(e ending) {
	select {
	case a.asked <- e:
	case <-a.over:
	}
}

// idle says that no worker runs or is going to.
func (a *Agent) idle() bool { return a.idleBut("") }

// idleBut is idle but for one app.
func (a *Agent) idleBut(app string) bool {
	for _, other := range a.supervisor.Snapshot() {
		if other.Name != app && !atRest(other) {
			return false
		}
	}
	return true
}

func atRest(app api.App) bool {
	for _, w := range app.Workers {
		switch w.State {
		case event.Starting, event.Ready, event.Draining, event.Stopping, event.Backoff:
			return false
		case event.Stopped, event.Failed:
		}
	}
	return true
}
