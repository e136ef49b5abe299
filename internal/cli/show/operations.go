package show

import (
	"fmt"
	"strings"

	"github.com/muster-run/muster/event"
)

// crashLines is how many lines of a stack are shown.
const crashLines = 10

// crashLine is what a worker has said of its own end. The exit that follows is told to
// everybody; this is for who looks closer.
func crashLine(e event.Event, d event.WorkerCrash) string {
	text := strings.TrimSpace(d.Error)
	if d.Type != "" && !strings.HasPrefix(text, d.Type) {
		text = because(d.Type, text)
	}
	text = because(e.Worker()+" reports a crash", strings.ReplaceAll(text, "\n", " "))
	lines := strings.Split(strings.TrimSpace(d.Stack), "\n")
	for _, line := range lines[:min(crashLines, len(lines))] {
		if line != "" {
			text += "\n  | " + line
		}
	}
	return text
}

// heartbeatLine tells of silence, and of its end. That a worker is replaced for it is a
// warning of its own.
func heartbeatLine(e event.Event, d event.WorkerHeartbeat) (string, Mood) {
	switch {
	case d.Killed:
		return "", Quiet
	case d.OK:
		return fmt.Sprintf("%s gives signs of life again, after %s", e.Worker(), Age(d.Age)), Good
	}
	return fmt.Sprintf("%s has given no sign of life for %s (pid %d)", e.Worker(), Age(d.Age), e.PID), Caution
}

// notifiedLine is the result of one delivery; most of them went well.
func notifiedLine(e event.Event, d event.Notified) (string, Mood) {
	if d.Fault != nil {
		return "warning: " + withDetails(d.Fault.Error(), *d.Fault), Caution
	}
	text := fmt.Sprintf("%s was told: %s", d.Notifier, d.Occasion)
	if e.App != "" {
		text += " of " + e.App
	}
	if d.Held > 0 {
		text += fmt.Sprintf("; %d before were held back", d.Held)
	}
	return text, Quiet
}
