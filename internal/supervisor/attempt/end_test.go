package attempt

import (
	"slices"
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

// up launches an attempt that is ready after a second.
func (r *rig) up() {
	r.Helper()
	r.launch()
	r.pass(time.Second)
	r.want("started", "ready")
}

func (r *rig) stop() { r.do(func() { r.a.Stop(r.app.Stop) }) }

func (r *rig) clear(patience time.Duration) { r.do(func() { r.a.Clear(patience) }) }

func TestStopAndClear(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.up()
		r.stop()
		r.want("exited -1")
		if got := r.fake.Signals(r.id()); !slices.Equal(got, []syscall.Signal{syscall.SIGTERM}) {
			t.Errorf("signals %v", got)
		}
		r.clear(0)
		r.want("gone")
		r.pass(time.Hour)
		r.want()
	})
}

// Late comes once, at stop.timeout; EXTEND_TIMEOUT_USEC moves it; Kill ends it.
func TestLateThenKill(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.fake.OnSignal(func(string, syscall.Signal) bool { return true })
		r.up()
		r.stop()
		r.pass(29 * time.Second)
		r.want()
		r.says(sdnotify.Message{Extend: 10 * time.Second})
		r.pass(9 * time.Second)
		r.want()
		r.pass(2 * time.Second)
		r.want("late")
		r.do(r.a.Kill)
		r.want("exited -1")
		r.clear(0)
		r.want("gone")
	})
}

// What the main process left behind gets the stop signal and what is left of
// stop.timeout, then force.
func TestClearWaitsForTheRest(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.up()
		stray, began := r.fake.Stray(r.id()), time.Now()
		r.stop()
		r.want("exited -1")
		r.clear(0)
		time.AfterFunc(20*time.Second, func() { r.fake.EndStray(r.id(), stray) })
		r.pass(19 * time.Second)
		r.want()
		r.pass(2 * time.Second)
		r.want("gone")
		if took := time.Since(began); took > 22*time.Second {
			t.Errorf("took %s", took)
		}
	})
	inRig(t, nil, func(r *rig) {
		r.up()
		r.fake.Stray(r.id())
		r.exit(1)
		r.want("exited 1")
		r.clear(3 * time.Second)
		r.pass(2 * time.Second)
		r.want()
		r.pass(2 * time.Second)
		r.want("gone")
	})
}

// A stop command that fails, or cannot be run, is followed by the signal.
func TestStopCommandFails(t *testing.T) {
	inRig(t, func(a *spec.App) { a.Stop.Command = []string{"/no/such/command"} }, func(r *rig) {
		r.up()
		r.stop()
		r.want("warned "+string(fault.StartFailed), "exited -1")
		if text := r.warned[0].Text; !strings.Contains(text, "sending SIGTERM instead") || !strings.Contains(text, "/no/such/command") {
			t.Errorf("%s", text)
		}
	})
	inRig(t, func(a *spec.App) { a.Stop.Command = []string{"/bin/sh", "-c", "echo cannot; exit 3"} }, func(r *rig) {
		r.up()
		r.stop()
		r.want("warned "+string(fault.StartFailed), "exited -1")
		f := r.warned[0]
		if !strings.Contains(f.Text, "exit code 3") || !slices.Contains(f.Output, "cannot") {
			t.Errorf("%s %q", f.Text, f.Output)
		}
	})
}

// A stop command is told the main pid, and its success sends no signal.
func TestStopCommand(t *testing.T) {
	inRig(t, func(a *spec.App) { a.Stop.Command = []string{"/bin/sh", "-c", "test -n \"$MAINPID\""} }, func(r *rig) {
		r.up()
		r.stop()
		r.want()
		if got := r.fake.Signals(r.id()); len(got) != 0 {
			t.Errorf("signals %v", got)
		}
		r.exit(0)
		r.want("exited 0")
	})
}

// Stopped before Start has returned: the owner is told and stops it then.
func TestStopBeforeStarted(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.do(func() {
			r.a.Launch()
			r.a.Stop(r.app.Stop)
		})
		r.pass(time.Minute)
		r.want("started")
		r.stop()
		r.want("exited -1")
	})
}

// The exit may be told before Start has returned.
func TestExitBeforeStarted(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.starting = func(p process.Proc) {
			r.fake.Exit(p.ID, 3, 0)
			<-time.After(time.Millisecond) // the exit is told
		}
		r.launch()
		r.pass(time.Second)
		r.want("started", "exited 3")
		if r.a.Exit() == nil || r.a.Serving() {
			t.Error("still serving")
		}
	})
}

// A program that goes to the background is followed to the process it leaves,
// also when its first process has gone before Start returned.
func TestDaemonIsFollowed(t *testing.T) {
	inRig(t, listens("tcp"), func(r *rig) {
		r.launch()
		master := r.fake.Stray(r.id())
		r.fake.Child(r.id())
		r.exit(0)
		r.pass(time.Second)
		r.want("started")
		if r.a.PID() != master {
			t.Errorf("pid %d, want %d", r.a.PID(), master)
		}
		r.kernel(listener.Yes)
		r.pass(forkTime + time.Second)
		r.want("ready")
		r.exit(0)
		r.want("exited 0")
	})
	inRig(t, listens("tcp"), func(r *rig) {
		var master int
		r.starting = func(p process.Proc) {
			master = r.fake.Stray(p.ID)
			r.fake.Exit(p.ID, 0, 0)
			<-time.After(time.Millisecond) // the exit is told
		}
		r.launch()
		r.pass(time.Second)
		r.want("started")
		if r.a.PID() != master || !r.a.Serving() {
			t.Errorf("pid %d, want %d", r.a.PID(), master)
		}
	})
}

// One that leaves nothing behind, or fails, has simply ended.
func TestEndIsNoDaemon(t *testing.T) {
	inRig(t, listens("tcp"), func(r *rig) {
		r.launch()
		r.exit(0)
		r.pass(time.Second)
		r.want("started", "exited 0")
	})
	inRig(t, listens("tcp"), func(r *rig) {
		r.launch()
		r.fake.Stray(r.id())
		r.exit(1)
		r.want("started", "exited 1")
	})
	inRig(t, nil, func(r *rig) {
		r.up()
		r.fake.Stray(r.id())
		r.pass(forkTime)
		r.exit(0)
		r.want("exited 0")
	})
}

// MAINPID moves the main process; the exit of the old one is then no end, in
// whatever order the two come.
func TestMainPID(t *testing.T) {
	inRig(t, mode(spec.ReadyNotify), func(r *rig) {
		r.launch()
		first := r.a.PID()
		helper, next := r.fake.Stray(r.id()), r.fake.Stray(r.id())
		r.says(sdnotify.Message{MainPID: 7}) // no member: ignored
		if r.a.PID() != first {
			t.Errorf("followed to %d", r.a.PID())
		}
		r.fake.Exit(r.id(), 0, 0)
		r.says(sdnotify.Message{MainPID: next, Ready: true})
		r.pass(time.Second)
		r.want("started", "ready")
		if r.a.PID() != next {
			t.Errorf("pid %d, want %d (helper %d)", r.a.PID(), next, helper)
		}
		r.exit(2)
		r.want("exited 2")
	})
	inRig(t, mode(spec.ReadyNotify), func(r *rig) {
		r.launch()
		first, next := r.a.PID(), r.fake.Stray(r.id())
		r.says(sdnotify.Message{MainPID: next})
		r.do(func() { r.a.exited(process.Exit{PID: first, Code: 1}) }) // was on its way
		r.says(sdnotify.Message{Ready: true})
		r.want("started", "ready")
	})
}

// An agent that was stopped itself judges nobody before it has listened.
func TestMissedDeadline(t *testing.T) {
	end := time.Now()
	for late, want := range map[time.Duration]time.Duration{0: 0, 900 * time.Millisecond: 0, 2 * time.Second: adoptPatience, time.Hour: adoptPatience} {
		if got := missed(end, end.Add(late)); got != want {
			t.Errorf("%s late: %s, want %s", late, got, want)
		}
	}
}

// S1.12: only a ready process is judged by the watchdog.
func TestWatchdog(t *testing.T) {
	inRig(t, both(mode(spec.ReadyNotify), func(a *spec.App) { a.Watchdog = spec.Duration(5 * time.Second) }), func(r *rig) {
		r.launch()
		r.pass(30 * time.Second)
		r.says(sdnotify.Message{Ready: true})
		r.want("started", "ready")
		for range 3 {
			r.pass(4 * time.Second)
			r.says(sdnotify.Message{WatchdogPing: true})
		}
		r.want()
		r.says(sdnotify.Message{WatchdogInterval: 20 * time.Second})
		r.pass(19 * time.Second)
		r.want()
		r.pass(2 * time.Second)
		r.want("failed " + string(fault.Watchdog))
		r.stop()
		r.want("exited -1")
		r.clear(0)
		r.pass(time.Minute)
		r.want("gone")
	})
	inRig(t, nil, func(r *rig) {
		r.up()
		r.says(sdnotify.Message{WatchdogPing: true}) // none was asked for
		r.pass(time.Hour)
		r.want()
		r.says(sdnotify.Message{WatchdogTrigger: true})
		r.want("failed " + string(fault.Watchdog))
	})
}

// After Close nothing is said any more, and the Starter has forgotten the process.
func TestClosedIsSilent(t *testing.T) {
	inRig(t, mode(spec.ReadyNotify), func(r *rig) {
		r.launch()
		r.exit(4)
		r.want("started", "exited 4")
		r.do(r.a.Close)
		r.pass(time.Hour)
		r.want()
		if left := r.fake.List(); len(left) > 0 {
			t.Errorf("left %v", left)
		}
	})
}

// Closed while it is being started: what comes of the start is given up.
func TestClosedBeforeStarted(t *testing.T) {
	inRig(t, nil, func(r *rig) {
		r.do(func() {
			r.a.Launch()
			r.a.Close()
		})
		synctest.Wait()
		r.want()
		if list := r.fake.List(); len(list) != 1 || list[0].Exit == nil || !r.closed {
			t.Errorf("left %v", list)
		}
	})
}
