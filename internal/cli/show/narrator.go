package show

import (
	"fmt"
	"strings"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// Narrator turns events into lifecycle lines: one readable line per change.
// Not safe for concurrent use.
type Narrator struct {
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

// NewNarrator makes one that has seen nothing yet.
func NewNarrator() *Narrator {
	return &Narrator{started: map[string]time.Time{}, well: map[string]bool{}, warned: map[string]string{}}
}

// Mood is how a line is meant.
type Mood int

// The moods.
const (
	Quiet Mood = iota // worth a line only to who wants to see everything
	Plain
	Good
	Caution
	Bad
)

// Ink of a Mood; 0 for none.
func (m Mood) Ink() Ink {
	switch m {
	case Quiet:
		return Dim
	case Good:
		return Green
	case Caution:
		return Yellow
	case Bad:
		return Red
	case Plain:
	}
	return 0
}

// Line describes an event, "" when it is not worth a line.
func (n *Narrator) Line(e event.Event) (string, Mood) {
	switch d := e.Data.(type) {
	case event.AgentStarted:
		return agentLine(d)
	case event.AgentStopping:
		return "stopping: " + d.Reason, Plain
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
		return fmt.Sprintf("%s says: %s", e.Worker(), d.Text), Quiet
	case event.WorkerNode:
		return nodeLine(e, d), Quiet
	case event.WorkerMessage:
		return messageLine(e, d), Quiet
	case event.WorkerLifecycle:
		return e.Worker() + ": " + d.Text, Plain
	case event.WorkerCrash:
		return crashLine(e, d), Quiet
	case event.WorkerHeartbeat:
		return heartbeatLine(e, d)
	case event.Notified:
		return notifiedLine(e, d)
	case event.Reload:
		return reloadLine(e, d)
	case event.Warning:
		return n.warning(e, d)
	case event.Order:
		return fmt.Sprintf("%s %s, asked by %s", d.Verb, d.Target, d.By), Quiet
	}
	return "", Quiet
}

// agentLine is news when the agent goes on where another one was.
func agentLine(d event.AgentStarted) (string, Mood) {
	if d.Before == 0 {
		return fmt.Sprintf("muster %s runs %s (pid %d)", d.Version, d.Project, d.PID), Quiet
	}
	return fmt.Sprintf("agent %d is gone (%s); agent %d (%s) has adopted %s",
		d.Before, d.Why, d.PID, d.Version, Count(d.Adopted, "worker")), Caution
}

func (n *Narrator) applied(d event.Applied) (string, Mood) {
	m := Plain
	if !n.running {
		m = Quiet
	}
	n.running = true
	if len(d.Changes) == 0 {
		return "", Quiet
	}
	return "applied: " + strings.Join(d.Changes, "; "), m
}

// appState is told only where the workers' own lines do not say it already.
func (n *Narrator) appState(e event.Event, d event.AppState) (string, Mood) {
	text := because(fmt.Sprintf("%s is %s", e.App, d.To), d.Why)
	if d.To != event.Healthy {
		return text, Quiet
	}
	again := n.well[e.App] && d.From != event.Reloading && d.From != event.AppStopped
	n.well[e.App] = true
	if again {
		return text + " again", Good
	}
	return text, Quiet
}

func (n *Narrator) workerState(e event.Event, d event.WorkerState) (string, Mood) {
	name := e.Worker()
	if d.Why == n.warned[name] {
		d.Why = ""
	}
	switch d.To {
	case event.Starting:
		n.started[processName(e)] = e.Time
		return because(fmt.Sprintf("%s starting%s", name, pidWords(e)), d.Why), Plain
	case event.Ready:
		return because(fmt.Sprintf("%s ready%s", name, n.timed(e)), d.Why), Good
	case event.Draining:
		return because(fmt.Sprintf("%s draining%s", name, pidWords(e)), d.Why), Plain
	case event.Stopping:
		return because(fmt.Sprintf("%s stopping%s", name, pidWords(e)), d.Why), Quiet
	case event.Stopped:
		m := Plain
		if d.From == event.Failed {
			m = Quiet // its end was told
		}
		return because(fmt.Sprintf("%s stopped%s", name, pidWords(e)), d.Why), m
	case event.Backoff:
		return because(name+" backoff"+nextWords(e.Time, d.Next), d.Why), Caution
	case event.Failed:
		return because(name+" failed", d.Why), Bad
	}
	return "", Quiet
}

// workerExit tells an exit that nobody asked for.
func (n *Narrator) workerExit(e event.Event, d event.WorkerExit) (string, Mood) {
	if d.Planned {
		return "", Quiet
	}
	text := fmt.Sprintf("%s %s (pid %d, after %s", e.Worker(), ended(d.Code, d.Signal), e.PID, Age(d.Uptime))
	if d.Core {
		text += ", core dumped"
	}
	m := Caution
	if d.Code == 0 {
		m = Plain
	}
	return text + ")", m
}

func workerHealth(e event.Event, d event.WorkerHealth) (string, Mood) {
	if d.OK {
		return fmt.Sprintf("%s health check passes", e.Worker()), Quiet
	}
	return fmt.Sprintf("%s health check failed (%d in a row): %s", e.Worker(), d.Failures, d.Text), Caution
}

func reloadLine(e event.Event, d event.Reload) (string, Mood) {
	switch d.Phase {
	case event.ReloadQueued:
		return fmt.Sprintf("%s reload waits for the one that runs", e.App), Plain
	case event.ReloadBuilding:
		return fmt.Sprintf("preparing release %s of %s", d.Release, e.App), Quiet
	case event.ReloadRunning:
		m := Plain
		if d.Done == d.Total {
			m = Quiet // the next line says it
		}
		return fmt.Sprintf("reloading %s %d/%d", e.App, d.Done, d.Total), m
	case event.ReloadReverting:
		return fmt.Sprintf("%s reload is undone, the old release serves on", e.App), Caution
	case event.ReloadDone:
		return fmt.Sprintf("%s reloaded, %s%s", e.App, Count(d.Total, "worker"), releaseWords(d.Release)), Good
	case event.ReloadFailed, event.ReloadAborted:
		text := fmt.Sprintf("%s reload %s", e.App, d.Phase)
		if d.Fault != nil {
			return withDetails(text+": "+d.Fault.Error(), *d.Fault), Bad
		}
		return text, Bad
	}
	return "", Quiet
}

func (n *Narrator) warning(e event.Event, d event.Warning) (string, Mood) {
	text := d.Fault.Error()
	if d.Fault.Where == "" && e.App != "" {
		text = e.Worker() + ": " + text
	}
	if d.Over {
		return strings.TrimSuffix(text, " ("+string(d.Fault.Code)+")"), Good
	}
	if d.Fault.Code == fault.ExitedEarly {
		return "warning: " + text, Quiet // the exit and what follows it say so
	}
	n.warned[e.Worker()] = d.Fault.Text
	return "warning: " + withDetails(text, d.Fault), Caution
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
func (n *Narrator) timed(e event.Event) string {
	start, ok := n.started[processName(e)]
	if !ok || e.PID == 0 {
		return pidWords(e)
	}
	return fmt.Sprintf(" (pid %d, %s)", e.PID, Age(e.Time.Sub(start)))
}

func nextWords(now time.Time, next *time.Time) string {
	if next == nil {
		return ""
	}
	return ", next start in " + Age(next.Sub(now))
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
