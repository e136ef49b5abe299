package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/brood"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/human"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/internal/supervisor/voice"
	"github.com/muster-run/muster/spec"
)

// Options of a Supervisor. All but Records, Loop, Exchange, Errand and Log are required.
type Options struct {
	Project, Node string
	Starter       process.Starter
	Store         process.Store
	// Records of what runs; zero: over Store. When they hold what an earlier
	// Supervisor wrote, New goes on where that one was.
	Records process.Records
	Events  *event.Hub
	// Loop deals connections and hears the workers of Node.js clusters; nil: there is
	// no dealing, and no such workers.
	Loop *handoff.Loop
	// Exchange is where workers take part in operations; nil: they cannot. It is entered
	// by New for every worker that is adopted.
	Exchange op.Exchange
	// Errand is the key of the project: the value of MUSTER_ERRAND in the
	// environment of short commands (build, health check, stop), so that what a
	// dead agent left running of them is found. "": it is not set.
	Errand string
	// LogDir holds the output files, RunDir the sockets and spools of workers.
	LogDir, RunDir string
	// Packing of rotated output files; nil: they are not packed.
	Packing output.Packing
	// Log of the supervisor itself; nil: none.
	Log *slog.Logger

	// Tests without real processes replace the kernel's view of things.
	sys   *attempt.Sys
	bind  func(spec.Listener) (*os.File, error)
	usage pool.Usage
}

// Supervisor owns the workers of one host. Its methods are safe for concurrent
// use; each order returns when it is done or its context ends, which does not
// undo it.
type Supervisor struct {
	opts   Options
	ctx    context.Context
	cancel context.CancelFunc
	shared *pool.Shared

	applying sync.Mutex // one Apply at a time; Shutdown keeps it
	ending   context.Context
	end      context.CancelFunc // cancels ending: no order is taken any more

	mu      sync.Mutex
	spec    spec.Spec
	pools   map[string]*pool.Pool
	ends    map[string]human.End   // pools whose workers have all ended by themselves
	waiting map[chan struct{}]bool // starts that wait for another app
	held    []string               // apps that the next Apply makes and does not start
	// settings are what orders have set since the last Apply, by app.
	settings map[string][]api.Setting
	setting  chan struct{} // holds one while such an order is carried out
	under    *spec.Spec    // of the Apply under way, as recorded
	saving   sync.Mutex    // one record at a time

	ended   chan int
	usage   usage
	left    atomic.Bool // Leave was called
	adopted int
}

// New makes a Supervisor that runs nothing yet, or that goes on where an earlier
// one was, by its records. Shutdown or Leave ends it.
func New(opts Options) (*Supervisor, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.bind == nil {
		opts.bind = listener.Bind
	}
	if err := os.MkdirAll(opts.LogDir, 0o700); err != nil {
		return nil, fault.New(fault.StateDir, "cannot create %s: %w", opts.LogDir, err)
	}
	if opts.Records.Store == nil {
		opts.Records.Store = opts.Store
	}
	attempts, err := attempt.NewShared(opts.Starter, opts.Store, opts.RunDir)
	if err != nil {
		return nil, err
	}
	attempts.Errand, attempts.Loop, attempts.Brood = opts.Errand, opts.Loop, brood.New
	attempts.Exchange = opts.Exchange
	ctx, cancel := context.WithCancel(context.Background())
	ending, end := context.WithCancel(ctx)
	s := &Supervisor{
		opts: opts, ctx: ctx, cancel: cancel, ending: ending, end: end, pools: map[string]*pool.Pool{},
		ends: map[string]human.End{}, waiting: map[chan struct{}]bool{}, ended: make(chan int, 1),
		settings: map[string][]api.Setting{}, setting: make(chan struct{}, 1),
	}
	attempts.Sys.Members, attempts.Forgotten = s.usage.members, s.usage.forget
	if opts.sys != nil {
		attempts.Sys = *opts.sys
	}
	s.shared = &pool.Shared{
		Attempts: attempts, Records: opts.Records, Project: opts.Project, Node: opts.Node, Events: opts.Events,
		Log: opts.Log, Usage: &s.usage, LogFile: s.logFile, Packing: opts.Packing, Changed: s.changed,
		Sockets: &generation.Sockets{
			Store: opts.Store, Bind: opts.bind, Loop: opts.Loop, Balance: launch.BalanceOf, Warn: s.noticed,
		},
	}
	if opts.usage != nil {
		s.shared.Usage = opts.usage
	}
	if err := s.adopt(); err != nil {
		s.Leave()
		return nil, err
	}
	attempts.Errands.Go(func() { attempts.DispatchExits(ctx) })
	attempts.Errands.Go(s.watchMemory)
	return s, nil
}

// noticed passes on what was noticed of a worker, or (slot -1) of an app, or (over) that
// it has ended.
func (s *Supervisor) noticed(app string, slot int, f *fault.Fault, over bool) {
	if p := s.pool(app); p != nil {
		p.Warn(slot, f, over)
	}
}

func (s *Supervisor) logFile(app spec.App) string {
	if app.Log.File != "" {
		return app.Log.File
	}
	return filepath.Join(s.opts.LogDir, app.Name+".log")
}

func (s *Supervisor) pool(name string) *pool.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[name]
}

// all lists the pools by name.
func (s *Supervisor) all() []*pool.Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*pool.Pool
	for _, p := range s.pools {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *pool.Pool) int { return strings.Compare(a.Name(), b.Name()) })
	return list
}

// Log is the output of an app; nil when there is no such app.
func (s *Supervisor) Log(app string) *output.Log {
	if p := s.pool(app); p != nil {
		return p.Log()
	}
	return nil
}

// Spec is what is declared now: what was applied, with what scale, rollback and
// failed reloads have made of it.
func (s *Supervisor) Spec() spec.Spec {
	s.mu.Lock()
	current := s.spec
	s.mu.Unlock()
	current.Apps = nil
	for _, p := range s.all() {
		app, _ := p.Declared()
		current.Apps = append(current.Apps, app)
	}
	return current
}

// Snapshot is the state of every app and worker, sorted by name and slot.
func (s *Supervisor) Snapshot() []api.App {
	s.usage.refresh()
	apps := []api.App{}
	for _, p := range s.all() {
		if app, ok := p.Snapshot(); ok {
			app.Set = s.settingsOf(p)
			apps = append(apps, app)
		}
	}
	return apps
}

// Channels counts what went over the channels of the workers.
func (s *Supervisor) Channels() voice.Channels { return s.shared.Attempts.Channels() }

// Doors are the counts of the listeners whose connections are dealt or guarded, by
// app and address.
func (s *Supervisor) Doors() map[string]map[string]handoff.Stats {
	all := map[string]map[string]handoff.Stats{}
	for _, p := range s.all() {
		if doors := p.Doors(); len(doors) > 0 {
			all[p.Name()] = doors
		}
	}
	return all
}

// AllEnded delivers once, when every worker of every app has ended by itself:
// the exit code of the last one (with restart: never, of the first), or
// 128+signal.
func (s *Supervisor) AllEnded() <-chan int { return s.ended }

// changed is called by every pool after each of its steps: it wakes whoever
// waits for another app, and notices when all have ended by themselves.
func (s *Supervisor) changed(app string, end *human.End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	if end == nil {
		delete(s.ends, app)
		return
	}
	s.ends[app] = *end
	if len(s.ends) < len(s.pools) {
		return
	}
	last := *end
	for _, e := range s.ends {
		if e.At.After(last.At) {
			last = e
		}
	}
	select {
	case s.ended <- last.Code:
	default:
	}
}

// watchMemory checks limits.memory until the Supervisor ends.
func (s *Supervisor) watchMemory() {
	tick := time.NewTicker(memoryEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range s.all() {
			p.CheckMemory()
		}
	}
}

// order bounds an order by the Supervisor's life; it is refused once that ends.
func (s *Supervisor) order(ctx context.Context) (context.Context, func(), *fault.Fault) {
	if s.ending.Err() != nil {
		return nil, nil, fault.New(fault.NotRunning, "muster is ending")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.ending, func() { cancel(errors.New("muster is ending")) })
	return ctx, func() { stop(); cancel(nil) }, nil
}

// Shutdown stops every app, dependents first, and ends the Supervisor. It
// returns when nothing is left; when ctx ends before, what is left is killed.
// With now that happens at once, also to what another Shutdown waits for.
func (s *Supervisor) Shutdown(ctx context.Context, now bool) error {
	s.end()
	if now {
		s.kill(ctx)
	}
	s.applying.Lock() // an Apply under way has been told, and returns
	defer s.applying.Unlock()
	var targets []target
	for _, p := range s.all() {
		targets = append(targets, target{pool: p})
	}
	results := together(targets, func(t target) (string, *fault.Fault) {
		if !now {
			s.awaitDependents(ctx, t, targets)
		}
		f := t.pool.Retire(ctx, "muster ends", now)
		if f != nil {
			f = t.pool.Retire(context.Background(), "muster ends", true)
		}
		return "", f
	})
	for _, t := range targets {
		s.remove(t.pool)
	}
	s.forget()
	s.cancel()
	s.shared.Attempts.Errands.End()
	if f := (api.Outcome{Results: results}).Fault(); f != nil {
		return f
	}
	return nil
}

// kill ends every app at once. Who waits for their ends learns of it, and what
// fails here fails there.
func (s *Supervisor) kill(ctx context.Context) {
	var targets []target
	for _, p := range s.all() {
		targets = append(targets, target{pool: p})
	}
	together(targets, func(t target) (string, *fault.Fault) {
		return "", t.pool.Retire(ctx, "muster ends", true)
	})
}
