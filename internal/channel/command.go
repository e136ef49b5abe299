package channel

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
)

// Commands that workers and the agent understand (PROTOCOL.md).
const (
	CmdReady  = "MUSTER_READY"
	CmdStatus = "MUSTER_STATUS"
	CmdPing   = "MUSTER_PING"
	CmdPong   = "MUSTER_PONG"
	CmdSend   = "MUSTER_SEND"
	CmdFailed = "MUSTER_FAILED"
)

// Command is the cmd of an internal frame: an object whose "cmd" is a string that
// begins with NODE_ or MUSTER_ and is longer than that. "": it is a message of user
// code, whatever it looks like, or no JSON at all. The order of the keys does not
// matter; of two the last one counts, as in JavaScript.
func Command(data []byte) string {
	if !suspect(data) {
		return ""
	}
	var object map[string]json.RawMessage
	var cmd string
	if json.Unmarshal(data, &object) != nil || json.Unmarshal(object["cmd"], &cmd) != nil {
		return ""
	}
	for _, prefix := range [...]string{"NODE_", "MUSTER_"} {
		if len(cmd) > len(prefix) && strings.HasPrefix(cmd, prefix) {
			return cmd
		}
	}
	return ""
}

// suspect is a cheap look that spares most messages the parser: without an escape
// of letters a command has both words in it as they are.
func suspect(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	if len(data) == 0 || data[0] != '{' {
		return false
	}
	has := func(word string) bool { return bytes.Contains(data, []byte(word)) }
	return has(`\u`) || has(`"cmd"`) && (has(`"NODE_`) || has(`"MUSTER_`))
}

// FirstSeq is where an agent's sequence numbers begin: above those of any earlier
// agent of the worker, and below 2^53, as JavaScript needs. It is now in
// microseconds since 1970.
func FirstSeq(now time.Time) int64 { return now.UnixMicro() }
