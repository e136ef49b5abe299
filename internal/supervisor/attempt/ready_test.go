package attempt

import (
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/spec"
)

func mode(m spec.ReadyMode) func(*spec.App) { return func(a *spec.App) { a.Ready.Mode = m } }

func listens(network string) func(*spec.App) {
	return func(a *spec.App) {
		a.Listen = append(a.Listen, spec.Listener{Name: "http", Network: network, Address: "127.0.0.1:8000"})
	}
}

func both(changes ...func(*spec.App)) func(*spec.App) {
	return func(a *spec.App) {
		for _, c := range changes {
			c(a)
		}
	}
}

func port(a *spec.App) { a.Ports = []spec.Port{{Name: "http", Number: 8000, Env: "PORT"}} }

func TestReadyWhenAlive(t *testing.T) {
	inRig(t, func(a *spec.App) { a.Ready.For = spec.Duration(3 * time.Second) }, func(r *rig) {
		r.launch()
		r.pass(2 * time.Second)
		r.want("started")
		r.pass(time.Second)
		r.want("ready")
		if got := r.a.ReadyAt().Sub(r.a.StartedAt()); got != 3*time.Second {
			t.Errorf("ready after %s", got)
		}
	})
}

func TestReadyWhenListening(t *testing.T) {
	inRig(t, listens("tcp"), func(r *rig) {
		r.launch()
		r.pass(5 * time.Second)
		r.want("started")
		r.kernel(listener.Yes)
		r.pass(200 * time.Millisecond)
		r.want("ready")
	})
}

// READY=1 alone is not enough where there are listeners (gunicorn sends it
// before its workers are up); it may come before Start has returned.
func TestReadyByNotify(t *testing.T) {
	inRig(t, both(mode(spec.ReadyNotify), listens("tcp")), func(r *rig) {
		r.notify <- sdnotify.Message{Ready: true, HasStatus: true, Status: "up"}
		r.launch()
		r.want("started", "status up")
		r.kernel(listener.Yes)
		r.pass(200 * time.Millisecond)
		r.want("ready")
		r.says(sdnotify.Message{Ready: true}) // and may be repeated
		r.want()
	})
}

// haproxy sends RELOADING before its first READY.
func TestReloadingIsNotReady(t *testing.T) {
	inRig(t, mode(spec.ReadyNotify), func(r *rig) {
		r.launch()
		r.says(sdnotify.Message{Reloading: true})
		r.says(sdnotify.Message{Stopping: true})
		r.want("started")
		r.says(sdnotify.Message{Ready: true})
		r.want("ready")
	})
}

func TestReadyByPort(t *testing.T) {
	inRig(t, port, func(r *rig) {
		r.kernel(listener.No, listener.Socket{Port: 9999})
		r.launch()
		r.pass(time.Second)
		r.want("started")
		r.kernel(listener.No, listener.Socket{Port: 9999}, listener.Socket{Port: 8000})
		r.pass(200 * time.Millisecond)
		r.want("ready")
	})
}

// The line may come before Start has returned, on either stream.
func TestReadyByOutput(t *testing.T) {
	line := both(mode(spec.ReadyOutput), func(a *spec.App) { a.Ready.Pattern = "^listening on" })
	inRig(t, line, func(r *rig) {
		r.launch()
		r.fake.Print(r.id(), 1, "not yet listening on anything\n")
		r.want("started")
		r.fake.Print(r.id(), 2, "listening on 8000\nlistening on 8001\n")
		r.want("ready")
	})
	inRig(t, line, func(r *rig) {
		r.do(func() { r.a.lineSeen = true }) // what its watcher posts
		r.launch()
		r.want("started", "ready")
	})
}

func TestReadyByProbe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	check := spec.DefaultHealth()
	check.Type, check.Address = "tcp", path
	inRig(t, func(a *spec.App) { a.Health = &check }, func(r *rig) {
		r.launch()
		r.pass(5 * time.Second)
		r.want("started")
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		r.pass(2 * time.Second)
		r.want("ready")
		l.Close()
		r.pass(time.Minute)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.heard) == 0 || r.heard[0] != "unwell" {
			t.Errorf("heard %q of a check that fails", r.heard)
		}
	})
}

// A check that never passes is overdue after its grace, else the ready timeout.
func TestGraceOfTheHealthCheck(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{5 * time.Second: 5 * time.Second, 0: time.Minute} {
		check := spec.DefaultHealth()
		check.Type, check.Address, check.Grace = "tcp", filepath.Join(t.TempDir(), "s"), spec.Duration(grace)
		inRig(t, both(mode(spec.ReadyAlive), func(a *spec.App) { a.Health = &check }), func(r *rig) {
			r.launch()
			r.pass(want - time.Second)
			r.want("started", "ready")
			r.pass(3 * time.Second)
			r.mu.Lock()
			defer r.mu.Unlock()
			if len(r.heard) == 0 || r.heard[0] != "unwell" {
				t.Errorf("heard %q", r.heard)
			}
		})
	}
}

// Not ready in time: once, with what is missing.
func TestReadyTimeout(t *testing.T) {
	inRig(t, both(mode(spec.ReadyNotify), listens("tcp")), func(r *rig) {
		r.launch()
		r.kernel(listener.Yes)
		r.pass(59 * time.Second)
		r.want("started")
		r.pass(time.Minute)
		r.want("failed " + string(fault.ReadyTimeout))
		if !strings.Contains(r.failed.Text, "no READY=1 came") || strings.Contains(r.failed.Text, "8000") {
			t.Errorf("%s", r.failed.Text)
		}
	})
}

// EXTEND_TIMEOUT_USEC moves the deadline, never to an earlier time.
func TestExtendMovesTheReadyTimeout(t *testing.T) {
	inRig(t, mode(spec.ReadyNotify), func(r *rig) {
		r.launch()
		r.pass(50 * time.Second)
		r.says(sdnotify.Message{Extend: time.Second})
		r.says(sdnotify.Message{Extend: 30 * time.Second})
		r.pass(29 * time.Second)
		r.want("started")
		r.pass(2 * time.Second)
		r.want("failed " + string(fault.ReadyTimeout))
		if !strings.Contains(r.failed.Text, "within 1m20s") {
			t.Errorf("%s", r.failed.Text)
		}
	})
}

// Nobody accepts on the inherited listener: a warning that says who listens
// where, and under ready: auto the worker counts as ready.
func TestListenersThatAreIgnored(t *testing.T) {
	elsewhere := listener.Socket{Address: "127.0.0.1:3000", Port: 3000, PID: 42}
	inRig(t, listens("tcp"), func(r *rig) {
		r.kernel(listener.No, elsewhere)
		r.launch()
		r.pass(9 * time.Second)
		r.want("started")
		r.pass(2 * time.Second)
		r.want("warned "+string(fault.ListenPID), "ready")
		if text := r.warned[0].Text; !strings.Contains(text, "127.0.0.1:3000 (pid 42)") {
			t.Errorf("%s", text)
		}
		r.pass(time.Minute)
		r.want()
	})
	inRig(t, both(mode(spec.ReadyListening), listens("tcp")), func(r *rig) {
		r.kernel(listener.No, elsewhere)
		r.launch()
		r.pass(time.Minute + time.Second)
		r.want("started", "warned "+string(fault.ListenPID), "failed "+string(fault.ReadyTimeout))
		if r.failed.Fix != r.warned[0].Fix {
			t.Errorf("fix %q", r.failed.Fix)
		}
	})
}

// A wrapper (npm) is reported sooner, and by its name.
func TestWrapperIsNamed(t *testing.T) {
	npm := func(a *spec.App) { a.Command = []string{"npm", "start"} }
	inRig(t, both(listens("tcp"), npm), func(r *rig) {
		r.kernel(listener.No)
		r.do(func() { r.a.cfg.Worker.Environ = []string{"PATH=/bin"} })
		r.launch()
		r.pass(4 * time.Second)
		r.want("started", "warned "+string(fault.ListenPID))
		if !strings.Contains(r.warned[0].Fix, "npm") {
			t.Errorf("%s", r.warned[0].Fix)
		}
	})
}

// Where the system does not let us look, a worker gets the benefit of the doubt.
func TestUnknownIsTrusted(t *testing.T) {
	inRig(t, listens("tcp"), func(r *rig) {
		r.kernel(listener.Unknown)
		r.launch()
		r.pass(11 * time.Second)
		r.want("started", "ready")
	})
}

func TestStartThatFails(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.fake.FailStart(func(process.Command) error { return fault.New(fault.CommandNotFound, "gone: %w", syscall.ENOENT) })
		r.launch()
		r.want("not started")
		r.do(r.a.Close)
		synctest.Wait()
		if r.a.Running() || !r.closed {
			t.Error("something is left of a start that failed")
		}
	})
}
