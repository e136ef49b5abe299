package cli

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/agent"
	"github.com/muster-run/muster/internal/output"
)

// muster is the name under which the agent itself speaks; it is padded like a
// worker's.
const muster = "muster"

// consoleBuffer is how many lines of an app a terminal may fall behind.
const consoleBuffer = 8192

// speaker is the coloured, padded name before a line.
func speaker(p *printer, name string, i ink, width int) string {
	return p.paint(i, fmt.Sprintf("%-*s", width, name)+" |") + " "
}

// reset ends what a worker's own colour codes may have left open.
func reset(p *printer, line string) string {
	if p.colour && strings.Contains(line, "\x1b[") {
		return "\x1b[0m"
	}
	return ""
}

// console shows a foreground agent: lifecycle lines on stderr, the workers'
// lines on the stream they were written to.
type console struct {
	session *session
	agent   *agent.Agent
	// lifecycle only: the workers' lines are not shown.
	silent bool

	mu    sync.Mutex
	apps  []string // that are shown, for the colours
	width int
	wg    sync.WaitGroup
}

// show starts the console and returns what waits until everything that the
// agent had to say is printed; call it after the agent has ended.
func (s *session) show(a *agent.Agent, silent bool) (wait func()) {
	c := &console{session: s, agent: a, silent: silent, width: len(muster)}
	sub := a.Events().Subscribe(0, 4096)
	c.wg.Go(func() { // ends when the agent closes its Hub
		n := newNarrator()
		for e := range sub.C {
			c.event(n, e)
		}
	})
	return c.wg.Wait
}

func (c *console) event(n *narrator, e event.Event) {
	if e.App != "" && e.Slot >= 0 {
		c.join(e.App, e.Worker())
	}
	text, m := n.line(e)
	if text == "" || m == quiet && !c.session.flags.verbose || c.session.flags.quiet && m != bad {
		return
	}
	c.lifecycle(e.Time, text, m)
}

// join makes the console follow an app from its first event on. The Log keeps
// what was printed before, so nothing is missed.
func (c *console) join(app, worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.width = max(c.width, len(worker))
	for _, known := range c.apps {
		if known == app {
			return
		}
	}
	log := c.agent.Log(app)
	if log == nil {
		return
	}
	c.apps = append(c.apps, app)
	if c.silent || !c.agent.Shows(app) {
		return
	}
	past, follower, err := log.TailFollow(output.Filter{Since: c.agent.Started()}, -1, consoleBuffer)
	if err != nil {
		follower = log.Follow(consoleBuffer)
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

func (c *console) record(r api.Record) {
	p := c.session.out
	if r.Stream == "stderr" {
		p = c.session.err
	}
	if r.Lost > 0 {
		c.lifecycle(r.Time, count(r.Lost, "line")+" of "+r.App+" not shown: the terminal was too slow (the log has them)", caution)
	}
	name := r.App
	if r.Slot >= 0 {
		name = workerName(r.App, r.Slot)
	}
	c.mu.Lock()
	prefix := speaker(p, name, appInk(r.App, c.apps), c.width)
	c.mu.Unlock()
	p.line("%s%s%s", prefix, r.Line, reset(p, r.Line))
}

// lifecycle is "12:00:01 muster   web#0 ready (pid 4711, 0.4s)" (S1.15).
func (c *console) lifecycle(at time.Time, text string, m mood) {
	p := c.session.err
	c.mu.Lock()
	width := c.width
	c.mu.Unlock()
	if i := m.ink(); i != 0 {
		text = p.paint(i, text)
	}
	p.line("%s %s %s", p.paint(dim, at.Local().Format("15:04:05")), p.paint(bold, fmt.Sprintf("%-*s", width, muster)), text)
}
