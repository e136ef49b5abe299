package record

import (
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/spec"
)

// Version of the records that this release writes.
const Version = 1

// Supervisor is what belongs to no pool.
type Supervisor struct {
	Version int `json:"version"`
	// Spec is what was applied last, without its apps.
	Spec spec.Spec `json:"spec"`
	// Applying is the whole spec of an Apply under way; nil: none is.
	Applying *spec.Spec `json:"applying,omitempty"`
	// Set are the values that orders have changed, by app.
	Set map[string][]api.Setting `json:"set,omitempty"`
}

// Releases are what the releases of one app run, by key.
type Releases struct {
	Version  int             `json:"version"`
	Releases map[int]Release `json:"releases"`
}

// Release is a generation.Release.
type Release struct {
	Name string   `json:"name,omitempty"`
	App  spec.App `json:"app"`
	// Environ is joined by zero bytes: it need not be UTF-8.
	Environ []byte `json:"environ,omitempty"`
	Dir     string `json:"dir,omitempty"`
}

// Pool is everything of one app. Releases are named by key, generations by
// number; 0 is none of either.
type Pool struct {
	Version  int  `json:"version"`
	Declared int  `json:"declared"` // what is declared now, but for Workers
	Workers  int  `json:"workers"`  // the size
	Wanted   bool `json:"wanted"`
	// Number of the latest generation; Made counts releases, Keys the keys given.
	Number int `json:"number"`
	Made   int `json:"made"`
	Keys   int `json:"keys"`

	Serving     int          `json:"serving,omitempty"`
	Generations []Generation `json:"generations,omitempty"`
	History     []int        `json:"history,omitempty"`
	Stale       []Listener   `json:"stale,omitempty"`
	Rollout     *Rollout     `json:"rollout,omitempty"`
	// Starts have been ordered and wait, for another app or in line.
	Starts     []Start      `json:"starts,omitempty"`
	State      event.Health `json:"state"`
	Warnings   []Warning    `json:"warnings,omitempty"`
	StartFault *fault.Fault `json:"start_fault,omitempty"`

	Slots     []Slot   `json:"slots,omitempty"`
	Occupants []Worker `json:"occupants,omitempty"`
	// Started counts the processes started so far: the ID of the latest.
	Started int `json:"started,omitempty"`
	// Asked are the listeners that Node.js workers have asked for, in the order of
	// their first use.
	Asked []Asked `json:"asked,omitempty"`
}

// Asked is a listener that a Node.js worker has asked for (queryServer).
type Asked struct {
	// Key is what workers know it by.
	Key string `json:"key"`
	// Listener stands for how it was bound; Index tells several of port 0 apart.
	Listener Listener `json:"listener"`
	Index    int      `json:"index,omitempty"`
	// Data of the first worker that asked (TLS ticket keys), for all others.
	Data []byte `json:"data,omitempty"`
}

// Node is what the cluster of a Node.js worker has come to.
type Node struct {
	Online bool `json:"online,omitempty"`
	// Servers are the keys it has asked for and not closed; true: it listens.
	Servers map[string]bool `json:"servers,omitempty"`
	// Asked: exitedAfterDisconnect. Left: it has been taken out of the dealing.
	// Gone: its channel has ended.
	Asked bool `json:"asked,omitempty"`
	Left  bool `json:"left,omitempty"`
	Gone  bool `json:"gone,omitempty"`
}

// Named are the IDs of the processes that the record names.
func (p Pool) Named() (ids []string) {
	for _, v := range p.Occupants {
		if v.Process.ID != "" {
			ids = append(ids, v.Process.ID)
		}
		if v.Process.Forks != nil {
			for _, f := range v.Process.Forks.List {
				ids = append(ids, f.Process.ID)
			}
		}
	}
	return ids
}

// Pending: there is something to start for which listeners may be there already.
func (p Pool) Pending() bool {
	return len(p.Starts) > 0 || p.Rollout != nil && p.Rollout.Phase == event.ReloadBuilding
}

// Recent are the warnings that are not older than age.
func Recent(list []Warning, age time.Duration) (faults []fault.Fault) {
	for _, w := range list {
		if time.Since(w.At) < age {
			faults = append(faults, w.Fault)
		}
	}
	return faults
}

// Generation is one rollout of a release.
type Generation struct {
	Number    int        `json:"number"`
	Release   int        `json:"release"`
	Listeners []Listener `json:"listeners,omitempty"`
}

// Listener is a listening socket; the Store has it under its address.
type Listener struct {
	Spec  spec.Listener `json:"spec"`
	Inode uint64        `json:"inode"`
	Addr  string        `json:"addr,omitempty"`
	Fresh bool          `json:"fresh,omitempty"`
	// Balance in force; Slots is how many sockets it has with BalanceSlots (Inode is
	// then that of slot 0).
	Balance spec.Balance `json:"balance,omitempty"`
	Slots   int          `json:"slots,omitempty"`
}

// Rollout is one under way.
type Rollout struct {
	Kind    string            `json:"kind"` // reload, rollback, first, replace
	Want    int               `json:"want"`
	Only    []int             `json:"only,omitempty"` // slots; nil: all
	Batch   int               `json:"batch,omitempty"`
	Surge   int               `json:"surge,omitempty"`
	Number  int               `json:"number,omitempty"` // of its generation; 0: it is being prepared
	From    int               `json:"from,omitempty"`
	Bad     int               `json:"bad,omitempty"` // that is being undone
	Done    int               `json:"done,omitempty"`
	Total   int               `json:"total,omitempty"`
	Phase   event.ReloadPhase `json:"phase"`
	Fault   *fault.Fault      `json:"fault,omitempty"`
	Failing *fault.Fault      `json:"failing,omitempty"`
}

// Start is an order to start that waits.
type Start struct {
	Slots []int  `json:"slots,omitempty"` // nil: all
	Why   string `json:"why,omitempty"`
}

// Warning is one that status shows.
type Warning struct {
	At    time.Time   `json:"at"`
	Fault fault.Fault `json:"fault"`
}

// Warn adds a warning to the latest: the newest of its kind says it.
func Warn(list []Warning, f *fault.Fault) []Warning {
	list = slices.DeleteFunc(slices.Clone(list), func(old Warning) bool {
		return old.Fault.Code == f.Code && old.Fault.Where == f.Where && old.Fault.Text == f.Text
	})
	list = append(list, Warning{At: time.Now(), Fault: *f})
	return list[max(0, len(list)-warningsMax):]
}

// Over is the list without the warnings that f says the end of: those of the same code
// and place.
func Over(list []Warning, f *fault.Fault) []Warning {
	return slices.DeleteFunc(slices.Clone(list), func(old Warning) bool {
		return old.Fault.Code == f.Code && old.Fault.Where == f.Where
	})
}

// warningsMax is how many are kept.
const warningsMax = 5

// Slot is a place in a pool. Values are compared: what is behind a pointer is
// never changed.
type Slot struct {
	Slot        int          `json:"slot"`
	Restarts    int          `json:"restarts,omitempty"`
	LastRestart time.Time    `json:"last_restart,omitzero"`
	LastExit    *api.Exit    `json:"last_exit,omitempty"`
	LastFault   *fault.Fault `json:"last_fault,omitempty"`
	StartedOnce bool         `json:"started_once,omitempty"`
	Ended       bool         `json:"ended,omitempty"`
	Held        bool         `json:"held,omitempty"`
}

// Role of a worker in its slot.
type Role string

// The roles.
const (
	Present   Role = "present"   // the one that counts
	Candidate Role = "candidate" // a rollout's, not yet in its slot
	Replaced  Role = "replaced"  // drains
)

// Goal is what a worker is to become.
type Goal string

// The goals.
const (
	Run   Goal = "run"   // run, and be started again after an accident
	Stop  Goal = "stop"  // end and stay so
	Again Goal = "again" // end and be started at once: not an accident
)

// Worker is one worker of a slot. Values are compared, as those of Slot.
type Worker struct {
	Slot       int          `json:"slot"`
	Role       Role         `json:"role"`
	Generation int          `json:"generation"`
	State      event.State  `json:"state"`
	Why        string       `json:"why,omitempty"`
	Goal       Goal         `json:"goal"`
	Trial      bool         `json:"trial,omitempty"`
	Fault      *fault.Fault `json:"fault,omitempty"`
	Tries      *Tries       `json:"tries,omitempty"`
	Next       time.Time    `json:"next,omitzero"`   // of the start, in back-off
	Delay      Duration     `json:"delay,omitempty"` // of the back-off
	Health     string       `json:"health,omitempty"`
	HealthText string       `json:"health_text,omitempty"` // while it fails
	StatusText string       `json:"status_text,omitempty"`
	// Planned and EndFault are about the end of the present process.
	Planned  bool         `json:"planned,omitempty"`
	EndFault *fault.Fault `json:"end_fault,omitempty"`
	Process  Process      `json:"process,omitzero"`
}

// Tries are the accidents that the back-off counts: all since the last sound run
// (the exponent), the failed starts in a row, and how long the latest of these ran,
// at most limit.
type Tries struct {
	Count int        `json:"count,omitempty"`
	Row   int        `json:"row,omitempty"`
	Runs  []Duration `json:"runs,omitempty"`
}

// Process is one process of a worker, as its attempt sees it. What the Starter
// knows of it (pid, exit) does not stand here.
type Process struct {
	ID string `json:"id"`
	// Number is 1, 2, 3, … per app, never used again.
	Number   int       `json:"number,omitempty"`
	Launched time.Time `json:"launched"`         // its start was ordered
	Started  time.Time `json:"started,omitzero"` // it runs
	Ready    time.Time `json:"ready,omitzero"`
	ReadyIn  Duration  `json:"ready_in,omitempty"`
	// Needs are what readiness still waits for, separated by commas.
	Needs    string `json:"needs,omitempty"`
	LineSeen bool   `json:"line_seen,omitempty"`
	// Stopping: it was told to stop; Asked: that reached it; Killed: by force;
	// Exited: the end of its main process was taken, what is left is cleared.
	Stopping bool `json:"stopping,omitempty"`
	Asked    bool `json:"asked,omitempty"`
	Killed   bool `json:"killed,omitempty"`
	Exited   bool `json:"exited,omitempty"`
	// Deadline in force (ready, stop, clearing), and how far off it was when it
	// was set.
	Deadline time.Time `json:"deadline,omitzero"`
	Span     Duration  `json:"span,omitempty"`
	Watchdog Duration  `json:"watchdog,omitempty"`
	// Passed: the health check has passed once; Failures in a row since.
	Passed   bool `json:"passed,omitempty"`
	Failures int  `json:"failures,omitempty"`
	// Beats: it has sent a sign of life. Crash is what it has said of its own end.
	Beats bool               `json:"beats,omitempty"`
	Crash *event.WorkerCrash `json:"crash,omitempty"`
	// Node is nil for a program that is no Node.js cluster worker.
	Node *Node `json:"node,omitempty"`
	// Forks are nil for a program that is not its own primary.
	Forks *Forks `json:"forks,omitempty"`
}

// Duration is one in nanoseconds, also in its text form.
type Duration = time.Duration

// Left is what is left of a time that ends at a wall-clock deadline: never more
// than the whole span, so that a clock that was set back does not prolong it.
func Left(deadline time.Time, span time.Duration) time.Duration {
	return min(max(0, time.Until(deadline)), max(0, span))
}
