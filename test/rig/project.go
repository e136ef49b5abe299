package rig

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
)

// Project is a directory with a muster.yaml, and everything that a test starts
// for it.
type Project struct {
	t testing.TB
	// Dir holds muster.yaml; commands run there.
	Dir string
	// Roots are the state and the runtime directory.
	State, Runtime string
	// Env is the environment of every command.
	Env  []string
	mark string
}

// New makes a project. Its agent is stopped, and everything it started is
// killed, when the test ends. With yaml "" there is no file.
func New(t testing.TB, yaml string) *Project {
	t.Helper()
	runtime, err := os.MkdirTemp("/tmp", "m") // a socket path is short
	if err != nil {
		t.Fatal(err)
	}
	p := &Project{t: t, Dir: t.TempDir(), State: filepath.Join(runtime, "s"), Runtime: filepath.Join(runtime, "r"), mark: runtime}
	p.Env = append(outer(), "MUSTER_STATE_DIR="+p.State, "MUSTER_RUNTIME_DIR="+p.Runtime, markVar+"="+p.mark)
	if yaml != "" {
		p.Write("muster.yaml", yaml)
	}
	t.Cleanup(func() {
		if t.Failed() {
			p.tell()
		}
		_ = syscall.Kill(p.agentPID(), syscall.SIGTERM)
		Within(5*time.Second, func() bool { return len(p.marked()) == 0 })
		p.sweep()
		os.RemoveAll(runtime)
	})
	return p
}

// outer is the environment of the tests without what belongs to muster.
func outer() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "MUSTER_") && !strings.HasPrefix(kv, "RIG_") {
			env = append(env, kv)
		}
	}
	return env
}

// tell logs what the agent has to say about a test that failed.
func (p *Project) tell() {
	for _, args := range [][]string{{"status"}, {"events"}} {
		r := p.Run(args...)
		p.t.Logf("muster %s:\n%s%s", strings.Join(args, " "), r.Stdout, r.Stderr)
	}
	logs, _ := filepath.Glob(filepath.Join(p.State, "*", "agent.log"))
	for _, name := range logs {
		text, _ := os.ReadFile(name)
		p.t.Logf("%s:\n%s", name, tail(text, 8<<10))
	}
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// Write puts a file into the project.
func (p *Project) Write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.Dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// Cmd is a muster command in the project's directory, ready to start.
func (p *Project) Cmd(args ...string) *exec.Cmd {
	cmd := exec.Command(Muster(), args...)
	cmd.Dir, cmd.Env = p.Dir, p.Env
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Result of a command.
type Result struct {
	Stdout, Stderr string
	Code           int
	Took           time.Duration
}

// String is everything, for messages.
func (r Result) String() string {
	return fmt.Sprintf("exit code %d after %v\nstdout: %s\nstderr: %s", r.Code, r.Took.Round(time.Millisecond), r.Stdout, r.Stderr)
}

// Run runs muster to its end, at most 3 minutes.
func (p *Project) Run(args ...string) Result {
	p.t.Helper()
	return p.Finish(p.Cmd(args...))
}

// Finish runs a command to its end, at most 3 minutes.
func (p *Project) Finish(cmd *exec.Cmd) Result {
	p.t.Helper()
	return p.Begin(cmd)()
}

// Begin starts a command; the function waits for its end, at most 3 minutes.
// Output goes to files: an agent that is left in the background must not hold a
// pipe.
func (p *Project) Begin(cmd *exec.Cmd) func() Result {
	p.t.Helper()
	var files [2]*os.File
	dir := p.t.TempDir()
	for i := range files {
		f, err := os.CreateTemp(dir, "out")
		if err != nil {
			p.t.Fatal(err)
		}
		defer f.Close()
		files[i] = f
	}
	cmd.Stdout, cmd.Stderr = files[0], files[1]
	start := time.Now()
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	return func() Result { return p.end(cmd, start, files[0].Name(), files[1].Name()) }
}

func (p *Project) end(cmd *exec.Cmd, start time.Time, outFile, errFile string) Result {
	p.t.Helper()
	timer := time.AfterFunc(3*time.Minute, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatalf("%v: %v", cmd.Args, err)
	}
	r := Result{Code: cmd.ProcessState.ExitCode(), Took: time.Since(start)}
	out, _ := os.ReadFile(outFile)
	errs, _ := os.ReadFile(errFile)
	r.Stdout, r.Stderr = string(out), string(errs)
	return r
}

// Must runs muster and fails the test unless it ends with 0.
func (p *Project) Must(args ...string) Result {
	p.t.Helper()
	r := p.Run(args...)
	if r.Code != 0 {
		p.t.Fatalf("muster %s: %v", strings.Join(args, " "), r)
	}
	return r
}

// Up starts the agent in the background and waits until each app is healthy.
func (p *Project) Up(args ...string) {
	p.t.Helper()
	p.Must(append([]string{"up", "-d"}, args...)...)
	p.Healthy()
}

// Down stops the agent; nothing may be left.
func (p *Project) Down() {
	p.t.Helper()
	p.Must("down")
	p.NothingLeft()
}

// TryStatus asks the agent; ok is false when none answers.
func (p *Project) TryStatus() (status api.Status, ok bool) {
	cmd := p.Cmd("status", "--json")
	out, _ := cmd.Output() // the exit code tells the state: 3 for degraded
	err := json.NewDecoder(bytes.NewReader(out)).Decode(&status)
	return status, err == nil && status.AgentPID > 0
}

// Status asks the agent.
func (p *Project) Status() api.Status {
	p.t.Helper()
	s, ok := p.TryStatus()
	if !ok {
		p.t.Fatalf("no status: %v", p.Run("status", "--json"))
	}
	return s
}

func (p *Project) agentPID() int {
	if s, ok := p.TryStatus(); ok {
		return s.AgentPID
	}
	return 1 << 22 // above every pid
}

// App is the state of one app.
func (p *Project) App(name string) api.App {
	p.t.Helper()
	for _, a := range p.Status().Apps {
		if a.Name == name {
			return a
		}
	}
	p.t.Fatalf("no app %s", name)
	return api.App{}
}

// Healthy waits until each app is Healthy (a task: Stopped), 60 s at most.
func (p *Project) Healthy() {
	p.t.Helper()
	Until(p.t, time.Minute, "every app is healthy", func() bool {
		s, ok := p.TryStatus()
		for _, a := range s.Apps {
			ok = ok && (a.Status == event.Healthy || a.Status == event.AppStopped)
		}
		return ok
	})
}

// PIDs of an app's workers that are ready, by slot.
func (p *Project) PIDs(app string) map[int]int {
	p.t.Helper()
	pids := map[int]int{}
	for _, w := range p.App(app).Workers {
		if w.State == event.Ready {
			pids[w.Slot] = w.PID
		}
	}
	return pids
}
