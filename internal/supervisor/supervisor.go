package supervisor

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/spec"
	"golang.org/x/sys/unix"
)

// Options of a Supervisor. All but Log are required.
type Options struct {
	Project, Node string
	Starter       process.Starter
	Store         process.Store
	Events        *event.Hub
	// LogDir holds the output files, RunDir the sockets and spools of workers.
	LogDir, RunDir string
	// Log of the supervisor itself; nil: none.
	Log *slog.Logger

	// The kernel's view of sockets; tests without real processes replace it.
	bind      func(spec.Listener) (*os.File, error)
	accepting func(pids []int, inodes []uint64) listener.Answer
	foreign   func(pids []int, ours map[uint64]bool) ([]listener.Socket, error)
	members   func(process.Proc) []int
	notify    func(path string, uid int) (notifier, error)
}

// notifier is the sd_notify socket of one worker.
type notifier interface {
	Messages() <-chan sdnotify.Message
	Close() error
}

// Supervisor owns the workers of one host. Its methods are safe for concurrent
// use; each order returns when it is done or its context ends, which does not
// undo it.
type Supervisor struct {
	opts    Options
	ctx     context.Context
	cancel  context.CancelFunc
	helpers group
	starts  chan struct{} // bounds how many programs start at a time
	nonce   string
	count   atomic.Uint64

	applying sync.Mutex // one Apply at a time

	mu      sync.Mutex
	spec    spec.Spec
	pools   map[string]*pool
	exits   map[string]func(process.Exit)
	ends    map[string]ended // pools whose workers have all ended by themselves
	waiting map[chan struct{}]bool
	// prebound are listeners that Apply has bound and no generation has taken.
	prebound map[string]*bound

	ended chan int
	usage usage
}

// group counts helper goroutines. Each does one blocking thing and ends by
// itself: with its process, its socket, or the Supervisor's context.
type group struct{ sync.WaitGroup }

// New makes a Supervisor that runs nothing yet. Shutdown ends it.
func New(opts Options) (*Supervisor, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.bind == nil {
		opts.bind, opts.accepting, opts.foreign = listener.Bind, listener.Accepting, listener.Foreign
		opts.notify = func(path string, uid int) (notifier, error) { return sdnotify.Listen(path, uid) }
	}
	for _, dir := range []string{opts.LogDir, filepath.Join(opts.RunDir, "n"), filepath.Join(opts.RunDir, "o")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fault.New(fault.StateDir, "cannot create %s: %w", dir, err)
		}
	}
	// A worker with a user of its own must reach its notify socket.
	if err := os.Chmod(filepath.Join(opts.RunDir, "n"), 0o711); err != nil {
		return nil, fault.New(fault.StateDir, "cannot use %s: %w", opts.RunDir, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Supervisor{
		opts: opts, ctx: ctx, cancel: cancel,
		starts: make(chan struct{}, maxStarts), nonce: fmt.Sprintf("%08x", rand.Uint32()),
		pools: map[string]*pool{}, exits: map[string]func(process.Exit){},
		ends: map[string]ended{}, waiting: map[chan struct{}]bool{}, prebound: map[string]*bound{}, ended: make(chan int, 1),
	}
	if s.opts.members == nil {
		s.opts.members = s.usage.members
	}
	s.helpers.Go(s.dispatchExits)
	s.helpers.Go(s.watchMemory)
	return s, nil
}

// maxStarts is how many programs are being started at the same moment.
const maxStarts = 8

// dispatchExits hands each exit to the worker it belongs to.
func (s *Supervisor) dispatchExits() {
	for {
		select {
		case e, ok := <-s.opts.Starter.Exits():
			if !ok {
				return
			}
			s.mu.Lock()
			deliver := s.exits[e.ID]
			s.mu.Unlock()
			if deliver != nil {
				deliver(e)
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// expect registers who hears of a process's exit; forget ends that and lets the
// Starter forget the process.
func (s *Supervisor) expect(id string, deliver func(process.Exit)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exits[id] = deliver
}

func (s *Supervisor) forget(id string) {
	s.mu.Lock()
	delete(s.exits, id)
	s.mu.Unlock()
	s.usage.forget(id)
	s.opts.Starter.Ack(id)
}

// nextID is "web.2.5f3a9c01.17": app, slot, this agent, count.
func (s *Supervisor) nextID(w *worker) string {
	return fmt.Sprintf("%s.%d.%s.%s", w.pool.name, w.slot.n, s.nonce, s.nonce+fmt.Sprint(s.count.Add(1)))
}

func (s *Supervisor) members(p process.Proc) []int { return s.opts.members(p) }

func (s *Supervisor) now() time.Time { return time.Now() }

// jitter is uniform in [-1, 1].
func (s *Supervisor) jitter() float64 { return 2*rand.Float64() - 1 }

func (s *Supervisor) logFile(app spec.App) string {
	if app.Log.File != "" {
		return app.Log.File
	}
	return filepath.Join(s.opts.LogDir, app.Name+".log")
}

// warnAbout is for warnings that come from outside the pool's goroutine.
func (s *Supervisor) warnAbout(app string, f *fault.Fault) {
	if p := s.pool(app); p != nil {
		p.post(func() { p.warn(nil, f) })
	}
}

func (s *Supervisor) pool(name string) *pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools[name]
}

// all lists the pools by name.
func (s *Supervisor) all() []*pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*pool
	for _, p := range s.pools {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b *pool) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return list
}

// Log is the output of an app; nil when there is no such app.
func (s *Supervisor) Log(app string) *output.Log {
	if p := s.pool(app); p != nil {
		return p.log
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
		p.do(func() { current.Apps = append(current.Apps, p.app) })
	}
	return current
}

// ended is how a pool whose workers all ended by themselves came to its end.
type ended struct {
	at    time.Time
	first bool // policy never: the first exit counts
	code  int
}

// AllEnded delivers once, when every worker of every app has ended by itself:
// the exit code of the last one (with restart: never, of the first), or
// 128+signal.
func (s *Supervisor) AllEnded() <-chan int { return s.ended }

// checkEnded runs in the pool's goroutine after each of its steps.
func (s *Supervisor) checkEnded(p *pool) {
	end, over := p.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !over {
		delete(s.ends, p.name)
		return
	}
	s.ends[p.name] = end
	if len(s.ends) < len(s.pools) {
		return
	}
	last := end
	for _, e := range s.ends {
		if e.at.After(last.at) {
			last = e
		}
	}
	select {
	case s.ended <- last.code:
	default:
	}
}

// end: all of the pool's slots have ended by themselves.
func (p *pool) end() (ended, bool) {
	never := p.app.Restart.Policy == spec.RestartNever
	var result ended
	if !p.wanted || p.rollout != nil || p.gen == nil || p.app.Workers == 0 {
		return result, false
	}
	for n := range p.app.Workers {
		s := p.slots[n]
		if s == nil || s.cur == nil || !s.ended || !s.cur.atRest() {
			return result, false
		}
		e := ended{at: p.sup.now(), code: 1, first: never}
		if s.lastExit != nil {
			e.at, e.code = s.lastExit.Time, exitStatus(*s.lastExit)
		}
		if n == 0 || never && e.at.Before(result.at) || !never && e.at.After(result.at) {
			result = e
		}
	}
	return result, true
}

// poolChanged wakes whoever waits for another app (depends_on).
func (s *Supervisor) poolChanged() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.waiting {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func signalName(sig syscall.Signal) string {
	if sig == 0 {
		return ""
	}
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(sig))
}

// signalNumber of a name that Validate has let pass; TERM for any other.
func signalNumber(name string) unix.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	return unix.SIGTERM
}
