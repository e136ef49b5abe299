package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
)

// patience is how long an order may run before its progress is shown.
const patience = time.Second

// progress counts what an order has done so far, from the events it causes.
type progress struct {
	doing string
	goal  event.State
	since time.Time
	total map[string]int
	done  map[string]map[int]bool
	last  string
}

func (o order) progress() *progress {
	return &progress{
		doing: o.doing, goal: o.goal, since: time.Now(),
		total: map[string]int{}, done: map[string]map[int]bool{},
	}
}

// line is the progress after one more event, "" when it is none.
func (p *progress) line(e event.Event) string {
	text := ""
	switch d := e.Data.(type) {
	case event.Reload:
		text = reloadProgress(e.App, d)
	case event.WorkerState:
		text = p.count(e, d)
	default:
	}
	if text == p.last {
		return ""
	}
	p.last = text
	return text
}

func reloadProgress(app string, d event.Reload) string {
	switch d.Phase {
	case event.ReloadRunning:
		return fmt.Sprintf("reloading %s %d/%d", app, d.Done, d.Total)
	case event.ReloadBuilding:
		return "preparing release " + d.Release + " of " + app
	case event.ReloadQueued:
		return app + " waits for the reload that runs"
	case event.ReloadReverting:
		return "undoing the reload of " + app
	case event.ReloadDone, event.ReloadFailed, event.ReloadAborted:
	}
	return ""
}

// count is "starting web 2/4".
func (p *progress) count(e event.Event, d event.WorkerState) string {
	if p.goal == "" || d.To != p.goal && d.To != event.Failed {
		return ""
	}
	if p.done[e.App] == nil {
		p.done[e.App] = map[int]bool{}
	}
	p.done[e.App][e.Slot] = true
	n := len(p.done[e.App])
	return fmt.Sprintf("%s %s %d/%d", p.doing, e.App, n, max(n, p.total[e.App]))
}

// follow prints progress to stderr from a second after now until stop is called.
func (s *session) follow(ctx context.Context, c *client.Client, p *progress) (stop func()) {
	if s.flags.quiet {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		p.measure(ctx, c)
		s.watch(ctx, c, p)
	}()
	return func() { cancel(); <-done }
}

// measure asks how many workers there are to count up to.
func (p *progress) measure(ctx context.Context, c *client.Client) {
	status, err := c.Status(ctx)
	if err != nil {
		return
	}
	for _, app := range status.Apps {
		p.total[app.Name] = max(app.Wanted, len(app.Workers))
	}
}

// watch prints the latest line after patience, then each new one at once.
func (s *session) watch(ctx context.Context, c *client.Client, p *progress) {
	lines := make(chan string, 64)
	go func() { // ends with ctx or with the agent
		defer close(lines)
		_ = c.Events(ctx, 0, func(e event.Event) error {
			if e.Time.Before(p.since) {
				return nil
			}
			if text := p.line(e); text != "" {
				select {
				case lines <- text:
				case <-ctx.Done():
				}
			}
			return nil
		})
	}()
	timer := time.NewTimer(patience - time.Since(p.since))
	defer timer.Stop()
	shown, latest := false, p.doing
	for {
		select {
		case <-timer.C:
			shown = true
			s.note("%s …", latest)
		case text, ok := <-lines:
			if !ok {
				return
			}
			latest = text
			if shown {
				s.note("%s", text)
			}
		}
	}
}
