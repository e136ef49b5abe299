package op

import (
	"cmp"
	"encoding/json"
	"math"
	"time"
)

// HelloBody of Hello.
type HelloBody struct {
	// SDK that speaks, such as "go/1", for people.
	SDK string `json:"sdk,omitempty"`
}

// Welcome answers Hello.
type Welcome struct {
	Project string   `json:"project"`
	Node    string   `json:"node"`
	Name    string   `json:"name"` // web#0, or client:NAME
	App     string   `json:"app,omitempty"`
	Role    string   `json:"role,omitempty"`
	Tags    []string `json:"tags,omitempty"`
	Slot    int      `json:"slot"`
	Settings
	// Agent is the pid of the agent, Epoch how many agents there have been.
	Agent int `json:"agent"`
	Epoch int `json:"epoch"`
}

// Settings of an app that its processes act on; also the body of ConfigChanged,
// with Changes.
type Settings struct {
	// HeartbeatMS is heartbeat.interval in milliseconds; 0: none is wanted.
	HeartbeatMS int64 `json:"heartbeat_ms"`
	// Console is the directory for a console's socket, and its port; 0: none.
	ConsoleDir  string `json:"console_dir,omitempty"`
	ConsolePort int    `json:"console_port,omitempty"`
	// Changes, one line each ("ports.http 8000 → 9000"), secrets masked.
	Changes []string `json:"changes,omitempty"`
}

// CrashBody of Crash.
type CrashBody struct {
	Error string `json:"error"`
	Stack string `json:"stack,omitempty"`
	Type  string `json:"error_type,omitempty"`
}

// TextBody of Lifecycle.
type TextBody struct {
	Text string `json:"text"`
}

// PeersBody of Peers: the selector; "": everybody.
type PeersBody struct {
	To string `json:"to"`
}

// Peer is one of the answer to Peers.
type Peer struct {
	Name string `json:"name"`
	App  string `json:"app,omitempty"`
	Role string `json:"role,omitempty"`
	PID  int    `json:"pid"`
	// Ready: requests to its app may be given to it.
	Ready bool `json:"ready"`
}

// ChannelBody of Subscribe and Unsubscribe. Of the subscribers with one Queue each
// message goes to one, in turn; "": to all. A channel that begins with ":" is one of
// the process's own app.
type ChannelBody struct {
	Channel string `json:"channel"`
	Queue   string `json:"queue,omitempty"`
}

// PublishBody of Publish. The publisher gets none itself, unless Self.
type PublishBody struct {
	Channel string          `json:"channel"`
	Message json.RawMessage `json:"message"`
	// Op names the message; "": Message.
	Op   string `json:"op,omitempty"`
	Self bool   `json:"self,omitempty"`
}

// ReadPublish reads the body of Publish faster than encoding/json does, and without a
// copy: Message is a part of data, which a Parse has checked.
func ReadPublish(data []byte) (PublishBody, error) {
	var b PublishBody
	if err := object(data, nil, b.set); err != nil {
		return PublishBody{}, err
	}
	return b, nil
}

func (b *PublishBody) set(key, value []byte) (err error) {
	if string(value) == "null" && string(key) != "message" {
		return nil
	}
	switch string(key) {
	case "channel":
		b.Channel, err = textOf(value)
	case "message":
		b.Message = value
	case "op":
		b.Op, err = textOf(value)
	case "self":
		b.Self, err = boolOf(value)
	}
	return err
}

// Receivers answers Publish, and a Frame with All and without a wish for replies.
type Receivers struct {
	Receivers int `json:"receivers"`
	// Missed had no room for it.
	Missed []string `json:"missed,omitempty"`
}

// Gathered is the last reply to a Frame with All: how many were asked, who has
// replied, and who has not (with the code of the reason).
type Gathered struct {
	Asked   int               `json:"asked"`
	Replied int               `json:"replied"`
	Missing map[string]string `json:"missing,omitempty"`
}

// OpsBody of Listen and Unlisten: names of ops; "*": all.
type OpsBody struct {
	Ops []string `json:"ops"`
}

// Command is a command that a process offers to the console.
type Command struct {
	// Name is the first word; Pattern says which words follow: a name for a word,
	// NAME:int, NAME:number, NAME:on|off, NAME... for the rest. [NAME] may be left out.
	Name    string `json:"name"`
	Pattern string `json:"pattern,omitempty"`
	Help    string `json:"help,omitempty"`
	// Of is who offers it; muster fills it in.
	Of []string `json:"of,omitempty"`
}

// CommandsBody of AddCommands and DelCommands (where names are enough), and the
// answer to Commands.
type CommandsBody struct {
	Commands []Command `json:"commands"`
}

// CommandCall is the body of CommandRun; its reply is any JSON, a string is shown as
// it is.
type CommandCall struct {
	Name string         `json:"name"`
	Args map[string]any `json:"args"`
}

// KillBody of Kill: the process's own app is stopped; with Agent the agent and all it
// runs, which needs allow: [stop_agent]. ExitCode is muster's own, once everything
// has stopped.
type KillBody struct {
	Reason string `json:"reason,omitempty"`
	// Graceful is true unless it is there and false.
	Graceful *bool `json:"graceful,omitempty"`
	ExitCode int   `json:"exit_code,omitempty"`
	Agent    bool  `json:"agent,omitempty"`
}

// OrderBody of Restart and Reload: a selector; "": the process's own app. Others need
// allow: [orders].
type OrderBody struct {
	Selector string `json:"selector,omitempty"`
	Reason   string `json:"reason,omitempty"`
}

// PortBody of SetPort, for the process's own app, or App with allow: [orders]. With
// Now its workers are reloaded, else the port counts from the next start.
type PortBody struct {
	App  string `json:"app,omitempty"`
	Name string `json:"name"`
	Port int    `json:"port"`
	Now  bool   `json:"now,omitempty"`
}

// ProbeBody of SetProbe, likewise: the interval in milliseconds.
type ProbeBody struct {
	App        string `json:"app,omitempty"`
	IntervalMS int64  `json:"interval_ms"`
}

// LimiterBody of LimiterTake: a token bucket of Burst tokens to which Rate are added
// in every IntervalMS.
type LimiterBody struct {
	Name string `json:"name"`
	Key  string `json:"key,omitempty"`
	// Rate above 0; Burst at least 1, 0: Rate rounded up; IntervalMS 0: 1000.
	Rate       float64 `json:"rate"`
	Burst      float64 `json:"burst,omitempty"`
	IntervalMS int64   `json:"interval_ms,omitempty"`
	// Tokens wanted; 0: 1.
	Tokens float64 `json:"tokens,omitempty"`
}

// WithDefaults fills in what is not said.
func (b LimiterBody) WithDefaults() LimiterBody {
	if b.Burst == 0 {
		b.Burst = max(1, math.Ceil(b.Rate))
	}
	b.IntervalMS, b.Tokens = cmp.Or(b.IntervalMS, 1000), cmp.Or(b.Tokens, 1)
	return b
}

// Time is a body's number of milliseconds. What does not fit is the longest time there
// is, or the shortest, which all refuse.
func Time(ms int64) time.Duration {
	const most = int64(math.MaxInt64 / time.Millisecond)
	return time.Duration(max(-most, min(most, ms))) * time.Millisecond
}

// Milliseconds are rounded up: who waits that long has waited long enough. A time that
// is over has none.
func Milliseconds(d time.Duration) int64 {
	return int64((max(0, d) + time.Millisecond - 1) / time.Millisecond)
}

// Taken answers LimiterTake. A refusal moves nothing; WaitNS is the exact time until
// the same question would be allowed.
type Taken struct {
	Allowed bool    `json:"allowed"`
	WaitNS  int64   `json:"wait_ns,omitempty"`
	Left    float64 `json:"left"`
}

// LockBody of LockAcquire (Name, LeaseMS, WaitMS, Token), LockRenew (Name, Token,
// LeaseMS) and LockRelease (Name, Token). Token is chosen by the owner, 16 to 64
// characters; asking again with it is harmless.
type LockBody struct {
	Name    string `json:"name"`
	Token   string `json:"token"`
	LeaseMS int64  `json:"lease_ms,omitempty"`
	WaitMS  int64  `json:"wait_ms,omitempty"`
}

// Held answers LockAcquire and LockRenew. Fence grows with every new owner of the
// lock: what is written under it can be told from what an earlier owner writes late.
type Held struct {
	Held    bool   `json:"held"`
	Fence   uint64 `json:"fence,omitempty"`
	LeaseMS int64  `json:"lease_ms,omitempty"`
	// Owner has it instead (its process, not its token), for at most WaitMS.
	Owner  string `json:"owner,omitempty"`
	WaitMS int64  `json:"wait_ms,omitempty"`
}

// CounterBody of CounterAdd and CounterGet.
type CounterBody struct {
	Name string `json:"name"`
	Add  int64  `json:"add,omitempty"`
}

// Value answers both.
type Value struct {
	Value int64 `json:"value"`
}

// CacheBody of CacheUse (Cache), CacheDel and CacheDrop (without Key).
type CacheBody struct {
	Cache string `json:"cache"`
	Key   string `json:"key,omitempty"`
}

// GapBody of Gap: how many messages were dropped since the last one.
type GapBody struct {
	Missed int `json:"missed"`
}

// AgentBody of AgentNew.
type AgentBody struct {
	Agent int `json:"agent"`
	Epoch int `json:"epoch"`
}

// ConsolePlace answers ConsoleOpen: the path of a UNIX socket, or an address with the
// token that must be its first line.
type ConsolePlace struct {
	Path    string `json:"path,omitempty"`
	Address string `json:"address,omitempty"`
	Token   string `json:"token,omitempty"`
}
