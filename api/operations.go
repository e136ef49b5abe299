package api

import (
	"encoding/json"

	"github.com/muster-run/muster/fault"
)

// Ask is the body of POST /v1/request: a question to workers or clients that take
// part in operations.
type Ask struct {
	// Selector: "web" (one of its workers, in turn), "web#2", "tag:edge",
	// "role:worker", "client:NAME", "all", or a glob.
	Selector string          `json:"selector"`
	Op       string          `json:"op"`
	Body     json.RawMessage `json:"body,omitempty"`
	// All asks everybody whom the selector matches.
	All bool `json:"all,omitempty"`
	// WithinMS is the deadline in milliseconds, at most a day. Default 30 s.
	WithinMS int64 `json:"within_ms,omitempty"`
}

// Reply is what one of them has replied, or its Fault.
type Reply struct {
	From  string          `json:"from"`
	PID   int             `json:"pid,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
	Fault *fault.Fault    `json:"fault,omitempty"`
}

// Replies is the answer to an Ask, in the order in which they came. With All, those
// who did not reply are there with the fault that says why.
type Replies struct {
	Replies []Reply `json:"replies"`
}

// Command is a command that processes offer to the console.
type Command struct {
	Name string `json:"name"`
	// Pattern says which words follow the name: NAME for a word, NAME:int,
	// NAME:number, NAME:on|off, NAME... for the rest; [NAME] may be left out.
	Pattern string `json:"pattern,omitempty"`
	Help    string `json:"help,omitempty"`
	// Of are those who offer it: all of them run it.
	Of []string `json:"of"`
}

// Commands is the answer of GET /v1/commands, by name.
type Commands struct {
	Commands []Command `json:"commands"`
}

// CommandRun is the body of POST /v1/commands/run. Args are the words by their names
// in the pattern, as values of their types.
type CommandRun struct {
	Name string         `json:"name"`
	Args map[string]any `json:"args"`
}

// JoinProtocol is what the connection of GET /v1/join is upgraded to: the frames of a
// worker's channel.
const JoinProtocol = "muster-channel"

// ConsoleOrder is the body of POST /v1/worker-console: the worker (web#1) opens a
// console, or with Close closes it.
type ConsoleOrder struct {
	Worker string `json:"worker"`
	Close  bool   `json:"close,omitempty"`
}

// ConsolePlace is where it is: the path of a UNIX socket, or a loopback address with
// the token that must be sent as the first line.
type ConsolePlace struct {
	Path    string `json:"path,omitempty"`
	Address string `json:"address,omitempty"`
	Token   string `json:"token,omitempty"`
}
