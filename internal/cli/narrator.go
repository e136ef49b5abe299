package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// narrator turns events into lifecycle lines: one readable line per change.
// Not safe for concurrent use.
type narrator struct {
	// started is when each worker (by name and generation) began to start, to
	// say how long that took.
	started map[string]time.Time
	// well names the apps that have been Healthy, running says that the first
	// configuration was applied: the first time of both is no news.
	well    map[string]bool
	running bool
	// warned is the text of the last warning about each worker: what follows
	// need not repeat it.
	warned map[string]string
}

func newNarrator() *narrator {
	return &narrator{started: map[string]time.Time{}, well: map[string]bool{}, warned: map[string]string{}}
}

// mood is how a line is meant.
type mood int

const (
	quiet mood = iota
	plain
	good
	caution
	bad
)

// ink of a mood; 0 for none.
func (m mood) ink() ink {
	switch m {
	case quiet:
		return dim
	case good:
		return green
	case caution:
		return yellow
	case bad:
		return red
	case plain:
	}
	return 0
}

// line describes an event, "" when it is not worth a line.
func (n *narrator) line(e event.Event) (string, mood) {
	switch d := e.Data.(type) {
	case event.AgentStarted:
		return fmt.Sprintf("muster %s runs %s (pid %d)", d.Version, d.Project, d.PID), quiet
	case event.AgentStopping:
		return "stopping: " + d.Reason, plain
	case event.Applied:
		return n.applied(d)
	case event.AppState:
		return n.appState(e, d)
	case event.WorkerState:
		return n.workerState(e, d)
	case event.WorkerExit:
		return n.workerExit(e, d)
	case event.WorkerHealth:
		return workerHealth(e, d)
	case event.WorkerStatus:
		return fmt.Sprintf("%s says: %s", e.Worker(), d.Text), quiet
	case event.Reload:
		return reloadLine(e, d)
	case event.Warning:
		return n.warning(e, d)
	case event.Order:
		return fmt.Sprintf("%s %s, asked by %s", d.Verb, d.Target, d.By), quiet
	}
	return "", quiet
}

func (n *narrator) applied(d event.Applied) (string, mood) {
	m := plain
	if !n.running {
		m = quiet
	}
	n.running = true
	if len(d.Changes) == 0 {
		return "", quiet
	}
	return "applied: " + strings.Join(d.Changes, "; "), m
}

// appState is told only where the workers' own lines do not say it already.
func (n *narrator) appState(e event.Event, d event.AppState) (string, mood) {
	text := because(fmt.Sprintf("%s is %s", e.App, d.To), d.Why)
	if d.To != event.Healthy {
		return text, quiet
	}
	again := n.well[e.App] && d.From != event.Reloading && d.From != event.AppStopped
	n.well[e.App] = true
	if again {
		return text + " again", good
	}
	return text, quiet
}

func (n *narrator) workerState(e event.Event, d event.WorkerState) (string, mood) {
	name := e.Worker()
	if d.Why == n.warned[name] {
		d.Why = ""
	}
	switch d.To {
	case event.Starting:
		n.started[processName(e)] = e.Time
		return because(fmt.Sprintf("%s starting%s", name, pidWords(e)), d.Why), plain
	case event.Ready:
		return because(fmt.Sprintf("%s ready%s", name, n.timed(e)), d.Why), good
	case event.Draining:
		return because(fmt.Sprintf("%s draining%s", name, pidWords(e)), d.Why), plain
	case event.Stopping:
		return because(fmt.Sprintf("%s stopping%s", name, pidWords(e)), d.Why), quiet
	case event.Stopped:
		m := plain
		if d.From == event.Failed {
			m = quiet // its end was told
		}
		return because(fmt.Sprintf("%s stopped%s", name, pidWords(e)), d.Why), m
	case event.Backoff:
		return because(name+" backoff"+nextWords(e.Time, d.Next), d.Why), caution
	case event.Failed:
		return because(name+" failed", d.Why), bad
	}
	return "", quiet
}

// workerExit tells an exit that nobody asked for.
func (n *narrator) workerExit(e event.Event, d event.WorkerExit) (string, mood) {
	if d.Planned {
		return "", quiet
	}
	text := fmt.Sprintf("%s %s (pid %d, after %s", e.Worker(), ended(d.Code, d.Signal), e.PID, age(d.Uptime))
	if d.Core {
		text += ", core dumped"
	}
	m := caution
	if d.Code == 0 {
		m = plain
	}
	return text + ")", m
}

func workerHealth(e event.Event, d event.WorkerHealth) (string, mood) {
	if d.OK {
		return fmt.Sprintf("%s health check passes", e.Worker()), quiet
	}
	return fmt.Sprintf("%s health check failed (%d in a row): %s", e.Worker(), d.Failures, d.Text), caution
}

func reloadLine(e event.Event, d event.Reload) (string, mood) {
	switch d.Phase {
	case event.ReloadQueued:
		return fmt.Sprintf("%s reload waits for the one that runs", e.App), plain
	case event.ReloadBuilding:
		return fmt.Sprintf("preparing release %s of %s", d.Release, e.App), quiet
	case event.ReloadRunning:
		m := plain
		if d.Done == d.Total {
			m = quiet // the next line says it
		}
		return fmt.Sprintf("reloading %s %d/%d", e.App, d.Done, d.Total), m
	case event.ReloadReverting:
		return fmt.Sprintf("%s reload is undone, the old release serves on", e.App), caution
	case event.ReloadDone:
		return fmt.Sprintf("%s reloaded, %s%s", e.App, count(d.Total, "worker"), releaseWords(d.Release)), good
	case event.ReloadFailed, event.ReloadAborted:
		text := fmt.Sprintf("%s reload %s", e.App, d.Phase)
		if d.Fault != nil {
			return withDetails(text+": "+d.Fault.Error(), *d.Fault), bad
		}
		return text, bad
	}
	return "", quiet
}

func (n *narrator) warning(e event.Event, d event.Warning) (string, mood) {
	text := d.Fault.Error()
	if d.Fault.Where == "" && e.App != "" {
		text = e.Worker() + ": " + text
	}
	if d.Fault.Code == fault.ExitedEarly {
		return "warning: " + text, quiet // the exit and what follows it say so
	}
	n.warned[e.Worker()] = d.Fault.Text
	return "warning: " + withDetails(text, d.Fault), caution
}

// withDetails adds the last output and the fix below a line.
func withDetails(text string, f fault.Fault) string {
	for _, line := range f.Output {
		text += "\n  | " + line
	}
	if f.Fix != "" {
		text += "\n  fix: " + f.Fix
	}
	return text
}

func processName(e event.Event) string { return fmt.Sprintf("%s/%d", e.Worker(), e.Generation) }

func pidWords(e event.Event) string {
	if e.PID == 0 {
		return ""
	}
	return fmt.Sprintf(" (pid %d)", e.PID)
}

// timed is " (pid 4711, 0.4s)" where the start was seen.
func (n *narrator) timed(e event.Event) string {
	start, ok := n.started[processName(e)]
	if !ok || e.PID == 0 {
		return pidWords(e)
	}
	return fmt.Sprintf(" (pid %d, %s)", e.PID, age(e.Time.Sub(start)))
}

func nextWords(now time.Time, next *time.Time) string {
	if next == nil {
		return ""
	}
	return ", next start in " + age(next.Sub(now))
}

func releaseWords(release string) string {
	if release == "" {
		return ""
	}
	return ", release " + release
}

func because(text, why string) string {
	if why == "" {
		return text
	}
	return text + ": " + why
}
