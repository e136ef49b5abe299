package attempt

import (
	"context"
	"regexp"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/pulse"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/sight"
	"github.com/muster-run/muster/internal/supervisor/voice"
	"github.com/muster-run/muster/spec"
)

// Config says what to run and who hears of it.
type Config struct {
	Shared *Shared
	// Post runs a step in the owner's goroutine; false: the owner has ended.
	Post func(step func()) bool
	// After performs an effect once what the owner's present step has changed is
	// recorded; nil: at once.
	After  func(effect func())
	Events Events

	// Worker is what the program is told of itself; ID and NotifySocket are
	// filled in by the attempt.
	Worker launch.Worker
	// Number is 1, 2, 3, … per app, never used again.
	Number int
	// Primary of the Node.js workers of its app; nil: it is none.
	Primary *primary.Primary
	// Fork is what is special about a fork of a program's; nil: it is a worker.
	Fork *Fork
	// Before are the servers of its predecessor in the slot, by key, and whether any
	// worker of the app listens anywhere. Required with Primary.
	Before func() (keys []string, any bool)
	// Meta for the Starter, see process.Command.
	Meta []byte
	// Listeners it inherits, in the order of App.Listen.
	Listeners []Listener
	// Pattern of ready.output; nil: none.
	Pattern *regexp.Regexp
	// Health gives the health rules now in force; it is called by the checking
	// goroutine.
	Health func() spec.Health
	// ReadyIn is the ready timeout.
	ReadyIn time.Duration
	Log     *output.Log
}

// Events are what an attempt tells its owner, in the owner's goroutine. Started
// comes first (unless the attempt is closed before), Gone last.
type Events struct {
	// Started: the program runs, or could not be started.
	Started func(error)
	// Ready: everything that readiness waits for has come.
	Ready func()
	// Failed: muster's own verdict on a starting or ready process. The owner
	// is to stop it.
	Failed func(*fault.Fault)
	// Torn: its channel cannot be used any more. The owner is to replace it.
	Torn func(*fault.Fault)
	// Late: it has not ended within stop.timeout.
	Late func()
	// Exited: the main process has ended.
	Exited func(process.Exit)
	// Gone: nothing is left of it and its output is recorded.
	Gone func()
	// Probed: one result of the health check.
	Probed func(Probed)
	// Status: free text of its own (sd_notify STATUS=).
	Status func(text string)
	// Said: a message of its own code; nil: nobody wants them.
	Said func(event.WorkerMessage)
	// Node: a change in the state of a Node.js worker; nil: nobody wants them.
	Node func(event.WorkerNode)
	// Heartbeat: it has been silent, or speaks again; nil: nobody wants to know.
	Heartbeat func(event.WorkerHeartbeat)
	// Crashed: its own code has failed, and its end follows; nil: nobody wants to know.
	Crashed func(event.WorkerCrash)
	// Told: a line about itself for people. Required with Shared.Exchange.
	Told func(event.WorkerLifecycle)
	// Warned: something that stopped nothing.
	Warned func(*fault.Fault)
}

// Probed is one result of the health check and what it means.
type Probed struct {
	Result  health.Result
	Verdict health.Verdict
	InARow  int // failures in a row
	// Overdue is the time within which a first success should have come and did
	// not: health.grace, else the ready timeout. 0: it may still come.
	Overdue time.Duration
}

// Listener is a socket that the process inherits.
type Listener struct {
	Network, Address string
	File             process.NamedFD
	Inode            uint64
	// Balance in force. Door deals the listener's connections, and Seat is the slot to
	// join it with; nil: nobody deals.
	Balance spec.Balance
	Door    *handoff.Door
	Seat    int
}

// Attempt is one process and what hangs on it. Not safe for concurrent use: its
// methods belong to the owner's goroutine.
type Attempt struct {
	cfg  Config
	app  spec.App
	id   string
	proc process.Proc

	running   bool // Start has returned without an error
	stopping  bool // told to stop
	asked     bool // that has reached it
	killed    bool
	closed    bool
	launched  time.Time
	startedAt time.Time
	readyAt   time.Time
	readyIn   time.Duration // the ready timeout in force
	needs     need.Set
	exit      *process.Exit // the main process has ended
	early     *process.Exit // the same, told before started
	judging   int           // the main pid whose end is being looked into; 0: none
	noAccept  *fault.Fault  // it does not use its listeners
	lineSeen  bool          // a line matched ready.output

	notify  Notifier
	channel *channel.Conn // nil: none
	voice   *voice.Voice  // nil: no channel
	ear     *handoff.Ear  // nil: it is a Node.js worker (cluster has it), or a goroutine hears it
	pulse   *pulse.Pulse
	crash   *event.WorkerCrash // what it has said of its own end; nil: nothing
	adopted bool               // from an earlier agent
	node    *cluster           // nil: it is no worker of a cluster
	kin     Kin                // nil: it is not its own primary
	showKin func() *api.NodeWorker
	link    *nodejs.Link // to one that has kin; nil: no channel
	// wereForks are what an earlier agent has recorded.
	wereForks *record.Forks
	seats     []*handoff.Seat
	output    *output.Attachment
	tracker   health.Tracker
	watchdog  time.Duration
	ping      *time.Timer

	life   context.Context // the owner's
	ctx    context.Context // of the watchers
	cancel context.CancelFunc

	timer    *time.Timer // ready or stop deadline
	nudge    *time.Timer // of a stop signal that waits
	deadline time.Time   // of timer, or of the clearing; zero: none
	span     time.Duration
}

// New makes an attempt; ctx bounds all that is done for it.
func New(ctx context.Context, cfg Config) *Attempt {
	a := bare(ctx, cfg)
	a.id, a.launched = cfg.Shared.nextID(a.app.Name, cfg.Worker.Slot), time.Now()
	return a
}

func bare(life context.Context, cfg Config) *Attempt {
	if cfg.After == nil {
		cfg.After = func(effect func()) { effect() }
	}
	ctx, cancel := context.WithCancel(life)
	a := &Attempt{cfg: cfg, app: cfg.Worker.App, readyIn: cfg.ReadyIn, life: life, ctx: ctx, cancel: cancel}
	if cfg.Primary != nil && cfg.Worker.Cluster() == spec.NodeDelegate {
		a.kin, a.showKin = cfg.Shared.Brood(life, cfg, a)
		a.cfg.Primary = nil // it is that of the forks
	}
	a.node = newCluster(a.cfg)
	a.pulse = a.newPulse(false)
	return a
}

// Launch starts the process in a goroutine of its own; Started tells. The owner
// has recorded the attempt before.
func (a *Attempt) Launch() {
	a.expect()
	s := a.starter()
	a.cfg.Shared.Errands.Go(func() {
		out, err := s.start()
		if a.cfg.Post(func() { a.started(out, err) }) {
			return
		}
		if a.life.Err() != nil { // left: it is recorded, and a successor takes it up
			out.leave()
			return
		}
		out.drop()
	})
}

func (a *Attempt) expect() {
	a.cfg.Shared.expect(a.id, func(e process.Exit) { a.post(func() { a.exited(e) }) })
}

func (a *Attempt) starter() starter {
	return starter{shared: a.cfg.Shared, cfg: a.cfg, id: a.id, onLine: a.lineWatch(), delegates: a.kin != nil}
}

// started takes what the Starter answered. An exit may have come before.
func (a *Attempt) started(out started, err error) {
	if a.closed {
		a.cfg.Shared.Errands.Go(out.drop)
		return
	}
	a.notify, a.output, a.channel = out.notify, out.output, out.channel
	if err == nil {
		a.proc = out.proc
	}
	a.listen(nil)
	if err != nil {
		a.cfg.Events.Started(err)
		return
	}
	a.runs(out.proc, time.Now())
}

// runs: there is a process.
func (a *Attempt) runs(proc process.Proc, since time.Time) {
	a.proc, a.running, a.startedAt = proc, true, since
	a.cfg.Events.Started(nil)
	a.openBox()
	if !a.stopping {
		a.watch()
	}
	if a.early != nil {
		a.exited(*a.early)
	}
}

// exited: the main process has ended. One that ends with 0 while it starts (or
// right after, because its port was seen first), and leaves processes behind,
// may have forked itself into the background: then the first of those is the
// main process from now on.
func (a *Attempt) exited(e process.Exit) {
	if !a.running {
		a.early = &e
		return
	}
	if e.PID != a.proc.PID || e.PID == a.judging || a.exit != nil {
		return // MAINPID came while the exit was on its way, or it is told again
	}
	young := a.readyAt.IsZero() || e.Time.Sub(a.readyAt) < forkTime
	if !a.Serving() || !young || e.Code != 0 || a.app.Type == spec.Task {
		a.ended(e)
		return
	}
	proc := a.proc
	a.judging = proc.PID
	a.cfg.Shared.Errands.Go(func() {
		successor := sight.Successor(func() []int { return a.cfg.Shared.Sys.Members(proc) })
		a.post(func() {
			switch {
			case e.PID != a.proc.PID: // MAINPID came meanwhile
			case !a.Serving(), successor == 0, !a.follow(successor):
				a.ended(e)
			}
		})
	})
}

// forkTime is how long after readiness a main process may still leave for the
// background.
const forkTime = 2 * time.Second

func (a *Attempt) ended(e process.Exit) {
	a.exit = &e
	a.closeBox()
	a.standUp()
	a.unwatch()
	a.cfg.Events.Exited(e)
}

// follow makes another of its processes the main one.
func (a *Attempt) follow(pid int) bool {
	proc, err := a.cfg.Shared.Starter.SetMain(a.id, pid)
	if err == nil {
		a.proc = proc
		a.openBox()
	}
	return err == nil
}

// post runs a step of this attempt in the owner's goroutine, unless it is closed.
func (a *Attempt) post(step func()) {
	a.cfg.Post(func() {
		if !a.closed {
			step()
		}
	})
}

// lineWatch looks for the line that ready.output waits for; nil: none.
func (a *Attempt) lineWatch() func(api.Record) {
	pattern := a.cfg.Pattern
	if a.cfg.Fork != nil {
		return a.cfg.Fork.Line
	}
	if pattern == nil {
		return nil
	}
	seen := false // one goroutine calls it
	return func(rec api.Record) {
		if !seen && pattern.MatchString(rec.Line) {
			seen = true
			a.post(func() { a.lineSeen = true; a.met(need.Output) })
		}
	}
}

// watch begins everything that looks at a process that was just started.
func (a *Attempt) watch() {
	a.needs = a.wanted()
	if a.lineSeen {
		a.needs &^= need.Output
	}
	a.arm(a.readyIn, a.readyTimeout)
	if a.app.Watchdog > 0 {
		a.watchdog = a.app.Watchdog.D()
	}
	a.watchNotify()
	a.beginForks(nil)
	a.look(need.AliveFor(a.app))
}

// look begins what looks at a process from outside; alive is how long it must
// still live to count as alive.
func (a *Attempt) look(alive time.Duration) {
	if a.readyAt.IsZero() && !a.clustered() {
		a.watchSockets()
	}
	a.watchHealth()
	if a.needs&need.Alive != 0 {
		time.AfterFunc(alive, func() { a.post(func() { a.met(need.Alive) }) })
	}
	a.met(0)
}

// wanted is what readiness waits for.
func (a *Attempt) wanted() need.Set {
	if a.clustered() {
		return need.OfCluster(a.app)
	}
	return need.Of(a.app)
}

// met notes that one of the things readiness waits for has come.
func (a *Attempt) met(n need.Set) {
	if !a.starting() {
		return
	}
	a.needs &^= n
	if a.needs != 0 {
		return
	}
	a.readyAt = time.Now()
	a.disarm()
	a.sitDown()
	if a.watchdog > 0 {
		a.setWatchdog(a.watchdog)
	}
	a.watchPulse()
	a.cfg.Events.Ready()
}

// starting: it runs, is not ready yet, and nobody has told it to stop.
func (a *Attempt) starting() bool { return a.Serving() && a.readyAt.IsZero() }

// Serving: it runs, and nobody has told it to stop.
func (a *Attempt) Serving() bool { return a.running && !a.stopping && a.exit == nil && !a.closed }

// readyTimeout: what readiness waits for did not come in time.
func (a *Attempt) readyTimeout() {
	if !a.starting() {
		return
	}
	f := fault.New(fault.ReadyTimeout, "not ready within %s: %s",
		a.readyIn.Round(time.Millisecond), a.lacks())
	if a.noAccept != nil {
		f = f.WithFix(a.noAccept.Fix)
	}
	a.cfg.Events.Failed(f)
}

// unwatch ends the watchers; sd_notify is still heard.
func (a *Attempt) unwatch() {
	a.cancel()
	a.pulse.Stop()
	if a.ping != nil {
		a.ping.Stop()
	}
}

// arm sets the one deadline of the attempt, in the place of any earlier one.
func (a *Attempt) arm(d time.Duration, late func()) {
	a.disarm()
	a.deadline, a.span = time.Now().Add(d), d
	var t *time.Timer
	t = later(d, func() {
		a.post(func() {
			if a.timer == t {
				late()
			}
		})
	})
	a.timer = t
}

// later is time.AfterFunc for deadlines of a process. When it finds that this agent
// itself did not run when it should have, it waits a little more: what the process
// said meanwhile must be heard before it is judged.
func later(d time.Duration, due func()) *time.Timer {
	end := time.Now().Add(d)
	return time.AfterFunc(d, func() {
		if more := missed(end, time.Now()); more > 0 {
			time.AfterFunc(more, due) // due looks whether it is still wanted
			return
		}
		due()
	})
}

// missed is how long a process must get to be heard, by an agent that comes to the
// end of a deadline only now: after a SIGSTOP, or on a machine that stood still.
func missed(end, now time.Time) time.Duration {
	if now.Sub(end) > time.Second {
		return adoptPatience
	}
	return 0
}

// disarm removes the deadline and returns what was left of it.
func (a *Attempt) disarm() time.Duration {
	if a.timer == nil {
		return 0
	}
	a.timer.Stop()
	left := max(0, time.Until(a.deadline))
	a.timer, a.deadline, a.span = nil, time.Time{}, 0
	return left
}

// extend moves the deadline to at least d from now (EXTEND_TIMEOUT_USEC).
func (a *Attempt) extend(d time.Duration) {
	if a.timer == nil || time.Until(a.deadline) >= d {
		return
	}
	if a.starting() {
		a.readyIn = time.Now().Add(d).Sub(a.startedAt)
		a.arm(d, a.readyTimeout)
		return
	}
	a.arm(d, a.cfg.Events.Late)
}
