// Package foreground shows an agent of this process while it runs: its lifecycle
// lines on stderr, the lines of its workers on the stream they were written to.
package foreground

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/cli/show"
	"github.com/muster-run/muster/internal/output"
)

// muster is the name under which the agent itself speaks; it is padded like a
// worker's.
const muster = "muster"

// linesBuffer is how many lines of an app a terminal may fall behind.
const linesBuffer = 8192

// eventBuffer is how many events it may fall behind before it begins again with
// those that the agent has kept.
const eventBuffer = 4096

// Options of Show.
type Options struct {
	Agent    *agent.Agent
	Out, Err *show.Printer
	// Verbose shows every lifecycle line, Quiet only the bad ones.
	Verbose, Quiet bool
	// LifecycleOnly leaves the workers' lines out.
	LifecycleOnly bool
}

// screen is the state of Show.
type screen struct {
	Options

	mu    sync.Mutex
	apps  []string // that are shown, for the colours
	width int
	wg    sync.WaitGroup
}

// Show starts it and returns what waits until everything that the agent
// had to say is printed; call it after the agent has ended.
func Show(o Options) (wait func()) {
	c := &screen{Options: o, width: len(muster)}
	sub := o.Agent.Events().Subscribe(0, eventBuffer)
	c.wg.Go(func() { // ends when the agent closes its Hub
		n := show.NewNarrator()
		for last := uint64(0); ; {
			for e := range sub.C {
				last = e.Seq
				c.event(n, e)
			}
			if !errors.Is(sub.Err(), event.ErrSlow) {
				return
			}
			sub = o.Agent.Events().Subscribe(last, eventBuffer) // the terminal was too slow
		}
	})
	return c.wg.Wait
}

func (c *screen) event(n *show.Narrator, e event.Event) {
	if e.App != "" && e.Slot >= 0 {
		c.join(e.App, e.Worker())
	}
	text, m := n.Line(e)
	if text == "" || m == show.Quiet && !c.Verbose || c.Quiet && m != show.Bad {
		return
	}
	c.lifecycle(e.Time, text, m)
}

// join makes it follow an app from its first event on. The Log keeps
// what was printed before, so nothing is missed.
func (c *screen) join(app, worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.width = max(c.width, len(worker))
	for _, known := range c.apps {
		if known == app {
			return
		}
	}
	log := c.Agent.Log(app)
	if log == nil {
		return
	}
	c.apps = append(c.apps, app)
	if c.LifecycleOnly || !c.Agent.Shows(app) {
		return
	}
	past, follower, err := log.TailFollow(output.Filter{Since: c.Agent.Started()}, -1, linesBuffer)
	if err != nil {
		follower = log.Follow(linesBuffer)
	}
	c.wg.Go(func() { // ends when the agent closes the Log
		for _, r := range past {
			c.record(r)
		}
		for r := range follower.C {
			c.record(r)
		}
	})
}

func (c *screen) record(r api.Record) {
	p := c.Out
	if r.Stream == "stderr" {
		p = c.Err
	}
	if r.Lost > 0 {
		c.lifecycle(r.Time, show.Count(r.Lost, "line")+" of "+r.App+" not shown: the terminal was too slow (the log has them)", show.Caution)
	}
	name := r.App
	if r.Slot >= 0 {
		name = show.WorkerName(r.App, r.Slot)
	}
	c.mu.Lock()
	prefix := show.Speaker(p, name, show.AppInk(r.App, c.apps), c.width)
	c.mu.Unlock()
	p.Line("%s%s%s", prefix, r.Line, show.Reset(p, r.Line))
}

// lifecycle is "12:00:01 muster   web#0 ready (pid 4711, 0.4s)" (S1.15).
func (c *screen) lifecycle(at time.Time, text string, m show.Mood) {
	p := c.Err
	c.mu.Lock()
	width := c.width
	c.mu.Unlock()
	if i := m.Ink(); i != 0 {
		text = p.Paint(i, text)
	}
	p.Line("%s %s %s", p.Paint(show.Dim, at.Local().Format("15:04:05")), p.Paint(show.Bold, fmt.Sprintf("%-*s", width, muster)), text)
}
