package op

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

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
	// Channel that a published message came by.
	Channel string `json:"channel,omitempty"`
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

// IsCommand says whether a cmd is one of these, also in the form for Node.js.
func IsCommand(cmd string) bool { return cmd == CmdOp || cmd == CmdReply || cmd == CmdCancel }

// Parse reads a frame. Its Body is a part of data. An error means that it is none.
func Parse(data []byte) (Frame, error) {
	var f Frame
	if err := json.Unmarshal(data, &f); err != nil {
		return Frame{}, fault.New(fault.Usage, "the frame cannot be read: %w", err)
	}
	if !IsCommand(f.Cmd) {
		return Frame{}, fault.New(fault.Usage, "%q is no frame of operations", f.Cmd)
	}
	return f, nil
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
