package dealt

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/muster-run/muster/internal/channel"
)

// The commands and acts that are spoken here.
const (
	cmdCluster = "NODE_CLUSTER"
	cmdHandle  = "NODE_HANDLE"

	actOnline     = "online"
	actQuery      = "queryServer"
	actListening  = "listening"
	actClose      = "close"
	actNewConn    = "newconn"
	actDisconnect = "disconnect"
	actLeave      = "exitedAfterDisconnect"

	frameAck  = `{"cmd":"NODE_HANDLE_ACK"}`
	frameNack = `{"cmd":"NODE_HANDLE_NACK"}`
)

// query is what is asked for; the same fields say that it listens.
type query struct {
	Index int `json:"index"`
	// Address is an IP address or an absolute path; nil: every address.
	Address *string `json:"address"`
	// Port is -1 with a path.
	Port int `json:"port"`
	// Type is 4 (also for every address), 6, or -1 for a path.
	Type int `json:"addressType"`
	// FD is the descriptor of a declared listener, from 3; nil: none.
	FD    *int `json:"fd,omitempty"`
	Flags int  `json:"flags,omitempty"`
}

// only6 is libuv's flag of a listener that takes no IPv4 beside IPv6.
const only6 = 1

// outgoing is a frame to muster.
type outgoing struct {
	Cmd string `json:"cmd"`
	Act string `json:"act"`
	*query
	Key string `json:"key,omitempty"`
	Seq int64  `json:"seq"`
}

// incoming is a frame of muster's.
type incoming struct {
	Cmd   string `json:"cmd"`
	Act   string `json:"act"`
	Key   string `json:"key"`
	Seq   int64  `json:"seq"`
	Ack   *int64 `json:"ack"`
	Errno int    `json:"errno"`
	// Sockname is where a server listens.
	Sockname *struct {
		Address string `json:"address"`
		Port    int    `json:"port"`
	} `json:"sockname"`
}

// newconnHead is how muster begins the frame of a connection.
const newconnHead = `{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"`

// readNewconn reads such a frame as muster writes it. ok is false for any other, which
// read may still understand.
func readNewconn(data []byte) (f incoming, ok bool) {
	rest, ok := bytes.CutPrefix(data, []byte(newconnHead))
	key, rest, found := bytes.Cut(rest, []byte(`","seq":`))
	digits, found2 := bytes.CutSuffix(rest, []byte(`}}`))
	if !ok || !found || !found2 || bytes.ContainsAny(key, `"\`) {
		return incoming{}, false
	}
	seq, err := strconv.ParseInt(string(digits), 10, 64)
	return incoming{Cmd: cmdCluster, Act: actNewConn, Key: string(key), Seq: seq}, err == nil
}

// read is a frame, also out of the NODE_HANDLE that carries it. What is not muster's own
// (user code of another worker has sent it) is empty.
func read(data []byte) (f incoming, handle bool) {
	if f, handle = readNewconn(data); handle {
		return f, true
	}
	return parse(data)
}

// parse is read for any frame.
func parse(data []byte) (f incoming, handle bool) {
	var outer struct {
		Cmd string          `json:"cmd"`
		Msg json.RawMessage `json:"msg"`
	}
	if json.Unmarshal(data, &outer) != nil {
		return incoming{}, false
	}
	handle = outer.Cmd == cmdHandle
	if handle {
		data = outer.Msg
	}
	if json.Unmarshal(data, &f) != nil || f.Cmd != cmdCluster {
		return incoming{}, handle
	}
	return f, handle
}

// isOurs says whether a frame is of Node's protocol, and not one of operations.
func isOurs(data []byte) bool {
	if bytes.HasPrefix(data, []byte(newconnHead)) {
		return true
	}
	cmd := channel.Command(data)
	return strings.HasPrefix(cmd, "NODE_") && !strings.HasPrefix(cmd, "NODE_MUSTER_")
}

// appendAccepted appends the answer to a newconn, in the form that muster reads fastest.
func appendAccepted(b []byte, ack int64, accepted bool, seq int64) []byte {
	b = strconv.AppendInt(append(b, `{"cmd":"NODE_CLUSTER","ack":`...), ack, 10)
	b = strconv.AppendBool(append(b, `,"accepted":`...), accepted)
	return append(strconv.AppendInt(append(b, `,"seq":`...), seq, 10), '}')
}

// text is a frame's; these types never fail.
func text(f outgoing) []byte {
	f.Cmd = cmdCluster
	b, _ := json.Marshal(f)
	return b
}
