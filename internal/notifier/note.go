package notifier

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-run/muster/spec/secret"
)

// The occasions of notes.
const (
	Started   = "started"
	Crash     = "crash"
	Recovered = "recovered"
	GaveUp    = "gave_up"
	Test      = "test"
)

// textMax bounds each text of a note, in bytes; linesMax the last lines of output.
const (
	textMax  = 4 << 10
	linesMax = 20
)

// Note is what is told.
type Note struct {
	Event   string    `json:"event"`
	Time    time.Time `json:"time"`
	Project string    `json:"project"`
	Node    string    `json:"node"`
	App     string    `json:"app,omitempty"`
	Worker  string    `json:"worker,omitempty"` // web#1
	PID     int       `json:"pid,omitempty"`
	// Code is the exit code; -1 with Signal.
	Code   int    `json:"code"`
	Signal string `json:"signal,omitempty"`
	// Error is the real error's text where the worker's SDK has told it, else why
	// the worker went; Stack is the language's own.
	Error  string `json:"error,omitempty"`
	Stack  string `json:"stack,omitempty"`
	Output string `json:"output,omitempty"` // the last lines
	Uptime string `json:"uptime,omitempty"`
	// Failures since it was ready last.
	Failures int `json:"failures,omitempty"`
	// Held is how many notes before this one were not delivered.
	Held int `json:"held,omitempty"`
	// Key authorises stop and restart at the address Control.
	Key     string `json:"key,omitempty"`
	Control string `json:"control,omitempty"`
}

// Title is one line for people.
func (n Note) Title() string {
	where := n.Project + " on " + n.Node
	switch n.Event {
	case Started:
		return "muster started " + where
	case Crash:
		return n.Worker + " crashed (" + where + ")"
	case Recovered:
		return n.Worker + " recovered (" + where + ")"
	case GaveUp:
		return n.Worker + " was given up (" + where + ")"
	}
	return "a test of muster's notifier (" + where + ")"
}

// Text is the title and what is known, for people.
func (n Note) Text() string {
	lines := []string{n.Title()}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, label+text)
		}
	}
	add("", n.Error)
	add("", n.end())
	if n.Failures > 1 {
		add("", fmt.Sprintf("%d failures in a row", n.Failures))
	}
	add("", n.Stack)
	add("last output:\n", n.Output)
	if n.Key != "" {
		add("", fmt.Sprintf("session key: %s (for http://%s)", n.Key, n.Control))
	}
	if n.Held > 0 {
		add("", fmt.Sprintf("%d notes before this one were held back", n.Held))
	}
	return strings.Join(lines, "\n")
}

// end says how the process ended.
func (n Note) end() string {
	switch {
	case n.Signal != "":
		return fmt.Sprintf("pid %d, %s after %s", n.PID, n.Signal, n.Uptime)
	case n.PID != 0 && n.Uptime != "":
		return fmt.Sprintf("pid %d, exit code %d after %s", n.PID, n.Code, n.Uptime)
	}
	return ""
}

// clean masks and cuts what came from outside.
func (n Note) clean() Note {
	for _, text := range []*string{&n.Error, &n.Stack, &n.Output} {
		*text = cut(secret.Text(strings.ToValidUTF8(*text, "\ufffd")), textMax)
	}
	return n
}

// cut leaves the beginning of a text, whole characters of it.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = text[:limit-3]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + "…"
}

var placeholder = regexp.MustCompile(`\{\{\s*([a-z_]+)\s*\}\}`)

// fill puts a note's facts into a template: {{title}}, {{text}} and the keys of its
// JSON form, each as JSON text without quotes. An unknown name stays as it is.
func (n Note) fill(template string) string {
	facts := n.facts()
	return placeholder.ReplaceAllStringFunc(template, func(found string) string {
		value, ok := facts[placeholder.FindStringSubmatch(found)[1]]
		if !ok {
			return found
		}
		text, err := json.Marshal(value)
		if err != nil { // a string: it is nil
			return ""
		}
		return string(text[1 : len(text)-1])
	})
}

// facts are the values of a note as texts.
func (n Note) facts() map[string]string {
	return map[string]string{
		"title": n.Title(), "text": n.Text(), "event": n.Event, "time": n.Time.UTC().Format(time.RFC3339),
		"project": n.Project, "node": n.Node, "app": n.App, "worker": n.Worker, "pid": strconv.Itoa(n.PID),
		"code": strconv.Itoa(n.Code), "signal": n.Signal, "error": n.Error, "stack": n.Stack, "output": n.Output,
		"uptime": n.Uptime, "failures": strconv.Itoa(n.Failures), "held": strconv.Itoa(n.Held), "key": n.Key, "control": n.Control,
	}
}
