package cli

import (
	"context"

	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/cli/talk"
)

func (o order) progress() *show.Progress { return show.NewProgress(o.doing, o.goal) }

// follow prints progress to stderr from a second after now until stop is called.
func (s *session) follow(ctx context.Context, c *client.Client, p *show.Progress) (stop func()) {
	if s.flags.quiet || s.pinned != nil && s.onTerminal() { // a console shows the events themselves
		return func() {}
	}
	return talk.Progress(ctx, c, p, func(line string) { s.note("%s", line) })
}
