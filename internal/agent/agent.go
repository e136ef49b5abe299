package agent

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control"
	"github.com/muster-run/muster/internal/control/socket"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/lifecycle"
	"github.com/muster-run/muster/internal/metrics"
	"github.com/muster-run/muster/internal/notifier"
	"github.com/muster-run/muster/internal/operations"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/output/zst"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/saved"
	"github.com/muster-run/muster/internal/supervisor"
	"github.com/muster-run/muster/spec"
)

// Options of an Agent.
type Options struct {
	// Spec is what it runs from the start. Its Project and File (or Dir) name
	// the project's directories. Required: Project.
	Spec spec.Spec
	// Dir stands for the file where there is none: the directory that
	// `muster run` was started in. Default: the file's directory.
	Dir string
	// Node is this host's name. Default: the system's.
	Node string
	// Environ ("K=V") chooses the directories, see FindRoots.
	Environ []string
	// Version of this program.
	Version string
	// Signals to obey, as signal.Notify delivers them: TERM and INT stop (a
	// second INT at once), HUP reloads the configuration, TTIN and TTOU start
	// and end one worker of each app. nil: none.
	Signals <-chan os.Signal
	// Load reads the configuration anew for HUP; nil: HUP stops.
	Load func() (spec.Spec, error)
	// Resume begins with the sizes and stops that were made by hand when the
	// project ran last (see package saved).
	Resume bool
	// UntilEnded makes Run return when all workers have ended by themselves.
	UntilEnded bool
	// Serving is called once, when the control socket answers; nil: nobody is told.
	Serving func()
	// Keeper outlives the agent: it starts the processes and holds what they need.
	// When it has records of an agent before, New goes on where that one was.
	// nil: the processes are the agent's own children.
	Keeper *Keeper
	// Program is the path of the binary that an upgrade without a path takes; "":
	// that of this program.
	Program string
	// NoCgroup does without cgroups; with a Keeper that decides.
	NoCgroup bool
	// Log takes what goes wrong inside; nil: nowhere.
	Log *slog.Logger
}

// withDefaults fills in what is not set.
func (o Options) withDefaults() Options {
	if o.Dir == "" {
		o.Dir = filepath.Dir(o.Spec.File)
	}
	if o.Node == "" {
		o.Node, _ = os.Hostname()
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Serving == nil {
		o.Serving = func() {}
	}
	return o
}

// Origin is what tells two projects of one name apart: the configuration file,
// else the directory.
func (o Options) origin() string {
	if o.Spec.File != "" {
		return o.Spec.File
	}
	return o.Dir
}

// Agent runs the apps of one project. New makes it, Run runs it once. The other
// methods are safe for concurrent use.
type Agent struct {
	opts    Options
	paths   Paths
	started time.Time

	events     *event.Hub
	keeper     *Keeper // nil: none
	before     *legacy // what an agent before has left; nil: this is the first
	supervisor *supervisor.Supervisor
	starter    process.Starter
	server     *control.Server
	metrics    *metrics.Metrics
	operations *operations.Operations
	notifiers  *notifier.Notifiers
	key        string     // of the session
	keyed      *keyedDoor // where it is accepted
	socket     *socket.Socket
	teardown   lifecycle.Teardown
	book       *saved.Book // what runs, on disk
	unsaved    atomic.Bool // the last note could not be written

	// jobs are orders of the agent's own; each ends with its order, or with the
	// context that Run ends before it stops the workers.
	jobs sync.WaitGroup
	// asked holds the requests to end that Run has not seen yet.
	asked chan ending
	// left: another agent goes on; nothing of the project is given up.
	left bool
	// over is closed when every worker is gone and the hooks have run.
	over chan struct{}
	// ending: Run has begun to stop the workers.
	ending atomic.Bool
	// upgrading is held while the agent tries to hand over to another binary.
	upgrading sync.Mutex
}

// New takes the project's lock and builds everything that Run needs; after an
// agent of the same Keeper it adopts what that one has left. On an error nothing
// is left behind, or all of it to the next agent. Faults: E-AGENT-RUNNING when another agent runs
// the project, E-STATE-DIR, E-SOCKET-PATH, E-DENIED, E-USER-UNKNOWN.
func New(o Options) (*Agent, error) {
	o = o.withDefaults()
	a := &Agent{
		opts: o, keeper: o.Keeper, paths: FindRoots(o.Environ).Project(o.Spec.Project, o.origin()), started: time.Now(),
		events: &event.Hub{}, asked: make(chan ending, 16), over: make(chan struct{}),
	}
	if err := a.build(); err != nil {
		if a.before != nil {
			a.leaveBehind()
		}
		_ = a.teardown.Run()
		return nil, err
	}
	return a, nil
}

func (a *Agent) build() error {
	if err := a.inherit(); err != nil {
		return err
	}
	if err := a.claim(); err != nil {
		return err
	}
	if err := a.openKey(); err != nil {
		return err
	}
	a.openBook()
	if err := a.buildSupervisor(); err != nil {
		return err
	}
	if err := a.bequeath(a.inheritedEnding()); err != nil {
		return err
	}
	a.beginOperations()
	a.buildNotifiers()
	return a.buildControl()
}

// claim makes the project's directories, the lock and the control socket ours.
// The socket tells of an agent whose lock was removed with the state directory:
// its workers are no leftovers.
func (a *Agent) claim() error {
	if err := a.paths.Prepare(); err != nil {
		return err
	}
	if err := a.lock(); err != nil {
		return err
	}
	if err := a.openTo(a.opts.Spec); err != nil {
		return err
	}
	if err := a.listen(); err != nil {
		return err
	}
	record := Record{
		Project: a.opts.Spec.Project, Key: a.paths.Key, PID: os.Getpid(), AgentPID: os.Getpid(), File: a.opts.Spec.File,
		Dir: a.opts.Dir, Version: a.opts.Version, StartedAt: a.started,
	}
	if a.keeper != nil {
		record.PID, record.StartedAt = a.keeper.Hello.PID, a.keeper.Hello.Started
	}
	a.undo("record", func() error {
		if a.left {
			return nil
		}
		return os.Remove(a.paths.Record)
	})
	return record.write(a.paths.Record)
}

func (a *Agent) buildSupervisor() error {
	a.undo("events", func() error { a.events.Close(); return nil })
	// We hold the lock and the socket, so whoever has a notify socket here has lost its agent.
	if a.before == nil {
		if n, err := a.killLeftovers(); n > 0 || err != nil {
			a.opts.Log.Warn("processes of a muster that was killed were left and have been ended", "count", n, "error", err)
		}
	}
	store, err := a.buildStarter()
	if err != nil {
		return err
	}
	if err := a.buildOperations(store); err != nil {
		return err
	}
	loop, err := handoff.NewLoop()
	if err != nil {
		return fault.New(fault.Internal, "connections cannot be dealt: %w", err)
	}
	a.undo("hand-off", loop.Close)
	a.supervisor, err = supervisor.New(supervisor.Options{
		Project: a.opts.Spec.Project, Node: a.opts.Node, Starter: a.starter, Store: store, Errand: a.paths.Key,
		Events: a.events, LogDir: a.paths.LogDir, RunDir: a.paths.Runtime, Packing: zst.Packing{}, Log: a.opts.Log, Loop: loop,
		Exchange: a.operations.Exchange(),
	})
	return err
}

// buildStarter takes the keeper's, or makes one whose processes are this one's
// children.
func (a *Agent) buildStarter() (process.Store, error) {
	if a.keeper != nil {
		a.starter = a.keeper.Starter
		return a.keeper.Store, nil
	}
	if err := process.Subreap(); err != nil {
		a.opts.Log.Warn("orphans of workers are not noticed", "error", err)
	}
	direct, err := process.NewDirect(process.Options{Project: a.paths.Key, NoCgroup: a.opts.NoCgroup})
	if err != nil {
		return nil, err
	}
	a.starter = direct
	a.undo("starter", func() error { // nothing outlives the agent
		if n, err := direct.KillOrphans(); n > 0 || err != nil {
			a.opts.Log.Warn("processes were left over and have been killed", "count", n, "error", err)
		}
		return direct.Close()
	})
	store := process.NewDirectStore()
	a.undo("store", store.Close)
	return store, nil
}

func (a *Agent) buildControl() error {
	a.metrics = metrics.New(metrics.Options{
		Status: a.Status, Hub: a.events, Output: a.outputs, Channels: a.channels, Doors: a.doors, Operations: a.countOperations,
	})
	var err error
	a.server, err = control.New(control.Options{
		Status: a.Status, Apply: a, Life: a.supervisor, Pools: a.supervisor, Set: a.supervisor, SessionKey: a.SessionKey, Launch: a.supervisor.Launch,
		Events: a.events, Log: a.Log, Metrics: a.metrics.Handler(), Shutdown: a.Stop, Upgrade: a.Upgrade, ReopenLogs: a.reopenLogs,
		Operations: a.operations, NotifyTest: a.testNotifiers,
		Version: a.opts.Version, Node: a.opts.Node, Owner: os.Getuid(), Group: a.opts.Spec.Control.Group, Logger: a.opts.Log,
	})
	if err == nil {
		a.openKeyed()
	}
	return err
}

// undo registers a teardown that takes no context.
func (a *Agent) undo(name string, f func() error) {
	_ = a.teardown.Add(name, 0, func(context.Context) error { return f() })
}

// Paths are the project's places.
func (a *Agent) Paths() Paths { return a.paths }

// Events is the hub of everything that happens; it is closed when Run returns.
func (a *Agent) Events() *event.Hub { return a.events }

// Log is the recorded output of an app, nil when there is no such app. It is
// closed when Run returns.
func (a *Agent) Log(app string) *output.Log { return a.supervisor.Log(app) }

// Shows says whether the output of an app belongs on the console (log.show).
func (a *Agent) Shows(app string) bool {
	for _, declared := range a.supervisor.Spec().Apps {
		if declared.Name == app {
			return declared.Log.Show
		}
	}
	return false
}

// Started is when the agent was made.
func (a *Agent) Started() time.Time { return a.started }

// Status is the state of the agent and its apps.
func (a *Agent) Status() api.Status {
	st := api.Status{
		Project: a.opts.Spec.Project, File: a.opts.Spec.File, Node: a.opts.Node, AgentPID: os.Getpid(),
		Version: a.opts.Version, StartedAt: a.started, AgentStartedAt: a.started, AgentStarts: 1,
		Upgrade: a.upgraded(), Apps: a.supervisor.Snapshot(),
	}
	a.operations.MarkJoined(st.Apps)
	if a.keeper != nil {
		st.KeeperPID, st.StartedAt, st.AgentStarts = a.keeper.Hello.PID, a.keeper.Hello.Started, a.keeper.Hello.Agents
	}
	return st
}

// Spec is what is declared now.
func (a *Agent) Spec() spec.Spec { return a.supervisor.Spec() }

// Diff says what Apply would change.
func (a *Agent) Diff(s spec.Spec) []spec.Change { return a.supervisor.Diff(s) }

// Apply makes a spec the one that runs. One of another project is refused.
func (a *Agent) Apply(ctx context.Context, s spec.Spec) api.ApplyResult {
	a.book.Applied(s)
	return a.apply(ctx, s)
}

func (a *Agent) apply(ctx context.Context, s spec.Spec) api.ApplyResult {
	err := a.belongs(s)
	if err == nil {
		err = a.openTo(s)
	}
	if err == nil {
		err = a.keyed.prepare(s.Control.Listen)
	}
	if err != nil {
		return api.ApplyResult{Outcome: api.Outcome{Results: []api.Result{{Fault: fault.From(err)}}}}
	}
	a.tellBarred(s)
	a.notifiers.Apply(s.Notify)
	defer a.keyed.discard()
	result := a.supervisor.Apply(ctx, s)
	a.keyedFollows()
	return result
}

// tellBarred warns where users cannot reach what muster has for their workers.
func (a *Agent) tellBarred(s spec.Spec) {
	for _, app := range s.Apps {
		if dir := launch.Barred(app, a.paths.Socket); dir != "" {
			a.warn(fault.New(fault.StateDir, "its user may not pass through %s, so its workers cannot notify (sd_notify), and Node.js workers do without what drains them", dir).
				At(app.Name).WithFix("set MUSTER_RUNTIME_DIR to a directory below one that is open to all, such as /run/muster, for `muster up` and all other commands"))
		}
	}
}

func (a *Agent) belongs(s spec.Spec) error {
	if s.Project == a.opts.Spec.Project {
		return nil
	}
	return fault.New(fault.Config, "this agent runs project %s, and the configuration is of project %s", a.opts.Spec.Project, s.Project).
		WithFix("`muster down` ends the agent; then `muster up` starts the other project")
}

// openTo lets other users reach their sockets where the spec has such users.
func (a *Agent) openTo(s spec.Spec) error {
	others := s.Control.Group != ""
	for _, app := range s.Apps {
		others = others || app.User != "" || app.Group != ""
	}
	return a.paths.OpenTo(others)
}

// outputs counts the lines of each app, for the metrics.
func (a *Agent) outputs() []metrics.Output {
	var list []metrics.Output
	for _, app := range a.supervisor.Spec().Apps {
		if log := a.supervisor.Log(app.Name); log != nil {
			c := log.Counts()
			list = append(list, metrics.Output{App: app.Name, Stdout: c.Stdout, Stderr: c.Stderr, Bytes: c.Bytes, Lost: c.Lost})
		}
	}
	return list
}

// channels counts what workers say, for the metrics.
func (a *Agent) channels() metrics.Channels { return metrics.Channels(a.supervisor.Channels()) }

// doors counts the connections that muster deals or guards, for the metrics.
func (a *Agent) doors() (list []metrics.Door) {
	for app, doors := range a.supervisor.Doors() {
		for listener, s := range doors {
			d := metrics.Door{
				App: app, Listener: listener, Accepted: s.Accepted, Dealt: s.Dealt, Again: s.Again, Refused: s.Refused,
				Rescued: s.Rescued, Waiting: s.InHand,
			}
			for _, k := range s.Slots {
				d.Waiting += max(0, k.Waiting)
			}
			list = append(list, d)
		}
	}
	return list
}
