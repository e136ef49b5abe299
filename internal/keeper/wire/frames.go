package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

const (
	// Version of the protocol that this program speaks.
	Version = 1
	// VersionMin is the oldest that it understands (PROTOCOL.md, Versions).
	VersionMin = 1
	// FDsMax is the most descriptors that one start can carry.
	FDsMax = 250
	// RequestMax bounds a frame from the agent, in bytes.
	RequestMax = 8 << 20
	// ReplyMax bounds one from the keeper.
	ReplyMax = 16 << 20
	// ListPart is how many processes or names one reply holds.
	ListPart = 100
)

// The ops of an agent.
const (
	OpHello     = "hello"
	OpStart     = "start"
	OpList      = "list"
	OpAck       = "ack"
	OpSetMeta   = "set_meta"
	OpSetMain   = "set_main"
	OpSetKillAt = "set_kill_at"
	OpOutput    = "output"
	OpWait      = "wait"
	OpCommit    = "commit"
	OpRelease   = "release"
	OpPut       = "put"
	OpGet       = "get"
	OpTake      = "take"
	OpNames     = "names"
	OpUp        = "up"
	OpNotify    = "notify"
	OpUpgrade   = "upgrade"
	OpEnd       = "end"
)

// The ops of a keeper.
const (
	OpReply   = "reply"
	OpExit    = "exit"
	OpSignal  = "signal"
	OpTrouble = "trouble"
)

// Request is a frame from the agent. Which fields an op has is in PROTOCOL.md.
type Request struct {
	Op       string          `json:"op"`
	ID       uint64          `json:"id,omitempty"` // 0: no reply is wanted
	Protocol int             `json:"protocol,omitempty"`
	Min      int             `json:"min,omitempty"`
	Command  *Command        `json:"command,omitempty"`
	Process  Text            `json:"process,omitempty"`
	PID      int             `json:"pid,omitempty"`
	Meta     []byte          `json:"meta,omitempty"`
	KillAt   int64           `json:"kill_at,omitempty"`
	Out      uint64          `json:"out,omitempty"`
	Pos      int64           `json:"pos,omitempty"`
	Skip     *[2]int64       `json:"skip,omitempty"`
	Name     Text            `json:"name,omitempty"`
	State    Text            `json:"state,omitempty"`
	What     json.RawMessage `json:"what,omitempty"`
	Code     int             `json:"code,omitempty"`
}

// Reply is a frame from the keeper.
type Reply struct {
	Op        string   `json:"op"`
	ID        uint64   `json:"id,omitempty"` // of the request
	Error     *Failure `json:"error,omitempty"`
	FDs       int      `json:"fds,omitempty"`  // how many the frame carries
	More      bool     `json:"more,omitempty"` // another reply with this id follows
	Hello     *Hello   `json:"hello,omitempty"`
	Process   *Proc    `json:"process,omitempty"`
	Processes []Proc   `json:"processes,omitempty"`
	Names     []Text   `json:"names,omitempty"`
	Out       uint64   `json:"out,omitempty"`
	Dir       Text     `json:"dir,omitempty"`
	State     *State   `json:"state,omitempty"`
	Exit      *Exit    `json:"exit,omitempty"`
	Signal    int      `json:"signal,omitempty"`
	Of        string   `json:"of,omitempty"`    // trouble: the op
	About     Text     `json:"about,omitempty"` // trouble: its process or name
}

// Hello is what the keeper tells a new agent.
type Hello struct {
	// PID of the keeper, Version of its program, Protocol that is spoken.
	PID      int       `json:"pid"`
	Version  string    `json:"version"`
	Protocol int       `json:"protocol"`
	Started  time.Time `json:"started"`
	// Agents counts the agents that were started, this one included.
	Agents int `json:"agents"`
	// Last says what became of the agent before: "killed by signal SIGKILL",
	// "upgraded"; "" for the first.
	Last string `json:"last,omitempty"`
	// Upgrade is what the last upgrade came to; nil: there was none.
	Upgrade json.RawMessage `json:"upgrade,omitempty"`
	// Signals that ask for the end and came before this agent.
	Signals []int `json:"signals,omitempty"`
}

// DecodeRequest reads a frame. The error says that it is none: no JSON object,
// or without an op. A field of a wrong type makes bad: the frame can be answered.
func DecodeRequest(data []byte) (r Request, bad, err error) {
	err = json.Unmarshal(data, &r)
	var mistyped *json.UnmarshalTypeError
	if errors.As(err, &mistyped) && r.Op != "" {
		return r, err, nil
	}
	if err == nil && r.Op == "" {
		err = errors.New("it has no op")
	}
	if err != nil {
		return r, nil, fmt.Errorf("not a request: %w", err)
	}
	return r, nil, nil
}
