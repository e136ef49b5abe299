// Package event holds the facts that rise from the supervisor, as typed values,
// and the Hub that spreads them.
//
// Ordering: events of one Hub have growing sequence numbers without gaps, and
// every subscriber sees them in that order. Among the events of the past that a
// Hub still keeps, older messages of workers may be missing. A subscriber that reads too slowly
// is cut off and told so (Subscription.Err); the publisher never waits.
package event

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/muster-run/muster/fault"
)

// State of a worker.
type State string

// The states of a worker.
const (
	Starting State = "starting" // started, not yet ready
	Ready    State = "ready"    // serving
	Draining State = "draining" // told to stop, finishing its work
	Stopping State = "stopping" // main process gone or killed, its group being cleared
	Stopped  State = "stopped"  // nothing left of it, by plan
	Backoff  State = "backoff"  // gone by accident, waits for its next start
	Failed   State = "failed"   // given up
)

// Health of an app in human words, computed in one place (supervisor).
type Health string

// The human states of an app.
const (
	Healthy    Health = "Healthy"
	Degraded   Health = "Degraded"
	Reloading  Health = "Reloading"
	Recovering Health = "Recovering"
	AppFailed  Health = "Failed"
	AppStopped Health = "Stopped"
)

// NoSlot is the Slot of an event that is about a whole app or the agent.
const NoSlot = -1

// Event is one fact. It holds enough to redraw a screen without asking back.
type Event struct {
	// Seq is set by the Hub: 1, 2, 3, …
	Seq  uint64    `json:"seq"`
	Time time.Time `json:"time"`
	Node string    `json:"node,omitempty"`
	// App is "" for events about the agent.
	App string `json:"app,omitempty"`
	// Slot is NoSlot when the event is not about one worker.
	Slot       int `json:"slot"`
	Generation int `json:"generation,omitempty"`
	PID        int `json:"pid,omitempty"`
	// Data is one of the types below; Type is its Kind.
	Type string `json:"type"`
	Data Data   `json:"data"`
}

// Worker is "web#2", or the app's name, or "muster".
func (e Event) Worker() string {
	switch {
	case e.App == "":
		return "muster"
	case e.Slot == NoSlot:
		return e.App
	}
	return fmt.Sprintf("%s#%d", e.App, e.Slot)
}

// Data is the typed content of an event.
type Data interface {
	// Kind is the event's type on the wire.
	Kind() string
}

// AgentStarted is the first event of an agent.
type AgentStarted struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Project string `json:"project"`
	// Adopted is how many processes it has taken over from an agent before, whose
	// pid Before is; Why says what became of that one ("killed by signal SIGKILL",
	// "upgraded").
	Adopted int    `json:"adopted,omitempty"`
	Before  int    `json:"before,omitempty"`
	Why     string `json:"why,omitempty"`
}

// AgentStopping says that the agent ends, and with which code.
type AgentStopping struct {
	Reason   string `json:"reason"`
	ExitCode int    `json:"exit_code"`
}

// Applied says that a configuration was applied; Changes has one line each.
type Applied struct {
	Changes []string `json:"changes"`
}

// AppState is a change of an app's human state.
type AppState struct {
	From Health `json:"from"`
	To   Health `json:"to"`
	Why  string `json:"why,omitempty"`
}

// WorkerState is a transition of one worker.
type WorkerState struct {
	From State  `json:"from"`
	To   State  `json:"to"`
	Why  string `json:"why,omitempty"`
	// Next is when a worker in backoff is started again.
	Next *time.Time `json:"next,omitempty"`
	// Release that the worker runs.
	Release string `json:"release,omitempty"`
	// Trial: it is a new one that is to replace another, and has not yet; if it fails,
	// that does.
	Trial bool `json:"trial,omitempty"`
}

// WorkerExit says how a worker's main process ended.
type WorkerExit struct {
	Code   int           `json:"code"`             // -1 when a signal ended it
	Signal string        `json:"signal,omitempty"` // "SIGKILL"
	Core   bool          `json:"core,omitempty"`
	Uptime time.Duration `json:"uptime"` // nanoseconds
	// Planned: muster had told it to stop.
	Planned bool `json:"planned"`
	// ID of a Node.js worker; AfterDisconnect: exitedAfterDisconnect in Node's words.
	ID              int  `json:"id,omitempty"`
	AfterDisconnect bool `json:"exited_after_disconnect,omitempty"`
	// Lines are its last lines of output, oldest first, at most 20.
	Lines []string `json:"lines,omitempty"`
	// Crash is what it had said of its end itself, cut: the error, and at most 20 lines
	// of the stack; nil: nothing.
	Crash *WorkerCrash `json:"crash,omitempty"`
}

// WorkerHealth is a change of a worker's verdict, or one more failure.
type WorkerHealth struct {
	OK       bool   `json:"ok"`
	Failures int    `json:"failures,omitempty"`
	Text     string `json:"text,omitempty"`
}

// WorkerStatus is the free text a worker sent (sd_notify STATUS=).
type WorkerStatus struct {
	Text string `json:"text"`
}

// WorkerNode is a change in the cluster state of a Node.js worker, in Node's words.
type WorkerNode struct {
	// ID is cluster.worker.id: 1, 2, 3, … per app, never used again.
	ID int `json:"id"`
	// State: online, listening (once for each server) or disconnected.
	State string `json:"state"`
	// Address, Port and AddressType (4, 6, -1 for a UNIX socket, udp4, udp6) of a
	// server that listens.
	Address     string `json:"address,omitempty"`
	Port        int    `json:"port,omitempty"`
	AddressType string `json:"address_type,omitempty"`
	// ExitedAfterDisconnect: the end was asked for, by muster or by the worker.
	ExitedAfterDisconnect bool `json:"exited_after_disconnect,omitempty"`
}

// WorkerMessage is a message of a worker's own code, such as process.send(…).
type WorkerMessage struct {
	// Message is the JSON value, byte for byte; cut off (and no longer JSON, but a
	// JSON string of its first part) beyond MessageMax.
	Message json.RawMessage `json:"message"`
	// Size in bytes; Descriptors that came with it (and were closed).
	Size        int `json:"size"`
	Descriptors int `json:"descriptors,omitempty"`
	// Missed is how many messages of the worker came before this one and are no
	// events, as there were too many in a second.
	Missed int `json:"missed,omitempty"`
}

// WorkerLifecycle is a line about itself that a worker sent (op lifecycle).
type WorkerLifecycle struct {
	Text string `json:"text"`
}

// WorkerCrash is what a worker itself knew of its end: its SDK caught a panic or an
// uncaught exception. The exit follows.
type WorkerCrash struct {
	// Kind of the error (its type's name), its text, and the stack as the language
	// writes it, cut at CrashMax bytes each.
	Error string `json:"error"`
	Stack string `json:"stack,omitempty"`
	Type  string `json:"error_type,omitempty"`
}

// CrashMax bounds each text of a WorkerCrash, in bytes.
const CrashMax = 16 << 10

// WorkerHeartbeat says that a worker has been silent, or (OK) that it speaks again.
type WorkerHeartbeat struct {
	OK bool `json:"ok"`
	// Last sign of life, and how long ago that was.
	Last time.Time     `json:"last,omitzero"`
	Age  time.Duration `json:"age,omitempty"` // nanoseconds
	// Killed: it is stopped for that.
	Killed bool `json:"killed,omitempty"`
}

// Notified is the result of one delivery by a notifier.
type Notified struct {
	Notifier string `json:"notifier"`
	// Occasion: started, crash, recovered, gave_up or test.
	Occasion string       `json:"occasion"`
	Fault    *fault.Fault `json:"fault,omitempty"` // nil: delivered
	// Took is the time of the delivery in nanoseconds; Held is how many were not
	// delivered since the last one, as there were too many in a minute.
	Took time.Duration `json:"took"`
	Held int           `json:"held,omitempty"`
}

// MessageMax is the largest message that an event carries whole, in bytes.
const MessageMax = 64 << 10

// ReloadPhase is where a reload stands.
type ReloadPhase string

// The phases of a reload.
const (
	ReloadQueued    ReloadPhase = "queued"
	ReloadBuilding  ReloadPhase = "building"
	ReloadRunning   ReloadPhase = "running"
	ReloadReverting ReloadPhase = "reverting"
	ReloadDone      ReloadPhase = "done"
	ReloadFailed    ReloadPhase = "failed"
	ReloadAborted   ReloadPhase = "aborted"
)

// Reload is the progress of a reload: Done of Total workers replaced.
type Reload struct {
	Phase   ReloadPhase  `json:"phase"`
	Release string       `json:"release"`
	Done    int          `json:"done"`
	Total   int          `json:"total"`
	Fault   *fault.Fault `json:"fault,omitempty"`
}

// Warning is a fault that stopped nothing.
type Warning struct {
	Fault fault.Fault `json:"fault"`
	// Over: what was warned of, by the same code, has ended; Fault says so.
	Over bool `json:"over,omitempty"`
}

// Order says that someone told the agent to do something.
type Order struct {
	Verb   string `json:"verb"`
	Target string `json:"target,omitempty"`
	// By is "uid 1000 pid 4711" or "signal SIGHUP" or "terminal".
	By string `json:"by"`
}

// Kind implements Data.
func (AgentStarted) Kind() string { return "agent.started" }

// Kind implements Data.
func (AgentStopping) Kind() string { return "agent.stopping" }

// Kind implements Data.
func (Applied) Kind() string { return "applied" }

// Kind implements Data.
func (AppState) Kind() string { return "app.state" }

// Kind implements Data.
func (WorkerState) Kind() string { return "worker.state" }

// Kind implements Data.
func (WorkerExit) Kind() string { return "worker.exit" }

// Kind implements Data.
func (WorkerHealth) Kind() string { return "worker.health" }

// Kind implements Data.
func (WorkerStatus) Kind() string { return "worker.status" }

// Kind implements Data.
func (WorkerNode) Kind() string { return "worker.node" }

// Kind implements Data.
func (WorkerMessage) Kind() string { return "worker.message" }

// Kind implements Data.
func (WorkerLifecycle) Kind() string { return "worker.lifecycle" }

// Kind implements Data.
func (WorkerCrash) Kind() string { return "worker.crash" }

// Kind implements Data.
func (WorkerHeartbeat) Kind() string { return "worker.heartbeat" }

// Kind implements Data.
func (Notified) Kind() string { return "notified" }

// Kind implements Data.
func (Reload) Kind() string { return "reload" }

// Kind implements Data.
func (Warning) Kind() string { return "warning" }

// Kind implements Data.
func (Order) Kind() string { return "order" }

// Unknown is the Data of an event from a newer agent.
type Unknown struct {
	Type string
	JSON json.RawMessage
}

// Kind implements Data.
func (u Unknown) Kind() string { return u.Type }

// MarshalJSON gives back what was received; null where nothing was.
func (u Unknown) MarshalJSON() ([]byte, error) {
	if len(u.JSON) == 0 {
		return []byte("null"), nil
	}
	return u.JSON, nil
}

// UnmarshalJSON decodes the event with its typed data.
func (e *Event) UnmarshalJSON(b []byte) error {
	type plain Event // without methods
	wire := struct {
		*plain
		Data json.RawMessage `json:"data"`
	}{plain: (*plain)(e)}
	if err := json.Unmarshal(b, &wire); err != nil {
		return err
	}
	data, err := decodeData(e.Type, wire.Data)
	e.Data = data
	return err
}

func decodeData(kind string, raw json.RawMessage) (Data, error) {
	switch kind {
	case AgentStarted{}.Kind():
		return decodeAs[AgentStarted](raw)
	case AgentStopping{}.Kind():
		return decodeAs[AgentStopping](raw)
	case Applied{}.Kind():
		return decodeAs[Applied](raw)
	case AppState{}.Kind():
		return decodeAs[AppState](raw)
	case WorkerState{}.Kind():
		return decodeAs[WorkerState](raw)
	case WorkerExit{}.Kind():
		return decodeAs[WorkerExit](raw)
	case WorkerHealth{}.Kind():
		return decodeAs[WorkerHealth](raw)
	case WorkerStatus{}.Kind():
		return decodeAs[WorkerStatus](raw)
	case WorkerNode{}.Kind():
		return decodeAs[WorkerNode](raw)
	case WorkerMessage{}.Kind():
		return decodeAs[WorkerMessage](raw)
	case WorkerLifecycle{}.Kind():
		return decodeAs[WorkerLifecycle](raw)
	case WorkerCrash{}.Kind():
		return decodeAs[WorkerCrash](raw)
	case WorkerHeartbeat{}.Kind():
		return decodeAs[WorkerHeartbeat](raw)
	case Notified{}.Kind():
		return decodeAs[Notified](raw)
	case Reload{}.Kind():
		return decodeAs[Reload](raw)
	case Warning{}.Kind():
		return decodeAs[Warning](raw)
	case Order{}.Kind():
		return decodeAs[Order](raw)
	}
	return Unknown{Type: kind, JSON: raw}, nil
}

func decodeAs[T Data](raw json.RawMessage) (Data, error) {
	var v T
	err := json.Unmarshal(raw, &v)
	return v, err
}
