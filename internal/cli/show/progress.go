package show

import (
	"fmt"
	"time"

	"github.com/muster-run/muster/event"
)

// Progress counts what an order has done so far, from the events it causes. Not
// safe for concurrent use.
type Progress struct {
	Doing string
	// Since is when it began; older events are not of this order.
	Since time.Time
	goal  event.State
	total map[string]int
	done  map[string]map[int]bool
	last  string
}

// NewProgress begins to count. doing ("starting") and goal are what the lines
// say and which state counts as done; goal "" counts reloads only.
func NewProgress(doing string, goal event.State) *Progress {
	return &Progress{
		Doing: doing, goal: goal, Since: time.Now(),
		total: map[string]int{}, done: map[string]map[int]bool{},
	}
}

// Expect says how many workers an app has to count up to.
func (p *Progress) Expect(app string, workers int) { p.total[app] = workers }

// Line is the progress after one more event, "" when it is none.
func (p *Progress) Line(e event.Event) string {
	text := ""
	switch d := e.Data.(type) {
	case event.Reload:
		text = reloadProgress(e.App, d)
	case event.WorkerState:
		text = p.count(e, d)
	default:
	}
	if text == p.last {
		return ""
	}
	p.last = text
	return text
}

func reloadProgress(app string, d event.Reload) string {
	switch d.Phase {
	case event.ReloadRunning:
		return fmt.Sprintf("reloading %s %d/%d", app, d.Done, d.Total)
	case event.ReloadBuilding:
		return "preparing release " + d.Release + " of " + app
	case event.ReloadQueued:
		return app + " waits for the reload that runs"
	case event.ReloadReverting:
		return "undoing the reload of " + app
	case event.ReloadDone, event.ReloadFailed, event.ReloadAborted:
	}
	return ""
}

// count is "starting web 2/4".
func (p *Progress) count(e event.Event, d event.WorkerState) string {
	if p.goal == "" || d.To != p.goal && d.To != event.Failed {
		return ""
	}
	if p.done[e.App] == nil {
		p.done[e.App] = map[int]bool{}
	}
	p.done[e.App][e.Slot] = true
	n := len(p.done[e.App])
	return fmt.Sprintf("%s %s %d/%d", p.Doing, e.App, n, max(n, p.total[e.App]))
}
