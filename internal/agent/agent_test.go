package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

func TestMain(m *testing.M) {
	if process.IsStep() {
		process.RunStep()
	}
	goleak.VerifyTestMain(m)
}

// deadline bounds every wait in these tests.
const deadline = 20 * time.Second

// site is a project of its own in short directories.
type site struct {
	dir, root string
	environ   []string
}

func newSite(t *testing.T) site {
	t.Helper()
	root, err := os.MkdirTemp("", "ma") // t.TempDir would make too long a socket path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	dir := filepath.Join(root, "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return site{dir: dir, root: root, environ: []string{
		"PATH=" + os.Getenv("PATH"), "MUSTER_STATE_DIR=" + root + "/s", "MUSTER_RUNTIME_DIR=" + root + "/r",
	}}
}

// sh is an app that runs a shell script.
func (s site) sh(name, script string) spec.App {
	a := spec.DefaultApp(name)
	a.Command = []string{"/bin/sh", "-c", script}
	a.Dir = s.dir
	a.Ready = spec.Ready{Mode: spec.ReadyOutput, Pattern: "up", Timeout: spec.Duration(10 * time.Second)}
	a.Stop.Timeout = spec.Duration(10 * time.Second)
	return a
}

func (s site) spec(apps ...spec.App) spec.Spec {
	return spec.Spec{
		Project: "test", File: filepath.Join(s.dir, "muster.yaml"), Environ: s.environ,
		Control: spec.Control{Mode: 0o600}, Apps: apps,
	}
}

func (s site) options(apps ...spec.App) Options {
	return Options{Spec: s.spec(apps...), Environ: s.environ, Version: "test", NoCgroup: true}
}

// result is what Run returned.
type result struct {
	code int
	err  error
}

// subject is an agent and what it has told.
type subject struct {
	*Agent
	t      *testing.T
	events *event.Subscription
	done   chan result
}

func start(t *testing.T, o Options) *subject {
	t.Helper()
	a, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	r := &subject{Agent: a, t: t, events: a.Events().Subscribe(0, 4096), done: make(chan result, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() {
		defer close(over)
		code, err := a.Run(ctx)
		r.done <- result{code, err}
	}()
	t.Cleanup(func() { cancel(); <-over })
	return r
}

// ended waits for the end of Run.
func (r *subject) ended() (int, error) {
	r.t.Helper()
	select {
	case res := <-r.done:
		return res.code, res.err
	case <-time.After(deadline):
		r.t.Fatal("the agent has not ended")
		return 0, nil
	}
}

// until reads events up to one that matches.
func (r *subject) until(what string, match func(event.Event) bool) event.Event {
	r.t.Helper()
	timer := time.NewTimer(deadline)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-r.events.C:
			if !ok {
				r.t.Fatalf("the events have ended before %s", what)
			}
			if match(e) {
				return e
			}
		case <-timer.C:
			r.t.Fatalf("no %s", what)
		}
	}
}

// state waits until a worker has come into a state.
func (r *subject) state(worker string, to event.State) event.Event {
	r.t.Helper()
	return r.until(fmt.Sprintf("%s %s", worker, to), func(e event.Event) bool {
		d, ok := e.Data.(event.WorkerState)
		return ok && e.Worker() == worker && d.To == to
	})
}

// warning waits for a warning with a code.
func (r *subject) warning(code fault.Code) fault.Fault {
	r.t.Helper()
	e := r.until("warning "+string(code), func(e event.Event) bool {
		d, ok := e.Data.(event.Warning)
		return ok && d.Fault.Code == code
	})
	return e.Data.(event.Warning).Fault
}

const server = "trap 'exit 0' TERM; echo up; while :; do sleep 0.02; done"

func TestStopSignalsDecideTheExitCode(t *testing.T) { // S1.2
	for _, c := range []struct {
		sig  os.Signal
		code int
	}{{syscall.SIGTERM, 0}, {os.Interrupt, 130}, {syscall.SIGHUP, 129}} {
		t.Run(c.sig.String(), func(t *testing.T) {
			s := newSite(t)
			o := s.options(s.sh("web", server))
			signals := make(chan os.Signal, 2)
			o.Signals = signals
			r := start(t, o)
			pid := r.state("web#0", event.Ready).PID
			signals <- c.sig
			code, err := r.ended()
			if code != c.code || err != nil {
				t.Errorf("ended with %d, %v; want %d", code, err, c.code)
			}
			if syscall.Kill(pid, 0) == nil {
				t.Errorf("worker %d is left", pid)
			}
		})
	}
}

func TestSecondInterruptKills(t *testing.T) {
	s := newSite(t)
	o := s.options(s.sh("web", "trap '' TERM; echo up; while :; do sleep 0.02; done"))
	o.Spec.Apps[0].Stop.Timeout = spec.Duration(time.Hour)
	signals := make(chan os.Signal, 2)
	o.Signals = signals
	r := start(t, o)
	r.state("web#0", event.Ready)
	signals <- os.Interrupt
	r.state("web#0", event.Draining)
	signals <- os.Interrupt
	if code, err := r.ended(); code != 130 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
}

func TestSecondAgentIsRefusedWithThePidOfTheFirst(t *testing.T) { // S1.1
	s := newSite(t)
	r := start(t, s.options(s.sh("web", server)))
	r.state("web#0", event.Ready)
	_, err := New(s.options())
	if fault.CodeOf(err) != fault.AgentRunning || !strings.Contains(err.Error(), "pid "+strconv.Itoa(os.Getpid())) {
		t.Fatalf("second agent: %v", err)
	}
	if fault.ExitCode(err) != 1 {
		t.Errorf("exit code %d", fault.ExitCode(err))
	}
	if st := r.Status(); len(st.Apps) != 1 || st.Apps[0].Ready != 1 {
		t.Errorf("the first agent was disturbed: %+v", st)
	}
}

// The state directory, and with it the lock, was removed under a running agent:
// the next one must not take its workers for leftovers.
func TestSecondAgentWithoutALockDisturbsNobody(t *testing.T) { // S1.1
	s := newSite(t)
	r := start(t, s.options(s.sh("web", server)))
	r.state("web#0", event.Ready)
	was := r.Status().Apps[0].Workers[0].PID
	if err := os.RemoveAll(r.Paths().State); err != nil {
		t.Fatal(err)
	}
	if _, err := New(s.options()); fault.CodeOf(err) != fault.AgentRunning {
		t.Fatalf("second agent: %v", err)
	}
	if w := r.Status().Apps[0].Workers[0]; w.PID != was || w.State != event.Ready || syscall.Kill(was, 0) != nil {
		t.Errorf("the first agent's worker was disturbed: %+v", w)
	}
}

func TestAnAgentCanFollowAnother(t *testing.T) {
	s := newSite(t)
	for range 2 {
		r := start(t, s.options(s.sh("web", server)))
		r.state("web#0", event.Ready)
		go r.Stop(api.StopRequest{Reason: "enough"})
		if code, err := r.ended(); code != 0 || err != nil {
			t.Fatalf("ended with %d, %v", code, err)
		}
		if _, held := LockHolder(r.Paths()); held {
			t.Fatal("the lock is still held")
		}
		if _, err := os.Stat(r.Paths().Socket); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the socket is left: %v", err)
		}
	}
}

func TestHooksRunAfterTheWorkersWithTheReason(t *testing.T) { // S1.2, S1.3
	s := newSite(t)
	o := s.options(s.sh("web", "trap 'echo worker >> order; exit 0' TERM; echo up; while :; do sleep 0.02; done"))
	o.Spec.OnExit = [][]string{
		{"/bin/sh", "-c", "exit 5"},
		{"/does/not/exist"},
		{"/bin/sh", "-c", `echo "hook $MUSTER_REASON $MUSTER_EXIT_CODE" >> order`},
	}
	r := start(t, o)
	r.state("web#0", event.Ready)
	r.Stop(api.StopRequest{Reason: "the test\x00is over", ExitCode: 17}) // a NUL is in no variable
	if code, err := r.ended(); code != 17 || err != nil {
		t.Errorf("ended with %d, %v", code, err)
	}
	text, err := os.ReadFile(filepath.Join(s.dir, "order"))
	if want := "worker\nhook the test is over 17\n"; string(text) != want || err != nil {
		t.Errorf("order is %q, %v; want %q", text, err, want)
	}
	r.warning(fault.StartFailed)
	r.warning(fault.CommandNotFound)
}

func TestTheFirstRequestDecidesTheCode(t *testing.T) {
	s := newSite(t)
	o := s.options(s.sh("web", "trap '' TERM; echo up; while :; do sleep 0.02; done"))
	o.Spec.Apps[0].Stop.Timeout = spec.Duration(time.Hour)
	r := start(t, o)
	r.state("web#0", event.Ready)
	go r.Stop(api.StopRequest{ExitCode: 3})
	r.state("web#0", event.Draining)
	r.Stop(api.StopRequest{ExitCode: 4, Now: true}) // makes haste, S1.2
	if code, err := r.ended(); code != 3 || err != nil {
		t.Errorf("ended with %d, %v; want 3", code, err)
	}
}

func TestHangupAppliesTheFile(t *testing.T) { // S1.4
	s := newSite(t)
	o := s.options(s.sh("web", server))
	signals := make(chan os.Signal)
	o.Signals = signals
	next := make(chan func() (spec.Spec, error), 1)
	o.Load = func() (spec.Spec, error) { return (<-next)() }
	r := start(t, o)
	first := r.state("web#0", event.Ready).PID

	next <- func() (spec.Spec, error) { return spec.Spec{}, fault.New(fault.Config, "line 3 is wrong") }
	signals <- syscall.SIGHUP
	if f := r.warning(fault.Config); !strings.Contains(f.Text, "line 3") {
		t.Errorf("warning %v", f)
	}
	if w := r.Status().Apps[0].Workers; len(w) != 1 || w[0].PID != first || w[0].State != event.Ready {
		t.Errorf("a bad file has changed something: %+v", w)
	}

	next <- func() (spec.Spec, error) { return s.spec(s.sh("more", server), s.sh("web", server)), nil }
	signals <- syscall.SIGHUP
	r.state("more#0", event.Ready)
	if pid := r.Status().Apps[1].Workers[0].PID; pid != first {
		t.Errorf("web was touched: pid %d, was %d", pid, first)
	}
}

func TestTTINAndTTOUScale(t *testing.T) {
	s := newSite(t)
	o := s.options(s.sh("web", server))
	signals := make(chan os.Signal)
	o.Signals = signals
	r := start(t, o)
	r.state("web#0", event.Ready)
	signals <- syscall.SIGTTIN
	r.state("web#1", event.Ready)
	signals <- syscall.SIGTTOU
	r.state("web#1", event.Stopped)
}

func TestUntilEndedPassesTheLastCode(t *testing.T) {
	s := newSite(t)
	app := s.sh("once", "echo up; exit 9")
	app.Restart.Policy = spec.RestartNever
	app.Ready = spec.DefaultApp("once").Ready
	o := s.options(app)
	o.UntilEnded = true
	r := start(t, o)
	if code, err := r.ended(); code != 9 || err != nil {
		t.Errorf("ended with %d, %v; want 9", code, err)
	}
}

func TestNothingToRunEndsTheForeground(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := newSite(t)
	app := s.sh("web", server)
	app.Listen = []spec.Listener{{Name: "http", Network: "tcp", Address: taken.Addr().String()}}
	o := s.options(app)
	o.UntilEnded = true
	r := start(t, o)
	if code, err := r.ended(); code != 1 || fault.CodeOf(err) != fault.PortInUse {
		t.Errorf("ended with %d, %v; want 1, %s", code, err, fault.PortInUse)
	}
}

func TestTheAPIAnswersAndStopsTheAgent(t *testing.T) { // S1.2
	s := newSite(t)
	serving := make(chan struct{})
	o := s.options(s.sh("web", server))
	o.Serving = func() { close(serving) }
	r := start(t, o)
	<-serving
	info, err := os.Stat(r.Paths().Socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	hc := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", r.Paths().Socket)
		},
	}}
	for _, path := range []string{"/v1/status", "/metrics"} {
		answer, err := hc.Get("http://muster" + path)
		if err != nil || answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %v, %v", path, answer, err)
		}
		answer.Body.Close()
	}
	r.state("web#0", event.Ready)
	answer, err := hc.Post("http://muster/v1/shutdown", "application/json", strings.NewReader(`{"exit_code":4}`))
	if err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("shutdown: %v, %v", answer, err)
	}
	answer.Body.Close()
	if code, err := r.ended(); code != 4 || err != nil {
		t.Errorf("ended with %d, %v; want 4", code, err)
	}
}

func TestAnotherProjectIsRefused(t *testing.T) {
	s := newSite(t)
	r := start(t, s.options(s.sh("web", server)))
	other := s.spec()
	other.Project = "other"
	if f := r.Apply(context.Background(), other).Outcome.Fault(); f == nil || f.Code != fault.Config {
		t.Errorf("apply of another project: %v", f)
	}
}
