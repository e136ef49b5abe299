package op

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/muster-run/muster/fault"
)

// The cmd of each kind of frame.
const (
	CmdOp     = "MUSTER_OP"     // a request, or something told
	CmdReply  = "MUSTER_REPLY"  // the answer to one
	CmdCancel = "MUSTER_CANCEL" // the asker does not wait any more
)

const (
	// BodyMax is the largest body in bytes of JSON.
	BodyMax = 1 << 20
	// NameMax bounds the names of ops, channels, locks, limiters … in bytes.
	NameMax = 200
	// HopsMax is how many messages may be sent from within each other's handlers.
	HopsMax = 16
	// WithinDefault is the deadline of a request that names none.
	WithinDefault = 30 * time.Second
	// WithinMax is the longest deadline.
	WithinMax = 24 * time.Hour
)

// Frame is one message on a channel.
type Frame struct {
	Cmd string `json:"cmd"`
	// Op is the operation: chat:say. Absent in replies.
	Op string `json:"op,omitempty"`
	// ID is answered by a reply with the same one; 0: no reply is wanted.
	ID int64 `json:"id,omitempty"`
	// To is a selector (web, web#1, tag:edge, role:worker, all, client:NAME); "":
	// muster itself. Of several a request goes to one that is ready, in turn, unless
	// All is set: then it goes to all, and their replies are gathered.
	To  string `json:"to,omitempty"`
	All bool   `json:"all,omitempty"`
	// From and PID say who has sent it; muster fills them in.
	From string `json:"from,omitempty"`
	PID  int    `json:"pid,omitempty"`
	// Within is how many milliseconds the asker waits; 0: WithinDefault.
	Within int64 `json:"within,omitempty"`
	// Channel that a published message came by, and the Queue that it was taken from.
	Channel string `json:"channel,omitempty"`
	Queue   string `json:"queue,omitempty"`
	// Hops counts the handlers that it was sent from within.
	Hops int `json:"hops,omitempty"`
	// Again: it may have been received before, by an agent that was replaced.
	Again bool            `json:"again,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`

	// In replies:
	Error *Error `json:"error,omitempty"`
	// More: another reply to the same ID follows (All).
	More bool `json:"more,omitempty"`
}

// Error is how a reply says that something failed.
type Error struct {
	Code fault.Code `json:"code"`
	Text string     `json:"text"`
	Fix  string     `json:"fix,omitempty"`
}

// Error implements error.
func (e *Error) Error() string { return e.Text }

// Fault makes a fault of it.
func (e *Error) Fault() *fault.Fault { return fault.New(e.Code, "%s", e.Text).WithFix(e.Fix) }

// ErrorMax is how much of each text of an Error is passed on, in bytes.
const ErrorMax = 16 << 10

// Short cuts off what is too long of a party's Error, so that the frame can be read; nil
// of nil.
func (e *Error) Short() *Error {
	if e == nil || len(e.Code)+len(e.Text)+len(e.Fix) <= ErrorMax {
		return e
	}
	cut := func(text string, limit int) string { return strings.ToValidUTF8(text[:min(len(text), limit)], "") }
	return &Error{Code: fault.Code(cut(string(e.Code), NameMax)), Text: cut(e.Text, ErrorMax), Fix: cut(e.Fix, ErrorMax)}
}

// ErrorOf makes the Error of a reply of any error; nil of nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	f := fault.From(err)
	return &Error{Code: f.Code, Text: f.Text, Fix: f.Fix}
}

// Is says cheaply whether a frame of a channel is one of these, if it was written by
// Append or with cmd as its first key. Parse decides.
func Is(data []byte) bool {
	for _, prefix := range [...]string{`{"cmd":"MUSTER_OP"`, `{"cmd":"MUSTER_REPLY"`, `{"cmd":"MUSTER_CANCEL"`} {
		if bytes.HasPrefix(data, []byte(prefix)) {
			return true
		}
	}
	return false
}

// IsCommand says whether a cmd is one of these; it is without the NODE_ of the form for
// Node.js.
func IsCommand(cmd string) bool { return cmd == CmdOp || cmd == CmdReply || cmd == CmdCancel }

// FrameMax is the longest frame in bytes: a body, and all else.
const FrameMax = BodyMax + 64<<10

// Parse reads a frame. Its Body is a part of data and is valid JSON in UTF-8. An error
// of code TooLarge comes with the keys that stood before the body, if any other with
// nothing: data is no frame. Keys that it does not know are passed over; of two equal
// ones the last counts.
func Parse(data []byte) (Frame, error) {
	var f Frame
	var want func(key []byte) bool
	large := len(data) > FrameMax
	if large { // not worth a look at all of it
		want = func(key []byte) bool { return string(key) != "body" }
	} else if !utf8.Valid(data) {
		return Frame{}, unreadable(errJSON)
	}
	if err := object(data, want, f.set); err != nil {
		return Frame{}, unreadable(err)
	}
	switch {
	case !IsCommand(f.Cmd):
		return Frame{}, fault.New(fault.Usage, "%q is no frame of operations", f.Cmd)
	case large:
		return f, tooLarge(len(data))
	case len(f.Body) > BodyMax:
		size := len(f.Body)
		f.Body = nil
		return f, tooLarge(size)
	}
	return f, nil
}

func unreadable(err error) error {
	return fault.New(fault.Usage, "the frame cannot be read: %w", err)
}

func tooLarge(size int) error {
	return fault.New(fault.TooLarge, "the message has %d bytes, at most %d are carried", size, BodyMax)
}

// set takes one member of a frame.
func (f *Frame) set(key, value []byte) (err error) {
	if string(value) == "null" && string(key) != "body" {
		return nil
	}
	switch string(key) {
	case "cmd":
		f.Cmd, err = textOf(value)
	case "op":
		f.Op, err = textOf(value)
	case "id":
		f.ID, err = numberOf(value)
	case "to":
		f.To, err = textOf(value)
	case "all":
		f.All, err = boolOf(value)
	case "from":
		f.From, err = textOf(value)
	case "pid":
		err = intOf(value, &f.PID)
	case "within":
		f.Within, err = numberOf(value)
	case "channel":
		f.Channel, err = textOf(value)
	case "queue":
		f.Queue, err = textOf(value)
	case "hops":
		err = intOf(value, &f.Hops)
	case "again":
		f.Again, err = boolOf(value)
	case "body":
		f.Body = value
	case "error":
		f.Error = new(Error)
		err = json.Unmarshal(value, f.Error)
	case "more":
		f.More, err = boolOf(value)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

var errType = errors.New("it is of another type")

// textOf reads a string that the scanner has checked. The commands cost nothing.
func textOf(value []byte) (string, error) {
	switch string(value) {
	case `"` + CmdOp + `"`:
		return CmdOp, nil
	case `"` + CmdReply + `"`:
		return CmdReply, nil
	}
	if value[0] != '"' {
		return "", errType
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return string(value[1 : len(value)-1]), nil
	}
	var text string
	err := json.Unmarshal(value, &text)
	return text, err
}

// numberOf reads a number; a fraction is cut off.
func numberOf(value []byte) (int64, error) {
	var n int64
	if len(value) > 18 || !digit(value[0]) {
		return slowNumber(value)
	}
	for _, c := range value {
		if !digit(c) {
			return slowNumber(value)
		}
		n = 10*n + int64(c-'0')
	}
	return n, nil
}

func slowNumber(value []byte) (int64, error) {
	if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
		return n, nil
	}
	v, err := strconv.ParseFloat(string(value), 64)
	if err != nil || v >= 1<<53 || v <= -1<<53 {
		return 0, errType
	}
	return int64(v), nil
}

// intOf reads a small number.
func intOf(value []byte, to *int) error {
	n, err := numberOf(value)
	if err == nil && int64(int32(n)) != n {
		err = errType
	}
	*to = int(n)
	return err
}

func boolOf(value []byte) (bool, error) {
	switch string(value) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, errType
}

// Append writes a frame as one line without its end. Body must be valid JSON without
// line ends.
func (f Frame) Append(b []byte) []byte {
	b = append(b, `{"cmd":"`...)
	b = append(append(b, f.Cmd...), '"')
	b = appendText(b, "op", f.Op)
	b = appendNumber(b, "id", f.ID)
	b = appendText(b, "to", f.To)
	b = appendTrue(b, "all", f.All)
	b = appendText(b, "from", f.From)
	b = appendNumber(b, "pid", int64(f.PID))
	b = appendNumber(b, "within", f.Within)
	b = appendText(b, "channel", f.Channel)
	b = appendText(b, "queue", f.Queue)
	b = appendNumber(b, "hops", int64(f.Hops))
	b = appendTrue(b, "again", f.Again)
	if len(f.Body) > 0 {
		b = append(append(b, `,"body":`...), f.Body...)
	}
	if f.Error != nil {
		text, err := json.Marshal(f.Error)
		if err == nil { // three strings: it is nil
			b = append(append(b, `,"error":`...), text...)
		}
	}
	b = appendTrue(b, "more", f.More)
	return append(b, '}')
}

func appendText(b []byte, key, text string) []byte {
	if text == "" {
		return b
	}
	b = append(append(append(b, ',', '"'), key...), '"', ':')
	if plain(text) {
		return append(append(append(b, '"'), text...), '"')
	}
	quoted, err := json.Marshal(text)
	if err != nil {
		return append(b, '"', '"')
	}
	return append(b, quoted...)
}

// plain says that a text is its own form in JSON.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

func appendNumber(b []byte, key string, n int64) []byte {
	if n == 0 {
		return b
	}
	b = append(append(append(b, ',', '"'), key...), '"', ':')
	return strconv.AppendInt(b, n, 10)
}

func appendTrue(b []byte, key string, v bool) []byte {
	if !v {
		return b
	}
	return append(append(append(b, ',', '"'), key...), `":true`...)
}
