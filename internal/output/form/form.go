// Package form is how a record looks in a log file: a line of JSON or of text.
package form

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-run/muster/api"
)

// textTime is the form of the time in text files (UTC).
const textTime = "2006-01-02T15:04:05.000Z"

// The streams of a record.
const (
	Stdout = "stdout"
	Stderr = "stderr"
)

// Append appends a record as a line of a file, in the format "json" or "text".
func Append(b []byte, r *api.Record, format string) []byte {
	if format == "text" {
		return appendText(b, r)
	}
	return appendJSON(b, r)
}

// appendText appends "TIME web#2 out LINE\n". "out+" says that the line goes on
// in the next record of this worker and stream.
func appendText(b []byte, r *api.Record) []byte {
	b = r.Time.UTC().AppendFormat(b, textTime)
	b = append(b, ' ')
	b = append(b, r.App...)
	if r.Slot >= 0 {
		b = append(b, '#')
		b = strconv.AppendInt(b, int64(r.Slot), 10)
	}
	word := " out"
	if r.Stream == Stderr {
		word = " err"
	}
	b = append(b, word...)
	if r.Cut {
		b = append(b, '+')
	}
	b = append(b, ' ')
	b = append(b, r.Line...)
	return append(b, '\n')
}

// appendJSON appends what encoding/json makes of the record without Lost, but
// leaves <, > and & as they are.
func appendJSON(b []byte, r *api.Record) []byte {
	b = append(b, `{"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","app":`...)
	b = appendString(b, r.App)
	b = append(b, `,"slot":`...)
	b = strconv.AppendInt(b, int64(r.Slot), 10)
	b = append(b, `,"pid":`...)
	b = strconv.AppendInt(b, int64(r.PID), 10)
	b = append(b, `,"stream":`...)
	b = appendString(b, r.Stream)
	b = append(b, `,"line":`...)
	b = appendString(b, r.Line)
	if r.Cut {
		b = append(b, `,"cut":true`...)
	}
	return append(b, "}\n"...)
}

// appendString appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		b = append(b, s[from:i]...)
		b = appendEscaped(b, c)
		i += size
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendEscaped(b []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch {
	case c == '"' || c == '\\':
		return append(b, '\\', c)
	case c == '\t':
		return append(b, `\t`...)
	case c == '\r':
		return append(b, `\r`...)
	case c >= utf8.RuneSelf:
		return append(b, "\ufffd"...)
	}
	return append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

// Decode understands a line of a file of either format. A line that is torn is
// refused; one that somebody else wrote is a record of app without a worker.
func Decode(line []byte, app string) (api.Record, bool) {
	var r api.Record
	if bytes.HasPrefix(line, []byte("{")) {
		if r, ok := decodeOwn(line); ok {
			return r, true
		}
		err := json.Unmarshal(line, &r)
		return r, err == nil && r.App != ""
	}
	if r, ok := decodeText(string(line)); ok {
		return r, true
	}
	return api.Record{App: app, Slot: -1, Stream: Stdout, Line: string(line)}, len(line) > 0
}

// decodeOwn understands what appendJSON writes, as long as no string needs an
// escape, ten times faster than encoding/json does. It refuses all else.
func decodeOwn(b []byte) (r api.Record, ok bool) {
	c := cursor{rest: b, ok: true}
	stamp := c.text(`{"time":"`)
	r.App = c.text(`,"app":"`)
	r.Slot = c.number(`,"slot":`)
	r.PID = c.number(`,"pid":`)
	r.Stream = c.text(`,"stream":"`)
	r.Line = c.text(`,"line":"`)
	if c.ok && bytes.HasPrefix(c.rest, []byte(`,"cut":true`)) {
		r.Cut = true
		c.rest = c.rest[len(`,"cut":true`):]
	}
	if !c.ok || string(c.rest) != "}" {
		return r, false
	}
	at, err := time.Parse(time.RFC3339Nano, stamp)
	r.Time = at
	return r, err == nil && r.App != ""
}

// cursor reads a line from its beginning.
type cursor struct {
	rest []byte
	ok   bool
}

func (c *cursor) expect(head string) bool {
	c.ok = c.ok && len(c.rest) >= len(head) && string(c.rest[:len(head)]) == head
	if c.ok {
		c.rest = c.rest[len(head):]
	}
	return c.ok
}

// text reads head, and a string without escapes up to its quote.
func (c *cursor) text(head string) string {
	if !c.expect(head) {
		return ""
	}
	n := bytes.IndexByte(c.rest, '"')
	if n < 0 || bytes.IndexByte(c.rest[:n], '\\') >= 0 || !utf8.Valid(c.rest[:n]) {
		c.ok = false
		return ""
	}
	var s string
	switch string(c.rest[:n]) { // most streams need no memory
	case Stdout:
		s = Stdout
	case Stderr:
		s = Stderr
	default:
		s = string(c.rest[:n])
	}
	c.rest = c.rest[n+1:]
	return s
}

// number reads head and a number.
func (c *cursor) number(head string) int {
	if !c.expect(head) {
		return 0
	}
	n := 0
	for n < len(c.rest) && (c.rest[n] == '-' || c.rest[n] >= '0' && c.rest[n] <= '9') {
		n++
	}
	v, err := strconv.Atoi(string(c.rest[:n]))
	c.ok = err == nil
	c.rest = c.rest[n:]
	return v
}

func decodeText(line string) (r api.Record, ok bool) {
	stamp, rest, _ := strings.Cut(line, " ")
	worker, rest, _ := strings.Cut(rest, " ")
	word, text, found := strings.Cut(rest, " ")
	at, err := time.Parse(textTime, stamp)
	if err != nil || !found {
		return r, false
	}
	r = api.Record{Time: at, Slot: -1, Line: text}
	r.App = worker
	if name, number, ok := strings.Cut(worker, "#"); ok {
		slot, err := strconv.Atoi(number)
		if err != nil || slot < 0 {
			return r, false
		}
		r.App, r.Slot = name, slot
	}
	word, r.Cut = strings.CutSuffix(word, "+")
	switch word {
	case "out":
		r.Stream = Stdout
	case "err":
		r.Stream = Stderr
	default:
		return r, false
	}
	return r, true
}
