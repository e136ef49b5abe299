package show

import (
	"context"
	"time"

	"github.com/muster-run/muster/fault"
)

// Repeat shows something again and again until ctx ends; a terminal is cleared in
// between. A fault ends it, an exit status does not.
func (p *Printer) Repeat(ctx context.Context, pause time.Duration, picture func(context.Context) error) error {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		if p.TTY {
			p.Printf("\x1b[H\x1b[2J")
		}
		if err := picture(ctx); err != nil && fault.CodeOf(err) != "" {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
