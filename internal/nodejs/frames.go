package nodejs

import (
	"encoding/json"
	"strconv"

	"golang.org/x/sys/unix"
)

// The commands.
const (
	prefix           = "NODE_"
	cmdCluster       = "NODE_CLUSTER"
	cmdHandle        = "NODE_HANDLE"
	cmdAck           = "NODE_HANDLE_ACK"
	cmdNack          = "NODE_HANDLE_NACK"
	cmdSocketsClosed = "NODE_SOCKET_NOTIFY_CLOSE"
	cmdSocketsCount  = "NODE_SOCKET_GET_COUNT"

	frameAck  = `{"cmd":"NODE_HANDLE_ACK"}`
	frameNack = `{"cmd":"NODE_HANDLE_NACK"}`
)

// Type of the descriptor that goes with a message of user code, in Node's words.
const (
	TypeSocket   = "net.Socket"
	TypeServer   = "net.Server"
	TypeDatagram = "dgram.Socket"
	// typeNative and typeNativeDatagram are bare sockets, without the object.
	typeNative         = "net.Native"
	typeNativeDatagram = "dgram.Native"
)

// Sockname is where a server listens, as server.address() says it.
type Sockname struct {
	Address string `json:"address"`
	Family  string `json:"family"` // IPv4 or IPv6
	Port    int    `json:"port"`
}

// clusterFrame is a frame of ours that is rare enough to be made by encoding/json.
type clusterFrame struct {
	Cmd      string          `json:"cmd"`
	Act      string          `json:"act,omitempty"`
	Errno    *int            `json:"errno,omitempty"`
	Key      string          `json:"key,omitempty"`
	Ack      *int64          `json:"ack,omitempty"`
	Data     json.RawMessage `json:"data,omitempty"`
	Sockname *Sockname       `json:"sockname,omitempty"`
	Seq      int64           `json:"seq"`
}

// handleFrame wraps a message that goes with a descriptor.
type handleFrame struct {
	Cmd       string `json:"cmd"`
	Type      string `json:"type"`
	DgramType string `json:"dgramType,omitempty"`
	Msg       any    `json:"msg"`
}

// socketsFrame answers what a worker asks of sockets that it has sent.
type socketsFrame struct {
	Cmd   string `json:"cmd"`
	Key   string `json:"key"`
	Count *int   `json:"count,omitempty"`
}

// frame is the text of one; our own types never fail.
func frame(v any) []byte {
	text, _ := json.Marshal(v)
	return text
}

// newconnHead is a newconn frame of a server up to its number. It is made once for
// each server: the rest of a frame is digits.
func newconnHead(key string) []byte {
	quoted, _ := json.Marshal(key)
	return append(append([]byte(`{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":`), quoted...), `,"seq":`...)
}

// appendNewconn appends the whole frame.
func appendNewconn(b, head []byte, seq int64) []byte {
	return append(strconv.AppendInt(append(b, head...), seq, 10), '}', '}')
}

// hotReply reads an answer to newconn in the very form in which Node writes it. ok
// is false for anything else, which Parse may still understand.
func hotReply(data []byte) (ack int64, accepted, ok bool) {
	rest, ok := cut(data, `{"cmd":"NODE_CLUSTER","ack":`)
	if !ok {
		return 0, false, false
	}
	if ack, rest, ok = digits(rest); !ok {
		return 0, false, false
	}
	if rest, ok = cut(rest, `,"accepted":`); !ok {
		return 0, false, false
	}
	if after, yes := cut(rest, `true,"seq":`); yes {
		rest, accepted = after, true
	} else if rest, ok = cut(rest, `false,"seq":`); !ok {
		return 0, false, false
	}
	_, rest, ok = digits(rest)
	return ack, accepted, ok && string(rest) == "}"
}

// cut is bytes.CutPrefix for a constant.
func cut(b []byte, text string) (rest []byte, ok bool) {
	if len(b) < len(text) || string(b[:len(text)]) != text {
		return b, false
	}
	return b[len(text):], true
}

// digits reads a number of at most 18 of them, as JavaScript writes it.
func digits(b []byte) (n int64, rest []byte, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = 10*n + int64(b[i]-'0')
	}
	if i == 0 || i > 18 || i > 1 && b[0] == '0' {
		return 0, b, false
	}
	return n, b[i:], true
}

// datagramType is Node's word for a datagram socket; "": it is none.
func datagramType(fd int) string {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil || kind != unix.SOCK_DGRAM {
		return ""
	}
	switch domain, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN); domain {
	case unix.AF_INET:
		return "udp4"
	case unix.AF_INET6:
		return "udp6"
	}
	return ""
}

// Connections reads {"cmd":"MUSTER_CONNECTIONS","open":N}, by which muster's preload
// says how many connections a worker has open. It does not allocate.
func Connections(data []byte) (open int, ok bool) {
	rest, ok := cut(data, `{"cmd":"MUSTER_CONNECTIONS","open":`)
	if !ok {
		return 0, false
	}
	n, rest, ok := digits(rest)
	return int(n), ok && string(rest) == "}"
}
