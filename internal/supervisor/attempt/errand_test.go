package attempt

import (
	"context"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// A short command that a dead agent has left running is found by its project, and
// nobody else's is.
func TestErrandIsFound(t *testing.T) {
	app := spec.DefaultApp("web")
	cmd, err := SideCommand(launch.Worker{App: app, Dir: "/", Environ: os.Environ()}, []string{"/bin/sleep", "1000"}, "mine")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(cmd.Env, ErrandEnv+"=mine/") {
		t.Fatalf("%q", cmd.Env)
	}
	ended := make(chan process.Exit, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		res, _ := process.Run(ctx, cmd)
		ended <- res.Exit
	}()
	if n, err := process.KillLeftovers(ErrandEnv, "min/"); n != 0 || err != nil {
		t.Errorf("killed %d of another project, %v", n, err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		n, err := process.KillLeftovers(ErrandEnv, "mine/")
		if n > 0 && err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("not found: %d, %v", n, err)
		}
	}
	if e := <-ended; e.Signal != syscall.SIGKILL {
		t.Errorf("%+v", e)
	}
}

// A worker does not inherit the mark of an errand that muster itself was run from.
func TestWorkerIsNoErrand(t *testing.T) {
	app := spec.DefaultApp("web")
	app.Command = []string{"/bin/true"}
	cmd, err := launch.Command(launch.Worker{App: app, Dir: "/", Environ: []string{ErrandEnv + "=outer/", "A=1"}})
	if err != nil || slices.Contains(cmd.Env, ErrandEnv+"=outer/") || !slices.Contains(cmd.Env, "A=1") {
		t.Errorf("%q, %v", cmd.Env, err)
	}
}
