package attempt

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/spec"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	goleak.VerifyTestMain(m)
}

// rig is one attempt over a Starter without processes, in a synctest bubble,
// with a goroutine that owns it as a pool does.
type rig struct {
	*testing.T
	fake   *processtest.Fake
	store  *process.DirectStore
	shared *Shared
	app    spec.App
	notify chan sdnotify.Message
	a      *Attempt
	log    *output.Log

	steps chan func()

	mu      sync.Mutex
	heard   []string // the events, in order
	warned  []*fault.Fault
	failed  *fault.Fault
	accepts listener.Answer
	own     []listener.Socket
	closed  bool // the notify socket
	// starting is called by Start before it returns; nil: nothing is.
	starting func(process.Proc)
}

// rigStarter is a Fake whose Start takes as long as the test wants.
type rigStarter struct {
	*processtest.Fake
	r *rig
}

// Start implements process.Starter.
func (s rigStarter) Start(c process.Command) (process.Proc, error) {
	p, err := s.Fake.Start(c)
	if s.r.starting != nil && err == nil {
		s.r.starting(p)
	}
	return p, err
}

// Messages implements Notifier.
func (r *rig) Messages() <-chan sdnotify.Message { return r.notify }

// Close implements Notifier.
func (r *rig) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		close(r.notify)
	}
	r.closed = true
	return nil
}

// Leave implements Notifier.
func (r *rig) Leave() error { return r.Close() }

// File implements Notifier.
func (r *rig) File() (*os.File, error) { return os.Open(os.DevNull) }

// inRig runs a test of an attempt of app, which is not launched yet.
func inRig(t *testing.T, change func(*spec.App), test func(*rig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		app := spec.DefaultApp("web")
		app.Command, app.Dir, app.Log.Target = []string{"/bin/web"}, "/", spec.LogNone
		if change != nil {
			change(&app)
		}
		r := &rig{
			T: t, fake: processtest.NewFake(), store: process.NewDirectStore(), app: app, accepts: listener.No,
			notify: make(chan sdnotify.Message, 16), steps: make(chan func(), 1024),
		}
		shared, err := NewShared(rigStarter{r.fake, r}, r.store, dir)
		if err != nil {
			t.Fatal(err)
		}
		r.shared, shared.Sys = shared, r.sys()
		shared.Errands.Go(func() { shared.DispatchExits(t.Context()) })
		log, err := output.Open(output.Options{App: app.Name, Log: app.Log})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for step := range r.steps {
				step()
			}
		}()
		r.log = log
		r.a = New(t.Context(), r.config(log))
		defer func() {
			r.end()
			if err := log.Close(); err != nil {
				t.Error(err)
			}
			close(r.steps)
			if left := r.store.List(); len(left) > 0 {
				t.Errorf("left in the store: %q", left)
			}
		}()
		test(r)
	})
}

// end gives the attempt up as its owner would, whatever state it is in.
func (r *rig) end() {
	r.do(r.a.Close)
	for _, p := range r.fake.List() {
		_, _ = p.Kill()
		r.fake.Ack(p.ID)
	}
	synctest.Wait()
	if !r.closed && len(r.fake.Commands()) > 0 {
		r.Error("the notify socket was left open")
	}
}

func (r *rig) sys() Sys {
	return Sys{
		Accepting: func([]int, []uint64) listener.Answer {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.accepts
		},
		Foreign: func([]int, map[uint64]bool) ([]listener.Socket, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.own, nil
		},
		Members: func(p process.Proc) []int { m, _ := p.Members(); return m },
		Notify:  func(string, int) (Notifier, error) { return r, nil },
		AdoptNotify: func(f *os.File, _ string, _ int) (Notifier, error) {
			r.closed, r.notify = false, make(chan sdnotify.Message, 16)
			return r, f.Close()
		},
	}
}

// kernel sets what is seen of the process's sockets from now on.
func (r *rig) kernel(accepts listener.Answer, own ...listener.Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.accepts, r.own = accepts, own
}

func (r *rig) config(log *output.Log) Config {
	cfg := Config{
		Shared: r.shared, Log: log, ReadyIn: r.app.Ready.Timeout.D(),
		Post:   func(step func()) bool { r.steps <- step; return true },
		Worker: launch.Worker{App: r.app, Dir: "/"},
		Health: func() spec.Health { return *r.app.Health },
		Events: Events{
			Started: func(err error) {
				if err != nil {
					r.hear("not started")
					return
				}
				r.hear("started")
			},
			Ready:  func() { r.hear("ready") },
			Failed: func(f *fault.Fault) { r.failed = f; r.hear("failed " + string(f.Code)) },
			Late:   func() { r.hear("late") },
			Exited: func(e process.Exit) { r.hear(fmt.Sprintf("exited %d", e.Code)) },
			Gone:   func() { r.hear("gone") },
			Probed: func(p Probed) {
				if p.Verdict == health.Unhealthy || p.Overdue > 0 {
					r.hear("unwell")
				}
			},
			Status: func(text string) { r.hear("status " + text) },
			Warned: func(f *fault.Fault) {
				r.mu.Lock()
				r.warned = append(r.warned, f)
				r.mu.Unlock()
				r.hear("warned " + string(f.Code))
			},
		},
	}
	if r.app.Ready.Pattern != "" {
		cfg.Pattern = regexp.MustCompile(r.app.Ready.Pattern)
	}
	for i, l := range r.app.Listen {
		cfg.Listeners = append(cfg.Listeners, Listener{
			Network: l.Network, Address: l.Address, Inode: uint64(i + 1),
			File: process.NamedFD{Name: l.Name, File: os.Stdin},
		})
	}
	return cfg
}

func (r *rig) hear(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, event)
}

// do runs a step in the owner's goroutine.
func (r *rig) do(step func()) {
	done := make(chan struct{})
	r.steps <- func() { defer close(done); step() }
	<-done
}

// launch starts the process and waits until nothing more happens by itself.
func (r *rig) launch() {
	r.do(r.a.Launch)
	synctest.Wait()
}

func (r *rig) pass(d time.Duration) {
	<-time.After(d) // in the bubble
	synctest.Wait()
}

func (r *rig) says(m sdnotify.Message) {
	r.notify <- m
	synctest.Wait()
}

// want compares everything heard since the last want.
func (r *rig) want(events ...string) {
	r.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.heard, events) {
		r.Fatalf("heard %q, want %q", r.heard, events)
	}
	r.heard = nil
}

// id of the process under way.
func (r *rig) id() string { return r.a.id }

func (r *rig) exit(code int) {
	r.fake.Exit(r.id(), code, 0)
	synctest.Wait()
}
