// Package human is the state of an app in human words, computed in one place from
// what its workers are. It is pure.
package human

import (
	"fmt"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// Worker is what counts of one that has a slot of the pool.
type Worker struct {
	Name  string // "web#2"
	State event.State
	Why   string
	// Ended by itself, and is not started again.
	Ended bool
	// Fails is what its health check says while it fails; "": it does not.
	Fails string
}

// Count sums up the workers of an app.
type Count struct {
	Wanted, Ready, Failed, Trying, Completed int
	Live                                     int // processes, those that drain included
	Why                                      string

	unwell string
}

// Missing adds a slot that has no worker yet.
func (c *Count) Missing() { c.Wanted++ }

// Awaited adds the slots of an app that is still to start.
func (c *Count) Awaited(slots int, waitsFor string) {
	c.Wanted, c.Trying, c.Why = slots, 1, "starting"
	if waitsFor != "" {
		c.Why = "waits for " + waitsFor
	}
}

// Add adds one worker.
func (c *Count) Add(w Worker) {
	reason := fmt.Sprintf("%s %s", w.Name, w.State)
	if w.Why != "" {
		reason += ": " + w.Why
	}
	switch w.State {
	case event.Ready:
		c.Wanted++
		c.Ready++
		if w.Fails != "" {
			c.unwell = fmt.Sprintf("%s fails its health check: %s", w.Name, w.Fails)
		}
		return
	case event.Failed:
		c.Wanted++
		c.Failed++
	case event.Starting, event.Backoff, event.Draining, event.Stopping:
		c.Wanted++
		c.Trying++
	case event.Stopped:
		if w.Ended {
			c.Completed++
			return
		}
		c.Wanted++
	}
	c.Why = reason
}

// App is what else there is to know.
type App struct {
	Broken     bool   // an error inside muster
	Reloading  string // the progress of a reload; "": none
	StartFault *fault.Fault
	Running    bool // shall run
}

// State is the state, and why it is not Healthy.
func (c Count) State(a App) (event.Health, string) {
	switch {
	case a.Broken:
		return event.AppFailed, "an error inside muster: see the log of the agent"
	case a.Reloading != "":
		return event.Reloading, a.Reloading
	case a.StartFault != nil && c.Live == 0:
		return event.AppFailed, fmt.Sprintf("%s (%s)", a.StartFault.Text, a.StartFault.Code)
	case !a.Running && c.Live == 0:
		return event.AppStopped, ""
	case c.Failed > 0 && c.Ready == 0 && c.Trying == 0:
		return event.AppFailed, c.Why
	case c.Ready == c.Wanted && c.Failed == 0 && a.Running:
		return c.allReady()
	case c.Ready > 0:
		return event.Degraded, c.Why
	case c.Live == 0 && c.Trying == 0 && c.Failed == 0:
		return event.AppStopped, c.Why
	}
	return event.Recovering, c.Why
}

func (c Count) allReady() (event.Health, string) {
	switch {
	case c.unwell != "":
		return event.Degraded, c.unwell
	case c.Wanted == 0 && c.Completed > 0:
		return event.AppStopped, "completed"
	case c.Wanted == 0:
		return event.AppStopped, "it has 0 workers"
	}
	return event.Healthy, ""
}
