// Package crash is what a worker itself knows of its end: the error that its code did
// not catch, as its SDK reports it (op.Crash) before the process exits. It is pure.
//
// Three sizes: Of is what an event carries; Brief is what is kept until the exit, and
// stands in the exit's own report; Text and Top are what a fault shows.
package crash

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/op"
)

const (
	// Brief keeps so many bytes of the error and lines of the stack.
	briefError, briefLines = 2 << 10, 20
	// lineMax bounds a line of the stack, and the text of a fault, in bytes.
	lineMax = 300
	// typeMax bounds the name of the error's kind, in bytes.
	typeMax = 200
)

// Of is the event of a report, cut to its limits: valid UTF-8, without control
// characters but line ends and tabs.
func Of(b op.CrashBody) event.WorkerCrash {
	return event.WorkerCrash{
		Error: clean(b.Error, event.CrashMax), Stack: clean(b.Stack, event.CrashMax), Type: oneLine(clean(b.Type, typeMax)),
	}
}

// Brief is what is kept of it.
func Brief(c event.WorkerCrash) *event.WorkerCrash {
	return &event.WorkerCrash{Error: cut(c.Error, briefError), Stack: strings.Join(Top(&c, briefLines), "\n"), Type: c.Type}
}

// Text is the error in one line: "TypeError: x is not a function"; "" of nil.
func Text(c *event.WorkerCrash) string {
	if c == nil {
		return ""
	}
	first := oneLine(strings.TrimSpace(c.Error))
	switch {
	case c.Type == "", strings.HasPrefix(first, c.Type):
	case first == "":
		first = c.Type
	default:
		first = c.Type + ": " + first
	}
	return cut(first, lineMax)
}

// Top are the first n lines of the stack, without empty ones; none of nil.
func Top(c *event.WorkerCrash, n int) (lines []string) {
	if c == nil {
		return nil
	}
	for line := range strings.Lines(c.Stack) {
		if line = strings.TrimRight(line, " \t\r\n"); line != "" && len(lines) < n {
			lines = append(lines, cut(line, lineMax))
		}
	}
	return lines
}

// Above puts the top of the stack before the last lines that the process printed,
// unless they show it already.
func Above(c *event.WorkerCrash, lines []string) []string {
	top := Top(c, 8)
	if len(top) == 0 || slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, top[0]) }) {
		return lines
	}
	return append(top, lines...)
}

// oneLine is the first line.
func oneLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return strings.TrimSpace(first)
}

// clean is a text that may be shown.
func clean(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r < ' ', r >= 0x7f && r < 0xa0:
			return ' '
		}
		return r
	}, strings.ToValidUTF8(cut(text, most), ""))
	return cut(text, most)
}

// cut is at most so many bytes of a text, whole letters.
func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most]
}
