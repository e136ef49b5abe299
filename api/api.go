// Package api holds the types that cross the control socket: what `muster
// status --json` prints and what the HTTP API reads and writes. They only grow.
package api

import (
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Version of the wire format; it is part of every path ("/v1/…").
const Version = 1

// VersionHeader carries the release of muster, in requests and answers.
const VersionHeader = "Muster-Version"

// Status is the state of an agent and its apps.
type Status struct {
	Project  string `json:"project"`
	File     string `json:"file,omitempty"`
	Node     string `json:"node"`
	AgentPID int    `json:"agent_pid"`
	// KeeperPID is the process that outlives the agent; 0: it runs without one.
	KeeperPID int    `json:"keeper_pid,omitempty"`
	Version   string `json:"version"`
	// StartedAt is when muster was started; AgentStartedAt when this agent was:
	// later, where it has taken over from one that was killed or upgraded.
	StartedAt      time.Time `json:"started_at"`
	AgentStartedAt time.Time `json:"agent_started_at"`
	// AgentStarts counts the agents since StartedAt, this one included.
	AgentStarts int `json:"agent_starts"`
	// Upgrade is what the last `muster upgrade` came to; null before the first.
	Upgrade *Upgrade `json:"upgrade,omitempty"`
	Apps    []App    `json:"apps"`
}

// UpgradeRequest replaces the agent by one of another binary.
type UpgradeRequest struct {
	// Binary is its absolute path; "": the path that muster was started from.
	Binary string `json:"binary,omitempty"`
}

// Upgrade says what a replacement of the agent came to.
type Upgrade struct {
	Time time.Time `json:"time"`
	// Binary that was to run; From and To are the versions.
	Binary string `json:"binary"`
	From   string `json:"from"`
	To     string `json:"to"`
	// Fault is why the agent before runs again; null: the new one runs.
	Fault *fault.Fault `json:"fault,omitempty"`
}

// App is one app and its workers.
type App struct {
	Name string    `json:"name"`
	Type spec.Kind `json:"type"`
	Role string    `json:"role,omitempty"`
	// Status is the human state; Why says what is behind one that is not Healthy.
	Status event.Health `json:"status"`
	Why    string       `json:"why,omitempty"`
	// Wanted is the size of the pool; Ready how many are ready.
	Wanted     int      `json:"wanted"`
	Ready      int      `json:"ready"`
	Release    string   `json:"release,omitempty"`
	Generation int      `json:"generation"`
	Dir        string   `json:"dir,omitempty"`
	Listen     []string `json:"listen,omitempty"`
	Tags       []string `json:"tags,omitempty"`
	// Set are the values that orders have changed since the last apply.
	Set []Setting `json:"set,omitempty"`
	// Reload is set while one runs.
	Reload  *event.Reload `json:"reload,omitempty"`
	Workers []Worker      `json:"workers"`
	// Warnings are those of the last hour, latest last, at most 5.
	Warnings []fault.Fault `json:"warnings,omitempty"`
}

// Target is the app as selectors see it.
func (a App) Target() Target { return Target{App: a.Name, Role: a.Role, Tags: a.Tags} }

// Worker is one worker. During a reload a slot may be listed twice: the one
// that drains and the one that takes its place.
type Worker struct {
	App        string      `json:"app"`
	Slot       int         `json:"slot"`
	PID        int         `json:"pid"` // 0: no process
	State      event.State `json:"state"`
	Why        string      `json:"why,omitempty"`
	Generation int         `json:"generation"`
	Release    string      `json:"release"`
	// Restarts that nobody asked for, over the life of the slot; LastRestart is
	// the latest.
	Restarts    int        `json:"restarts"`
	LastRestart *time.Time `json:"last_restart,omitempty"`
	// StartedAt and ReadyAt of the present process.
	StartedAt *time.Time `json:"started_at,omitempty"`
	ReadyAt   *time.Time `json:"ready_at,omitempty"`
	// Next is when a worker in backoff is started again.
	Next *time.Time `json:"next,omitempty"`
	// LastExit of this slot; null before the first.
	LastExit *Exit `json:"last_exit"`
	// LastLine it printed.
	LastLine string `json:"last_line,omitempty"`
	// Health: "ok", "failing", "starting", "" without a check; HealthText is
	// the last failure.
	Health     string `json:"health,omitempty"`
	HealthText string `json:"health_text,omitempty"`
	// StatusText is what the worker says of itself (sd_notify STATUS=).
	StatusText string         `json:"status_text,omitempty"`
	Ports      map[string]int `json:"ports,omitempty"`
	// CPU in percent of one core since the last look; Memory of the whole
	// group in bytes; Processes in the group.
	CPU       float64 `json:"cpu"`
	Memory    int64   `json:"memory"`
	Processes int     `json:"processes,omitempty"`
	// ID is 1, 2, 3, … per app and never used again (cluster.worker.id).
	ID int `json:"id,omitempty"`
	// Joined: it takes part in operations (its program has opened the SDK), so others can
	// ask it.
	Joined bool `json:"joined"`
	// LastBeat is its latest sign of life (heartbeat) that this agent has heard.
	LastBeat *time.Time `json:"last_heartbeat,omitempty"`
	// Node is nil for a program that is no Node.js cluster worker.
	Node *NodeWorker `json:"node,omitempty"`
}

// NodeWorker is the cluster state of a Node.js worker.
type NodeWorker struct {
	// State in Node's words: none, online, listening, disconnected.
	State string `json:"state"`
	// Listening are the addresses it serves, each with its balance:
	// "tcp://:8000 (slots)".
	Listening []string `json:"listening,omitempty"`
	// Dealt counts the connections that muster has handed to it.
	Dealt uint64 `json:"dealt,omitempty"`
	// Forks are those of a program that is its own primary; State, Listening and Dealt
	// are then about all of them.
	Forks []NodeFork `json:"forks,omitempty"`
}

// NodeFork is a process that muster has started for a program's cluster.fork().
type NodeFork struct {
	// ID is the program's number for it: cluster.worker.id.
	ID    int    `json:"id"`
	PID   int    `json:"pid"`
	State string `json:"state"` // as NodeWorker's
}

// Exit says how a worker ended.
type Exit struct {
	PID     int           `json:"pid"`
	Code    int           `json:"code"` // -1 when a signal ended it
	Signal  string        `json:"signal,omitempty"`
	Time    time.Time     `json:"time"`
	Uptime  time.Duration `json:"uptime"` // nanoseconds
	Planned bool          `json:"planned"`
	// Lines are the last lines it printed, oldest first, at most 20.
	Lines []string `json:"lines,omitempty"`
	// Crash is what it had said of its end itself, cut; nil: nothing.
	Crash *event.WorkerCrash `json:"crash,omitempty"`
}

// Order is the body of every action on workers.
type Order struct {
	// Selector: "web", "web#2", "tag:edge", "role:worker", "all", or a glob.
	Selector string `json:"selector"`
	// Apps are declarations to take over, of those apps that the selector picks:
	// by a reload, and by a start of an app of which nothing runs. The number of
	// workers stays. None: as they are declared already.
	Apps []spec.App `json:"apps,omitempty"`
	// Now: a reload replaces one that runs, a stop skips the graceful part.
	Now bool `json:"now,omitempty"`
	// Workers of scale: an absolute number, or with Relative a difference.
	Workers  int  `json:"workers,omitempty"`
	Relative bool `json:"relative,omitempty"`
	// Reason of a stop or restart, for the log; "": none is given.
	Reason string `json:"reason,omitempty"`
	// Signal to send, e.g. "SIGUSR1"; Group sends it to the whole group.
	Signal string `json:"signal,omitempty"`
	Group  bool   `json:"group,omitempty"`
}

// Outcome is the answer to an order: one result for each app it touched (of a
// message: for each worker).
type Outcome struct {
	Results []Result `json:"results"`
	// After is the number of the last event before a message was sent: what its
	// receivers answer has a higher one.
	After uint64 `json:"after,omitempty"`
}

// Result of an order for one app.
type Result struct {
	App string `json:"app"`
	// Worker is "web#1" where the result is that of one worker.
	Worker string `json:"worker,omitempty"`
	// PID of the process that the result is about.
	PID int `json:"pid,omitempty"`
	// Text says what was done ("4 workers reloaded, release r3").
	Text  string       `json:"text,omitempty"`
	Fault *fault.Fault `json:"fault,omitempty"`
}

// Fault is the outcome as one error: nil, the only fault there is, or Partly.
func (o Outcome) Fault() *fault.Fault {
	var failed []Result
	for _, r := range o.Results {
		if r.Fault != nil {
			failed = append(failed, r)
		}
	}
	switch {
	case len(failed) == 0:
		return nil
	case len(failed) == len(o.Results) && len(failed) == 1:
		return failed[0].Fault
	case len(failed) == len(o.Results):
		return fault.New(failed[0].Fault.Code, "all %d %s failed", len(failed), failed[0].kind())
	}
	return fault.New(fault.Partly, "%d of %d %s failed", len(failed), len(o.Results), failed[0].kind())
}

// kind is what a result is of.
func (r Result) kind() string {
	switch {
	case r.Worker != "":
		return "workers"
	case r.Fault != nil && r.Fault.Code == fault.NotifyFailed:
		return "notifiers"
	}
	return "apps"
}

// ApplyRequest hands a new spec to the agent.
type ApplyRequest struct {
	Spec spec.Spec `json:"spec"`
	// DryRun only returns the changes.
	DryRun bool `json:"dry_run,omitempty"`
}

// ApplyResult says what changed.
type ApplyResult struct {
	Changes []spec.Change `json:"changes"`
	Outcome
}

// Record is one line of a worker's output.
type Record struct {
	Time   time.Time `json:"time"`
	App    string    `json:"app"`
	Slot   int       `json:"slot"`
	PID    int       `json:"pid"`
	Stream string    `json:"stream"` // stdout or stderr
	Line   string    `json:"line"`
	// Cut: the line was longer than log.line_max, this is its beginning.
	Cut bool `json:"cut,omitempty"`
	// Lost counts the records dropped before this one (followers only).
	Lost int `json:"lost,omitempty"`
}

// Launch is what `muster exec` needs to run a command in an app's surroundings.
type Launch struct {
	Env   []string `json:"env"`
	Dir   string   `json:"dir"`
	User  string   `json:"user,omitempty"`
	Group string   `json:"group,omitempty"`
}

// StopRequest ends the agent itself.
type StopRequest struct {
	Reason   string `json:"reason,omitempty"`
	ExitCode int    `json:"exit_code,omitempty"`
	// Now kills instead of draining.
	Now bool `json:"now,omitempty"`
}
