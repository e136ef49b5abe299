package worker

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/op"
)

// process is a program with the SDK, started by a test.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines *bufio.Scanner
	errs  *strings.Builder
}

// start starts this test binary in a role; with a member it is that worker.
func start(t testing.TB, role string, side *member) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), errs: &strings.Builder{}}
	p.cmd.Env = append(os.Environ(), roleEnv+"="+role, "GOTRACEBACK=single")
	p.cmd.Stderr = p.errs
	if side != nil {
		end := os.NewFile(uintptr(side.theirs), "channel")
		defer end.Close()
		p.cmd.ExtraFiles = []*os.File{end}
		p.cmd.Env = append(p.cmd.Env, "MUSTER_APP=web", "MUSTER_WORKER=0", "MUSTER_CHANNEL_FD=3")
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	p.lines = bufio.NewScanner(out)
	return p
}

// line waits for one on stdout.
func (p *process) line() string {
	p.t.Helper()
	got := started(func() string {
		if !p.lines.Scan() {
			return "the end"
		}
		return p.lines.Text()
	})
	return receive(p.t, got)
}

func (p *process) wantLine(want string) {
	p.t.Helper()
	if got := p.line(); got != want {
		p.t.Fatalf("it says %q, want %q; stderr: %s", got, want, p.errs)
	}
}

// wantExit waits for the end, after these lines.
func (p *process) wantExit(code int, lines ...string) {
	p.t.Helper()
	for _, l := range lines {
		p.wantLine(l)
	}
	if l := p.line(); l != "the end" {
		p.t.Errorf("it also says %q", l)
	}
	err := receive(p.t, started(p.cmd.Wait))
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.t.Errorf("it ended with %d (%v), want %d; stderr: %s", got, err, code, p.errs)
	}
}

const opened = "same: true worker: true channel: false"

// S1.13: the crash notice has the real error, its type, and the stack from the place
// where it happened; the hooks run; the code is 1.
func TestCrash(t *testing.T) {
	for role, want := range map[string]struct{ text, kind, first, hook string }{
		"panic":       {"spilled milk", "string", "worker.spill(", "hook: spilled milk"},
		"panic error": {"spilled: file already closed", "*fmt.wrapError", "worker.playWith(", "hook: spilled: file already closed"},
		"nil map":     {"assignment to entry in nil map", "runtime.plainError", "worker.playWith(", "hook: assignment to entry in nil map"},
		"go":          {"spilled juice", "string", "worker.spill(", "hook: spilled juice"},
		"goexit":      {"the goroutine was ended by runtime.Goexit", "string", "", "hook: the goroutine was ended by runtime.Goexit"},
		"error":       {"no milk", "*errors.errorString", "", "hook: no milk"},
	} {
		t.Run(role, func(t *testing.T) {
			side := newMuster(t).enter(0, op.Settings{})
			p := start(t, role, side)
			p.wantExit(1, opened, want.hook)
			b := receive(t, side.crashes)
			if b.Error != want.text || b.Type != want.kind {
				t.Errorf("the notice says %q of type %q", b.Error, b.Type)
			}
			lines := strings.Split(b.Stack, "\n")
			if want.first != "" && (len(lines) < 3 || !strings.HasPrefix(lines[0], "goroutine ") || !strings.Contains(lines[1], want.first)) {
				t.Errorf("the stack is\n%s", b.Stack)
			}
			if role == "error" && b.Stack != "" {
				t.Error("an error has no stack")
			}
			if !strings.Contains(p.errs.String(), want.text) || !strings.Contains(p.errs.String(), "in a hook") {
				t.Errorf("stderr: %s", p.errs)
			}
			if len(side.crashes) > 0 {
				t.Error("a second notice")
			}
		})
	}
}

// A clean end is 0: by itself, and when it was asked for.
func TestCleanEnd(t *testing.T) {
	m := newMuster(t)
	start(t, "done", m.enter(0, op.Settings{})).wantExit(0, opened, "hook: <nil>")
	side := m.enter(1, op.Settings{})
	p := start(t, "wait", side)
	p.wantLine(opened)
	p.wantLine("waiting")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	got := map[string]bool{p.line(): true, p.line(): true}
	if !got["go ended"] || !got["hook: <nil>"] {
		t.Errorf("it says %v", got)
	}
	p.wantExit(0)
	if len(side.crashes) > 0 {
		t.Error("a notice of a clean end")
	}
}

// What hangs does not keep it from its end.
func TestHookHangs(t *testing.T) {
	begun := time.Now()
	p := start(t, "hook hangs", newMuster(t).enter(0, op.Settings{}))
	p.wantExit(0, opened, "hook: <nil>")
	if took := time.Since(begun); took > 20*time.Second {
		t.Errorf("it took %v", took)
	}
	if !strings.Contains(p.errs.String(), "have ended in time") {
		t.Errorf("stderr: %s", p.errs)
	}
}

// A second signal ends one that runs alone, and means nothing under muster.
func TestSecondSignal(t *testing.T) {
	p := start(t, "stubborn", nil)
	p.wantLine("same: true worker: false channel: false")
	p.wantLine("waiting")
	ended := started(p.cmd.Wait)
	for len(ended) == 0 {
		_ = p.cmd.Process.Signal(syscall.SIGINT)
		<-time.After(10 * time.Millisecond) // signals of one kind that come at once are one
	}
	<-ended
	if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGINT {
		t.Errorf("it ended by %v", p.cmd.ProcessState)
	}

	side := newMuster(t).enter(0, op.Settings{})
	p = start(t, "serve", side)
	p.wantLine(opened)
	address := p.line()
	if r := receive(t, side.other); r != `{"cmd":"MUSTER_READY"}` {
		t.Error(r)
	}
	answer := started(func() string { return get(t, "http://"+address+"/slow") })
	p.wantLine("asked")
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	if text := receive(t, answer); text != "served" { // what was under way is served
		t.Errorf("answered %q", text)
	}
	p.wantExit(0, "hook: <nil>")
}

func get(t testing.TB, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(within(t), http.MethodGet, url, nil)
	if err != nil {
		t.Error(err)
		return ""
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Error(err)
		return ""
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Error(err)
	}
	return string(text)
}

// Programs that a worker starts are no workers. Who only opens the SDK still ends by a
// signal.
func TestChildIsNoWorker(t *testing.T) {
	p := start(t, "parent", newMuster(t).enter(0, op.Settings{}))
	p.wantExit(-1, "worker: false descriptor: false")
	if s := p.cmd.ProcessState.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != syscall.SIGTERM {
		t.Errorf("it ended by %v", p.cmd.ProcessState)
	}
}

// Hooks have the cause, run once, and can be taken away.
func TestOnStop(t *testing.T) {
	w := alone(t, Options{})
	cause := errors.New("no milk")
	got := make(chan error, 4)
	w.OnStop(func(ctx context.Context, err error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		got <- err
	})
	w.OnStop(func(context.Context, error) { t.Error("it was taken away") })()
	w.Stop(cause)
	w.Stop(nil)
	if err := receive(t, got); err != cause || len(got) > 0 {
		t.Error(err, len(got))
	}
}

// muster takes a worker out of the hand-off: it drains as by a signal.
func TestDrainOnce(t *testing.T) {
	w := alone(t, Options{})
	ended := make(chan bool, 1)
	w.Go(func(ctx context.Context) { <-ctx.Done(); ended <- true })
	w.drain()
	w.drain()
	receive(t, w.Draining())
	receive(t, ended)
	if code := w.Run(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestTrimmed(t *testing.T) {
	for stack, want := range map[string]string{
		"goroutine 1 [running]:\na()\n\tx\npanic(1)\n\ty\nruntime.f()\n\tz\nmain.b()\n\tm\n": "goroutine 1 [running]:\nmain.b()\n\tm\n",
		"goroutine 1 [running]:\nmain.b()\n\tm\n":                                            "goroutine 1 [running]:\nmain.b()\n\tm\n",
		"": "",
	} {
		if got := trimmed(stack); got != want {
			t.Errorf("%q became %q", stack, got)
		}
	}
}
