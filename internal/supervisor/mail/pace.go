package mail

import (
	"cmp"
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
// costs the agent little. The zero value is ready; one caller at a time.
type Pace struct {
	// Frames may be heard in each Window, and Bytes of a frame count as another one;
	// 0: 1,000 in a second, and 16 KiB.
	Frames int
	Window time.Duration
	Bytes  int

	from time.Time // of the window that is counted
	used int
}

// Note counts a frame of so many bytes. left is how long to wait before the next one is
// heard, as this window is used up; 0: it is not.
func (p *Pace) Note(now time.Time, size int) (left time.Duration) {
	window := p.window()
	if now.Sub(p.from) >= window {
		p.from, p.used = now, 0
	}
	p.used += 1 + size/cmp.Or(p.Bytes, paceBytes)
	if p.used < cmp.Or(p.Frames, paceFrames) {
		return 0
	}
	return max(0, p.from.Add(window).Sub(now))
}

// Full says that the present window is used up.
func (p *Pace) Full(now time.Time) bool {
	return p.used >= cmp.Or(p.Frames, paceFrames) && now.Sub(p.from) < p.window()
}

// Keep is called after each frame and waits for the next window when this one is
// used up, unless ctx ends.
func (p *Pace) Keep(ctx context.Context, size int) {
	left := p.Note(time.Now(), size)
	if left == 0 {
		return
	}
	select {
	case <-time.After(left):
	case <-ctx.Done():
	}
}

func (p *Pace) window() time.Duration { return cmp.Or(p.Window, time.Second) }
