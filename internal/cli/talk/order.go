package talk

import (
	"context"
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/config"
	"github.com/muster-run/muster/spec"
)

// Declarations reads a configuration file again for the apps that a selector picks,
// and says what has changed. A file that is not valid changes nothing. The number of
// workers, and what was set by an order, stay as they are.
func Declarations(ctx context.Context, c *client.Client, file config.Options, selector string) ([]spec.App, []spec.Change, error) {
	loaded, err := config.Load(file)
	if err != nil {
		return nil, nil, err
	}
	sel, err := api.ParseSelector(selector)
	if err != nil {
		return nil, nil, err
	}
	now, err := c.Spec(ctx, true)
	if err != nil {
		return nil, nil, err
	}
	st, err := c.Status(ctx)
	if err != nil {
		return nil, nil, err
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
		keep(&app, st)
		changes = append(changes, spec.DiffApp(now.Apps[i], app)...)
	}
	return apps, changes, nil
}

// keep is what the agent will do: what was set by an order holds on.
func keep(app *spec.App, st api.Status) {
	for _, running := range st.Apps {
		if running.Name != app.Name {
			continue
		}
		for _, set := range running.Set {
			set.Keep(app)
		}
	}
}

// Give gives an order and waits for its outcome; without wait only until the agent
// says that it has the order of this verb.
func Give(ctx context.Context, c *client.Client, verb string, wait bool, give func(context.Context) (api.Outcome, error)) (api.Outcome, error) {
	if wait {
		return give(ctx)
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
		out, err := give(ctx)
		answered <- answer{out, err}
	}()
	given := make(chan string, 1)
	go func() { // ends with ctx, or at the order's event
		_ = c.Events(ctx, 0, func(e event.Event) error {
			if d, ok := e.Data.(event.Order); ok && d.Verb == verb && !e.Time.Before(since) {
				given <- d.Target
				return context.Canceled
			}
			return nil
		})
	}()
	select {
	case a := <-answered:
		return a.Outcome, a.error
	case target := <-given:
		return api.Outcome{Results: []api.Result{{App: target, Text: verb + " is under way"}}}, nil
	}
}
