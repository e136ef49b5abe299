package process_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
)

func TestRun(t *testing.T) {
	r := mustRun(t, process.Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}})
	if r.Exit.Code != 3 || r.Truncated || string(r.Output) != "out\nerr\n" || r.Exit.PID == 0 {
		t.Errorf("%+v", r)
	}
	if _, err := os.Stat("/proc/" + itoa(r.Exit.PID)); err == nil {
		t.Error("it is still in the process table")
	}
	if r := mustRun(t, process.Command{Argv: []string{"sh", "-c", "kill -9 $$"}}); r.Exit.Signal != syscall.SIGKILL || r.Exit.Code != -1 {
		t.Errorf("%+v", r)
	}
}

func TestRunKeepsTheEnd(t *testing.T) {
	r := mustRun(t, processtest.Program("lines", "50000"))
	if !r.Truncated || len(r.Output) != process.OutputMax || !strings.HasSuffix(string(r.Output), "line 49999\n") {
		t.Errorf("%d bytes, %q", len(r.Output), r.Output[max(0, len(r.Output)-20):])
	}
}

// When ctx ends, everything that it started ends.
func TestRunEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	c := processtest.Program("family")
	r, err := process.Run(ctx, c)
	if !errors.Is(err, context.DeadlineExceeded) || r.Exit.Signal != syscall.SIGKILL {
		t.Fatalf("%+v, %v", r, err)
	}
	for _, line := range strings.Fields(string(r.Output)) {
		if stat, err := os.ReadFile("/proc/" + line + "/stat"); err == nil && !strings.Contains(string(stat), ") Z ") {
			t.Errorf("%s lives: %s", line, stat)
		}
	}
	if _, err := process.Run(ctx, c); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the end of ctx: %v", err)
	}
}

// A background process that keeps the pipe does not hold Run up, and lives on.
func TestRunLeavesBackground(t *testing.T) {
	begun := time.Now()
	r := mustRun(t, process.Command{Argv: []string{"sh", "-c", "sleep 100 & echo $!"}})
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
	pid := atoi(t, strings.TrimSpace(string(r.Output)))
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Errorf("%v", err)
	}
}
