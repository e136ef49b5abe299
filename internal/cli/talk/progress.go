package talk

import (
	"context"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/show"
)

// patience is how long an order may run before its progress is shown.
const patience = time.Second

// Progress tells of an order's progress, line by line, from a second after now until
// stop is called.
func Progress(ctx context.Context, c *client.Client, p *show.Progress, say func(line string)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		measure(ctx, c, p)
		watch(ctx, c, p, say)
	}()
	return func() { cancel(); <-done }
}

// measure asks how many workers there are to count up to.
func measure(ctx context.Context, c *client.Client, p *show.Progress) {
	status, err := c.Status(ctx)
	if err != nil {
		return
	}
	for _, app := range status.Apps {
		p.Expect(app.Name, max(app.Wanted, len(app.Workers)))
	}
}

// watch tells the latest line after patience, then each new one at once.
func watch(ctx context.Context, c *client.Client, p *show.Progress, say func(line string)) {
	lines := make(chan string, 64)
	go func() { // ends with ctx or with the agent
		defer close(lines)
		_ = c.Events(ctx, 0, func(e event.Event) error {
			if e.Time.Before(p.Since) {
				return nil
			}
			if text := p.Line(e); text != "" {
				select {
				case lines <- text:
				case <-ctx.Done():
				}
			}
			return nil
		})
	}()
	timer := time.NewTimer(patience - time.Since(p.Since))
	defer timer.Stop()
	shown, latest := false, p.Doing
	for {
		select {
		case <-timer.C:
			shown = true
			say(latest + " …")
		case text, ok := <-lines:
			if !ok {
				return
			}
			latest = text
			if shown {
				say(text)
			}
		}
	}
}
