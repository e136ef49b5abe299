package cli

import (
	"context"
	"time"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/cli/show"
)

// patience is how long an order may run before its progress is shown.
const patience = time.Second

func (o order) progress() *show.Progress { return show.NewProgress(o.doing, o.goal) }

// follow prints progress to stderr from a second after now until stop is called.
func (s *session) follow(ctx context.Context, c *client.Client, p *show.Progress) (stop func()) {
	if s.flags.quiet {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // ends with ctx
		defer close(done)
		measure(ctx, c, p)
		s.watch(ctx, c, p)
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

// watch prints the latest line after patience, then each new one at once.
func (s *session) watch(ctx context.Context, c *client.Client, p *show.Progress) {
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
