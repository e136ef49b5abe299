package mail

import (
	"context"
	"time"
)

const (
	// paceFrames is how many frames of a worker are heard in a second; paceBytes of
	// a frame count as another one.
	paceFrames = 1000
	paceBytes  = 16 << 10
)

// Pace slows down a worker that never stops talking: it finds its socket full, and
// costs the agent little. The zero value is ready; for one goroutine.
type Pace struct {
	from   time.Time // of the second that is counted
	frames int
}

// Keep is called after each frame and waits for the next second when this one is
// used up, unless ctx ends.
func (p *Pace) Keep(ctx context.Context, size int) {
	if now := time.Now(); now.Sub(p.from) >= time.Second {
		p.from, p.frames = now, 0
	}
	p.frames += 1 + size/paceBytes
	if p.frames < paceFrames {
		return
	}
	select {
	case <-time.After(time.Until(p.from.Add(time.Second))):
	case <-ctx.Done():
	}
}
