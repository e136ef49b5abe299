package muster_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
)

// Workers are replaced, whatever they die of.
func TestWorkerIsReplaced(t *testing.T) {
	p := started(t, nil)
	before := pids(p)
	if err := syscall.Kill(before[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the worker is replaced", func() bool { now := pids(p); return now[0] != 0 && now[0] != before[0] })
	if now := pids(p); now[1] != before[1] {
		t.Error("the other one, too")
	}
}

// S0.9: the program asks its workers, and they ask it. S1.16: listeners come and go.
// S1.7: what panics in them is isolated.
func TestOperations(t *testing.T) {
	p := started(t, nil)
	var pid int
	if err := p.Request(t.Context(), "web#1", "who", nil, &pid); err != nil || pid != pids(p)[1] {
		t.Error(pid, err)
	}
	all := map[string]bool{}
	for a, err := range p.Gather(t.Context(), "web", "who", nil) {
		if err != nil {
			t.Error(err)
		}
		all[a.From] = true
	}
	if !all["web#0"] || !all["web#1"] {
		t.Error(all)
	}
	var left int
	ask := func() error { left = 0; return p.Request(t.Context(), "web#0", "ask", nil, &left) }
	if err := ask(); fault.CodeOf(err) != fault.UnknownOp {
		t.Errorf("without a listener: %v", err)
	}
	off, err := p.On("stock:left", func(context.Context, *peer.Request) (any, error) { return 42, nil })
	if err != nil {
		t.Fatal(err)
	}
	if err := ask(); err != nil || left != 42 {
		t.Error(left, err)
	}
	off()
	if err := ask(); fault.CodeOf(err) != fault.UnknownOp {
		t.Errorf("after it was removed: %v", err)
	}
	if _, err := p.On("stock:left", func(context.Context, *peer.Request) (any, error) { panic("at the disco") }); err != nil {
		t.Fatal(err)
	}
	if err := ask(); err == nil || !strings.Contains(err.Error(), "at the disco") {
		t.Errorf("a listener that panics: %v", err)
	}
	p.Clear()
	if err := ask(); fault.CodeOf(err) != fault.UnknownOp {
		t.Errorf("after Clear: %v", err)
	}
	if n, err := p.Counter("c").Add(t.Context(), 2); n != 2 || err != nil {
		t.Error(n, err)
	}
}

// S1.1: one pool in a process, none in a worker.
func TestOnePool(t *testing.T) {
	p := started(t, nil)
	if _, err := muster.Start(t.Context(), options(nil)); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "already") {
		t.Error(err)
	}
	var code string
	if err := p.Request(t.Context(), "web#0", "again", nil, &code); err != nil || code != string(fault.Usage) {
		t.Errorf("in a worker: %q, %v", code, err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := started(t, nil).Stop(t.Context()); err != nil {
		t.Errorf("after the first has ended: %v", err)
	}
}

// A worker that does not know that it is one does not start workers of its own.
func TestNoRecursion(t *testing.T) {
	var out printed
	_, err := muster.Start(t.Context(), options(func(o *muster.Options) {
		o.Workers, o.Output = 1, &out
		o.App.Restart.Policy = spec.RestartNever
		o.App.Env = map[string]string{roleVar: "recursive", "MUSTER_SDK": "off"}
	}))
	if err == nil || !strings.Contains(out.String(), "this process is a worker") {
		t.Errorf("%v: %q", err, out.String())
	}
}

// What does not come up is told with its own words, and nothing is left.
func TestStartFails(t *testing.T) {
	dir := t.TempDir()
	var out printed
	_, err := muster.Start(t.Context(), options(func(o *muster.Options) {
		o.Dir, o.Output, o.Workers = filepath.Join(dir, "run"), &out, 1
		o.App.Restart.Policy = spec.RestartNever
		o.App.Env = map[string]string{roleVar: "broken"}
	}))
	var f *fault.Fault
	if !errors.As(err, &f) || !slices.Contains(f.Output, "no database") {
		t.Errorf("%v, %+v", err, f)
	}
	if !strings.Contains(out.String(), "web#0 no database\n") {
		t.Errorf("%q", out.String())
	}
	for _, bad := range []func(*muster.Options){
		func(o *muster.Options) { o.Listen = []string{"nonsense:x:y"} },
		func(o *muster.Options) { o.App.Command = []string{"/no/such/program"} },
		func(o *muster.Options) { o.Workers = spec.MaxWorkers + 1 },
		func(o *muster.Options) { o.App.Name = "No Name" },
		func(o *muster.Options) { o.Dir = "/proc/none" },
	} {
		if _, err := muster.Start(t.Context(), options(bad)); !errors.As(err, &f) {
			t.Error(err)
		}
	}
}

// S1.2, S1.3: a worker ends the pool with an exit code; OnEnd knows why, and its panic
// harms nobody.
func TestEndedByWorker(t *testing.T) {
	why := make(chan string, 1)
	p := started(t, func(o *muster.Options) {
		o.OnEnd = func(_ context.Context, reason string) { why <- reason; panic("in OnEnd") }
	})
	if err := p.Request(t.Context(), "web#0", "kill", nil, nil); err != nil {
		t.Log(err) // the answer may come when the worker has ended
	}
	err := p.Wait()
	if fault.CodeOf(err) != fault.Exited || !strings.Contains(err.Error(), "code 7") {
		t.Error(err)
	}
	if reason := <-why; !strings.Contains(reason, "enough") {
		t.Error(reason)
	}
	if err := p.Request(context.Background(), "web#0", "who", nil, nil); err == nil {
		t.Error("answered after the end")
	}
}

// When all workers have ended by themselves the pool has, too.
func TestAllEnded(t *testing.T) {
	err := muster.Run(t.Context(), options(func(o *muster.Options) {
		o.App.Restart.Policy = spec.RestartOnFailure
		o.App.Ready.Mode, o.App.Type = spec.ReadyAlive, spec.Task
		o.App.Env = map[string]string{roleVar: "ends"}
	}))
	if err != nil {
		t.Error(err)
	}
}

// The end of the context is a graceful stop; what the workers print is shown and kept.
func TestContextAndOutput(t *testing.T) {
	var out printed
	ctx, cancel := context.WithCancel(t.Context())
	p, err := muster.Start(ctx, options(func(o *muster.Options) { o.Output = &out }))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "output", func() bool {
		return strings.Contains(out.String(), "web#0 hello from web#0\n") && strings.Contains(out.String(), "web#1 hello from web#1\n")
	})
	if got := p.Last(1, -1); !slices.Contains(got, "hello from web#1") {
		t.Errorf("%q", got)
	}
	cancel()
	if err := p.Wait(); err != nil {
		t.Error(err)
	}
}

// A worker that does not obey is killed when nobody waits any more.
func TestStopInHurry(t *testing.T) {
	p := started(t, func(o *muster.Options) {
		o.App.Command = []string{"/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1; done"}
		o.App.Ready.Mode, o.App.Ready.Pattern = spec.ReadyOutput, "ready"
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if err := p.Stop(ctx); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("took %v", took)
	}
}

// supervise is a program with a pool, for the test that kills it.
func supervise() int {
	p, err := muster.Start(context.Background(), options(func(o *muster.Options) {
		o.App.Env = map[string]string{roleVar: ""}
	}))
	if err != nil {
		fmt.Println("failed:", err)
		return 1
	}
	for _, pid := range pids(p) {
		fmt.Println("worker", pid)
	}
	fmt.Println("ready")
	_ = p.Wait()
	return 0
}

// Workers do not outlive the program, also when it is killed.
func TestKilledProgramLeavesNoWorkers(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), roleVar+"=supervisor")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var workers []int
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		var pid int
		if _, err := fmt.Sscanf(lines.Text(), "worker %d", &pid); err != nil {
			t.Error(lines.Text())
		}
		workers = append(workers, pid)
	}
	if len(workers) != 2 || !alive(workers[0]) {
		t.Errorf("workers %v", workers)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for _, pid := range workers {
		eventually(t, "the worker has ended", func() bool { return !alive(pid) })
	}
}
