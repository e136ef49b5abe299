package console

import (
	"fmt"
	"io"
	"sync"
)

// gateKept is how many lines wait while the gate is shut; of more, the latest.
const gateKept = 100

// gate lets live lines through, keeps them while it is shut, and drops them while it
// is muted. Safe for concurrent use.
type gate struct {
	mu       sync.Mutex
	w        io.Writer
	closed   bool
	silenced bool
	waiting  []string
	dropped  int
}

func newGate(w io.Writer) *gate { return &gate{w: w} }

// to changes where the lines go.
func (g *gate) to(w io.Writer) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = w
}

// say passes on one line, or several with line ends between them.
func (g *gate) say(line string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.silenced:
	case !g.closed:
		fmt.Fprintln(g.w, line)
	default:
		g.waiting = append(g.waiting, line)
		if n := len(g.waiting) - gateKept; n > 0 {
			g.waiting = g.waiting[n:]
			g.dropped += n
		}
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}

// open prints what has waited.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = false
	if g.dropped > 0 {
		fmt.Fprintf(g.w, "… %d lines are not shown (`events` and `logs` have them)\n", g.dropped)
	}
	for _, line := range g.waiting {
		fmt.Fprintln(g.w, line)
	}
	g.waiting, g.dropped = nil, 0
}

func (g *gate) mute(on bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.silenced = on
}
