package muster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/muster-run/muster"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
	"github.com/muster-run/muster/worker"
)

// roleVar is what the test binary is, as a worker and as a program with a pool of its own.
const roleVar = "MUSTER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(roleVar) == "supervisor" && !worker.IsWorker():
		os.Exit(supervise())
	case os.Getenv(roleVar) == "recursive":
		fmt.Println("started again:", muster.Run(context.Background(), options(nil)))
		os.Exit(3)
	case worker.IsWorker():
		os.Exit(worker.Run(worker.Options{}, work))
	}
	goleak.VerifyTestMain(m)
}

// work is the worker: it answers what it is asked.
func work(ctx context.Context, w *worker.Worker) error {
	switch os.Getenv(roleVar) {
	case "broken":
		fmt.Println("no database")
		return errors.New("cannot begin")
	case "ends":
		return nil
	}
	fmt.Println("hello from", w.Name())
	w.Handle("who", func(context.Context, *peer.Request) (any, error) { return os.Getpid(), nil })
	w.Handle("ask", func(ctx context.Context, _ *peer.Request) (any, error) {
		var left int
		err := w.Request(ctx, "", "stock:left", nil, &left)
		return left, err
	})
	w.Handle("again", func(ctx context.Context, _ *peer.Request) (any, error) {
		_, err := muster.Start(ctx, muster.Options{})
		return string(fault.CodeOf(err)), nil
	})
	w.Handle("kill", func(ctx context.Context, _ *peer.Request) (any, error) {
		return nil, w.Request(ctx, "", "kill", map[string]any{"reason": "enough", "exit_code": 7}, nil)
	})
	if err := w.Ready(); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// options run this test binary without output; more changes them.
func options(more func(*muster.Options)) muster.Options {
	app, err := muster.Self()
	if err != nil {
		panic(err)
	}
	app.Name, app.Command = "web", app.Command[:1]
	app.Ready.Mode, app.Ready.Timeout = spec.ReadyNotify, spec.Duration(20*time.Second)
	o := muster.Options{App: app, Workers: 2, Output: io.Discard, Log: slog.New(slog.DiscardHandler)}
	if more != nil {
		more(&o)
	}
	return o
}

// started is a pool that ends with the test.
func started(t *testing.T, more func(*muster.Options)) *muster.Pool {
	t.Helper()
	p, err := muster.Start(t.Context(), options(more))
	if err != nil {
		t.Fatalf("%v: %q", err, fault.From(err).Output)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = p.Stop(ctx)
	})
	return p
}

// pids of the workers that are ready, by slot.
func pids(p *muster.Pool) map[int]int {
	list := map[int]int{}
	for _, w := range p.Status().Workers {
		if w.State == "ready" {
			list[w.Slot] = w.PID
		}
	}
	return list
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: " + what)
		}
	}
}

// alive says whether a process is there, and no zombie.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text[bytes.LastIndexByte(text, ')'):]), ") Z")
}

// printed is an Options.Output.
type printed struct {
	mu   sync.Mutex
	text strings.Builder
}

func (p *printed) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *printed) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}
