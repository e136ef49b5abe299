package nodejs

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/muster-run/muster/internal/channel"
)

// Kind is what a frame of a worker is about.
type Kind uint8

// The kinds: acts of NODE_CLUSTER from Online to ExitedAfterDisconnect, then its
// answers, then the other commands.
const (
	Unknown               Kind = iota // a command or an act that means nothing to a primary
	Online                            // the first frame of a worker
	QueryServer                       // wants to listen; Seq is to be answered
	Listening                         // a server listens; Query.Port is the real one
	Close                             // has closed the server Key
	ExitedAfterDisconnect             // wants to leave; Seq is to be acknowledged
	Reply                             // answers the frame Ack; Accepted
	HandleAck                         // the oldest descriptor under way has arrived
	HandleNack                        // the oldest descriptor under way was lost
	Handle                            // a message with a descriptor
	SocketsClosed                     // asks to be told when the sockets of SocketKey are closed
	SocketsCount                      // asks how many sockets of SocketKey there are
)

// String is the kind in Node's words.
func (k Kind) String() string {
	names := [...]string{
		"unknown", "online", "queryServer", "listening", "close", "exitedAfterDisconnect", "reply",
		"NODE_HANDLE_ACK", "NODE_HANDLE_NACK", "NODE_HANDLE", "NODE_SOCKET_NOTIFY_CLOSE", "NODE_SOCKET_GET_COUNT",
	}
	if int(k) < len(names) {
		return names[k]
	}
	return names[Unknown]
}

// Message is an internal frame of a Node.js worker. Which fields count is up to
// Kind; the others are zero.
type Message struct {
	Kind Kind
	// Seq is the worker's number of the frame; Ack that of ours that it answers.
	// -1: none.
	Seq, Ack int64
	// Accepted of a Reply.
	Accepted bool
	// Key of the server (Close).
	Key string
	// Query of QueryServer and Listening.
	Query Query
	// Type of a Handle (net.Socket, net.Server, dgram.Socket, net.Native,
	// dgram.Native …), and Msg, the message with it, as it is.
	Type string
	Msg  json.RawMessage
	// SocketKey is the server from which a net.Socket came; "": none that counts.
	SocketKey string
	// Name is the command, or the act of NODE_CLUSTER, as it was written.
	Name string
}

// Query is what a worker wants to listen on.
type Query struct {
	// Index tells apart the servers of one worker with the same address; from 0.
	Index int
	// Data of the server for all others (TLS ticket keys), JSON; nil: none.
	Data json.RawMessage
	// Address is an IP address, an absolute path (Type "-1"), or "": any.
	Address string
	// Port is 0 when none was given (any), -1 with a path; not checked.
	Port int
	// Type is "4" (also for any address), "6", "-1" for a path, "udp4" or "udp6".
	Type string
	// FD of listen({fd}), in the primary's numbering; -1: none.
	FD int
	// Flags are those of libuv: 1 IPV6ONLY, 2 REUSEPORT (TCP), 4 REUSEADDR and 8
	// REUSEPORT (UDP).
	Flags int
	// Backlog of pending connections; 0: the default.
	Backlog int
	// Readable and Writable for everybody: of a path.
	Readable, Writable bool
}

// Limits of what is read, in bytes.
const (
	controlMax = 1 << 20  // a frame that is no Handle
	dataMax    = 64 << 10 // Query.Data
	textMax    = 4 << 10  // a key, an address, a type
)

// ErrFrame says that a frame is not what Node.js would send.
var ErrFrame = errors.New("not a frame of Node.js")

// Parse reads a frame whose channel.Command begins with NODE_. Odd types that Node
// is known to send are understood (a port as a string, a backlog of false). The
// error is an ErrFrame. Data is not kept; Msg and Query.Data are copies.
func Parse(data []byte) (Message, error) {
	cmd := channel.Command(data)
	if !strings.HasPrefix(cmd, prefix) {
		return Message{}, fmt.Errorf("%w: it has no command", ErrFrame)
	}
	if len(data) > controlMax && cmd != cmdHandle {
		return Message{}, fmt.Errorf("%w: %s of %d bytes", ErrFrame, show(cmd), len(data))
	}
	var o object
	if err := json.Unmarshal(data, &o); err != nil {
		return Message{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	m, err := o.message(cmd)
	if err != nil {
		return Message{}, fmt.Errorf("%w: %s: %w", ErrFrame, show(m.Name), err)
	}
	return m, nil
}

// show is a name as it may stand in a text for people.
func show(name string) string { return strconv.Quote(name[:min(len(name), 40)]) }

// object is a JSON object with its values unread: names count with their case.
type object map[string]json.RawMessage

func (o object) message(cmd string) (Message, error) {
	m := Message{Seq: o.number("seq", -1), Ack: o.number("ack", -1), Name: cmd}
	var err error
	switch cmd {
	case cmdCluster:
		return o.cluster(m)
	case cmdAck:
		m.Kind = HandleAck
	case cmdNack:
		m.Kind = HandleNack
	case cmdHandle:
		m.Kind = Handle
		m.Msg = o["msg"]
		if m.Type, err = o.text("type"); err == nil {
			m.SocketKey, err = o.text("key")
		}
	case cmdSocketsClosed:
		m.Kind = SocketsClosed
		m.SocketKey, err = o.text("key")
	case cmdSocketsCount:
		m.Kind = SocketsCount
		m.SocketKey, err = o.text("key")
	}
	return m, err
}

func (o object) cluster(m Message) (Message, error) {
	act, err := o.text("act")
	if err != nil {
		return m, err
	}
	if act == "" && m.Ack >= 0 {
		m.Kind, m.Accepted = Reply, o.truth("accepted")
		return m, nil
	}
	m.Name = act
	switch act {
	case "online":
		m.Kind = Online
	case "queryServer":
		m.Kind = QueryServer
		m.Query, err = o.query()
	case "listening":
		m.Kind = Listening
		m.Query, err = o.query()
	case "close":
		m.Kind = Close
		m.Key, err = o.text("key")
	case "exitedAfterDisconnect":
		m.Kind = ExitedAfterDisconnect
	}
	if err == nil && m.Seq < 0 && (m.Kind == QueryServer || m.Kind == ExitedAfterDisconnect) {
		err = errors.New("it has no seq, so nobody could answer it")
	}
	return m, err
}

func (o object) query() (Query, error) {
	q := Query{
		Index: o.small("index", 0), Port: o.small("port", 0), FD: o.small("fd", -1),
		Flags: o.small("flags", 0), Backlog: max(0, o.small("backlog", 0)),
		Readable: o.truth("readableAll"), Writable: o.truth("writableAll"),
	}
	if data := o["data"]; o.truth("data") {
		q.Data = data
	}
	if len(q.Data) > dataMax {
		return Query{}, fmt.Errorf("its data has %d bytes", len(q.Data))
	}
	var err error
	if q.Address, err = o.text("address"); err != nil {
		return Query{}, err
	}
	q.Type, err = o.word("addressType")
	return q, err
}

// text is a string; "" when it is null or missing.
func (o object) text(name string) (string, error) {
	raw := o[name]
	if len(raw) == 0 || string(raw) == "null" {
		return "", nil
	}
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return "", fmt.Errorf("its %s is no string", name)
	}
	if len(s) > textMax {
		return "", fmt.Errorf("its %s has %d bytes", name, len(s))
	}
	return s, nil
}

// word is a string, or a number as its text.
func (o object) word(name string) (string, error) {
	if n := o.number(name, math.MinInt64); n != math.MinInt64 {
		return strconv.FormatInt(n, 10), nil
	}
	return o.text(name)
}

// number is an integer, or a string of one; otherwise it is what is missing.
func (o object) number(name string, missing int64) int64 {
	text := string(o[name])
	if len(text) > 40 { // no integer, and nothing to spend time on
		return missing
	}
	text = strings.Trim(text, `"`)
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	// 1e3, or 8000.0
	if f, err := strconv.ParseFloat(text, 64); err == nil && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
		return int64(f)
	}
	return missing
}

// small is a number of at most 32 bits.
func (o object) small(name string, missing int) int {
	if n := o.number(name, int64(missing)); n == int64(int32(n)) {
		return int(n)
	}
	return missing
}

// truth is what JavaScript makes of a value in a condition.
func (o object) truth(name string) bool {
	switch string(o[name]) {
	case "", "null", "false", "0", `""`:
		return false
	}
	return true
}
