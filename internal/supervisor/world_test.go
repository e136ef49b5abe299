package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/spec"
)

// world is a Supervisor over a Starter without processes, in a synctest bubble.
type world struct {
	*testing.T
	fake  *processtest.Fake
	store *process.DirectStore
	life  *processtest.Life // of the present agent
	sup   *Supervisor
	hub   *event.Hub
	dir   string
	usage pool.Usage
	bound int // listeners so far

	over  chan struct{}
	wrong *[]string // collects what is wrong; nil: it fails the test

	mu      sync.Mutex
	accepts listener.Answer
	own     []listener.Socket
	// bindError is what the next binds fail with; nil: they succeed.
	bindError error
	notify    map[string]*fakeNotify // by the last part of its process ID
	block     chan struct{}          // binds wait for it; nil: they do not
}

type fakeNotify struct {
	c    chan sdnotify.Message
	once sync.Once
	away []sdnotify.Message // came while no agent was there
}

func (n *fakeNotify) Messages() <-chan sdnotify.Message { return n.c }
func (n *fakeNotify) Close() error                      { n.once.Do(func() { close(n.c) }); return nil }
func (n *fakeNotify) Leave() error                      { return n.Close() }
func (n *fakeNotify) File() (*os.File, error)           { return os.Open(os.DevNull) }

// waiting is a channel with what nobody has read.
func (n *fakeNotify) waiting() chan sdnotify.Message {
	c := make(chan sdnotify.Message, 16)
	for _, m := range n.away {
		c <- m
	}
	return c
}

// inWorld runs a test in a bubble in which time passes only when all wait.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, dir)
		defer w.store.Close()
		defer close(w.over)
		defer func() {
			if t.Failed() {
				_ = w.sup.Shutdown(context.Background(), true)
			}
		}()
		test(w)
		w.end()
	})
}

// Errorf notes that something is wrong.
func (w *world) Errorf(format string, args ...any) {
	w.Helper()
	if w.wrong == nil {
		w.T.Errorf(format, args...)
		return
	}
	*w.wrong = append(*w.wrong, fmt.Sprintf(format, args...))
}

// Error is Errorf without a format.
func (w *world) Error(args ...any) { w.Helper(); w.Errorf("%s", fmt.Sprint(args...)) }

// newWorld is one with its first agent.
func newWorld(t *testing.T, dir string) *world {
	t.Helper()
	w := &world{
		T: t, fake: processtest.NewFake(), store: process.NewDirectStore(), dir: dir, over: make(chan struct{}),
		accepts: listener.Yes, notify: map[string]*fakeNotify{},
	}
	w.begin()
	return w
}

// end shuts everything down and sees that nothing is left.
func (w *world) end() {
	w.Helper()
	if err := w.sup.Shutdown(context.Background(), false); err != nil {
		w.Errorf("shutdown: %v", err)
	}
	w.noneLeft()
}

// begin makes a Supervisor, as each agent does.
func (w *world) begin() {
	w.Helper()
	w.hub, w.life = &event.Hub{}, w.fake.Connect(w.store)
	sup, err := New(Options{
		Project: "test", Node: "here", Starter: w.life, Store: w.life.Store(),
		Events: w.hub, LogDir: w.dir + "/log", RunDir: w.dir, bind: w.bind, sys: w.sys(), usage: w.usage,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.sup = sup
}

// bind makes a socket that nobody can connect to.
func (w *world) bind(spec.Listener) (*os.File, error) {
	if w.bindError != nil {
		return nil, w.bindError
	}
	if w.block != nil {
		<-w.block
	}
	select {
	case <-w.life.Dead():
		return nil, processtest.ErrCut
	default:
	}
	w.mu.Lock()
	w.bound++
	w.mu.Unlock()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	return os.NewFile(uintptr(fd), "socket"), err
}

// leave is the orderly end of an agent, kill is SIGKILL: the next one finds what
// there is.
func (w *world) leave() { w.sup.Leave(); w.life.Cut(); synctest.Wait() }

func (w *world) kill() { w.life.Cut(); w.sup.Leave(); synctest.Wait() }

// renew ends the agent and lets another one go on.
func (w *world) renew(end func()) {
	w.Helper()
	end()
	w.begin()
	synctest.Wait()
}

func (w *world) noneLeft() {
	w.Helper()
	if left := w.fake.List(); len(left) > 0 {
		w.Errorf("left behind: %v", left)
	}
	if left := w.store.List(); len(left) > 0 {
		w.Errorf("left in the store: %v", left)
	}
}

// sys is a kernel that sees what the test says.
func (w *world) sys() *attempt.Sys {
	return &attempt.Sys{
		Accepting: func([]int, []uint64) listener.Answer {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.accepts
		},
		Foreign: func([]int, map[uint64]bool) ([]listener.Socket, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.own, nil
		},
		Members: func(p process.Proc) []int { m, _ := p.Members(); return m },
		Notify: func(path string, _ int) (attempt.Notifier, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			n := &fakeNotify{c: make(chan sdnotify.Message, 16)}
			w.notify[filepath.Base(path)] = n
			return n, nil
		},
		AdoptNotify: func(f *os.File, path string, _ int) (attempt.Notifier, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			defer f.Close()
			// What came while no agent was there waits in the socket.
			n := &fakeNotify{c: w.notify[filepath.Base(path)].waiting()}
			w.notify[filepath.Base(path)] = n
			return n, nil
		},
	}
}

// app is a valid app that is ready as soon as the kernel says it accepts.
func app(name string, workers int, change ...func(*spec.App)) spec.App {
	a := spec.DefaultApp(name)
	a.Command, a.Dir, a.Workers = []string{"/bin/" + name}, "/", workers
	a.Listen = []spec.Listener{{Name: "http", Network: "tcp", Address: "127.0.0.1:" + portOf(name)}}
	a.Restart.Jitter = 0
	for _, c := range change {
		c(&a)
	}
	return a
}

// portOf gives each app a port of its own; nothing is bound in these tests.
func portOf(name string) string {
	sum := 0
	for _, c := range name {
		sum = sum*31 + int(c)
	}
	return spec.Bytes(2000 + sum%40000).String()
}

func specOf(apps ...spec.App) spec.Spec {
	slices.SortFunc(apps, func(a, b spec.App) int { return strings.Compare(a.Name, b.Name) })
	return spec.Spec{Project: "test", Control: spec.Control{Mode: 0o600}, Apps: apps}
}

// apply applies apps and fails the test when that has a fault.
func (w *world) apply(apps ...spec.App) {
	w.Helper()
	if r := w.sup.Apply(w.Context(), specOf(apps...)); r.Fault() != nil {
		w.Fatalf("apply: %v %v", r.Fault(), r.Results)
	}
}

// workers lists an app's workers as status shows them.
func (w *world) workers(app string) []api.Worker {
	w.Helper()
	synctest.Wait()
	for _, a := range w.sup.Snapshot() {
		if a.Name == app {
			return a.Workers
		}
	}
	w.Fatalf("no app %s", app)
	return nil
}

func (w *world) app(name string) api.App {
	w.Helper()
	synctest.Wait()
	for _, a := range w.sup.Snapshot() {
		if a.Name == name {
			return a
		}
	}
	w.Fatalf("no app %s", name)
	return api.App{}
}

// states is "ready ready backoff".
func (w *world) states(app string) string {
	w.Helper()
	var words []string
	for _, v := range w.workers(app) {
		words = append(words, string(v.State))
	}
	return strings.Join(words, " ")
}

func (w *world) wantStates(app, want string) {
	w.Helper()
	if got := w.states(app); got != want {
		w.Fatalf("%s: states %q, want %q", app, got, want)
	}
}

func (w *world) pids(app string) []int {
	w.Helper()
	var pids []int
	for _, v := range w.workers(app) {
		pids = append(pids, v.PID)
	}
	return pids
}

// id finds the process ID of a pid.
func (w *world) id(pid int) string {
	w.Helper()
	for _, p := range w.fake.List() {
		if p.PID == pid {
			return p.ID
		}
	}
	w.Fatalf("no process %d", pid)
	return ""
}

// crash ends the process of a slot's worker.
func (w *world) crash(app string, slot, code int, sig syscall.Signal) {
	w.Helper()
	w.fake.Exit(w.id(w.workers(app)[slot].PID), code, sig)
	synctest.Wait()
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	<-time.After(d) // in the bubble
	synctest.Wait()
}

// setAccepts says whether workers accept on their listeners from now on.
func (w *world) setAccepts(a listener.Answer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.accepts = a
}

// events returns the kept events of one type.
func events[T event.Data](w *world) []event.Event {
	synctest.Wait()
	var list []event.Event
	for _, e := range w.hub.Past() {
		if _, ok := e.Data.(T); ok {
			list = append(list, e)
		}
	}
	return list
}

// onStart calls f for each process that is started from now on.
func (w *world) onStart(f func(process.Command)) {
	go func() {
		for {
			select {
			case c := <-w.fake.Starts():
				f(c)
			case <-w.over:
				return
			}
		}
	}()
}

// peak counts the most processes there are at any start from now on.
func (w *world) peak() func() int {
	var most atomic.Int64
	w.onStart(func(process.Command) { most.Store(max(most.Load(), int64(len(w.fake.List())))) })
	return func() int { synctest.Wait(); return int(most.Load()) }
}

// listening lists the listeners in the Store.
func listening(w *world) (names []string) {
	for _, name := range w.store.List() {
		if strings.HasPrefix(name, "listen/") {
			names = append(names, name)
		}
	}
	return names
}

// text is a value as the API shows it.
func text(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// scaleTo is the order to scale to a size.
func scaleTo(selector string, workers int) api.Order {
	return api.Order{Selector: selector, Workers: workers}
}
