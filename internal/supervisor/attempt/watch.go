package attempt

import (
	"context"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/internal/supervisor/need"
)

// watchNotify reads sd_notify until the socket is closed.
func (a *Attempt) watchNotify() {
	if a.notify == nil {
		return
	}
	messages := a.notify.Messages()
	a.cfg.Shared.Errands.Go(func() {
		for m := range messages {
			a.post(func() {
				a.notified(m)
				a.cfg.After(m.Done) // once it is recorded
			})
		}
	})
}

// notified takes one sd_notify message.
func (a *Attempt) notified(m sdnotify.Message) {
	if m.HasStatus {
		a.cfg.Events.Status(m.Status)
	}
	if m.MainPID > 0 && m.MainPID != a.proc.PID && a.exit == nil {
		a.follow(m.MainPID)
	}
	if m.Extend > 0 {
		a.extend(m.Extend)
	}
	if !a.Serving() {
		return
	}
	if m.WatchdogInterval > 0 {
		a.setWatchdog(m.WatchdogInterval)
	}
	if m.WatchdogPing && a.watchdog > 0 {
		a.setWatchdog(a.watchdog)
	}
	if m.WatchdogTrigger {
		a.cfg.Events.Failed(fault.New(fault.Watchdog, "it reported WATCHDOG=trigger"))
	}
	if m.Ready {
		a.met(need.Notify)
	}
}

// setWatchdog restarts the watchdog's interval; only a ready process is judged.
func (a *Attempt) setWatchdog(d time.Duration) {
	a.watchdog = d
	if a.ping != nil {
		a.ping.Stop()
	}
	var t *time.Timer
	t = later(d, func() {
		a.post(func() {
			if a.ping == t && a.Serving() && !a.readyAt.IsZero() {
				a.cfg.Events.Failed(fault.New(fault.Watchdog, "no WATCHDOG=1 for %s", d))
			}
		})
	})
	a.ping = t
}

// watchHealth runs the health check until the watchers end.
func (a *Attempt) watchHealth() {
	h, err := launch.Health(a.app, a.cfg.Worker.Slot)
	if h == nil && err == nil {
		return
	}
	var probe health.Probe
	if err == nil {
		probe, err = health.NewProbe(*h, runner{a.sideCommand(a.app.Command)})
	}
	if err != nil {
		a.cfg.Events.Warned(fault.From(err))
		return
	}
	a.tracker.Failures = h.Failures
	ctx, rules := a.ctx, a.cfg.Health
	a.cfg.Shared.Errands.Go(func() {
		health.Watch(ctx, rules, probe, func(res health.Result) {
			a.post(func() { a.probed(res) })
		})
	})
}

// probed takes one result of the health check.
func (a *Attempt) probed(res health.Result) {
	if !a.Serving() {
		return
	}
	rules := a.cfg.Health()
	a.tracker.Failures = rules.Failures
	verdict := a.tracker.Observe(res)
	if verdict == health.Healthy {
		a.met(need.Probe)
	}
	if !a.Serving() {
		return
	}
	p := Probed{Result: res, Verdict: verdict, InARow: a.tracker.InARow()}
	grace := rules.Grace.D()
	if grace == 0 {
		grace = a.readyIn
	}
	if verdict == health.Starting && time.Since(a.startedAt) > grace {
		p.Overdue = grace
	}
	a.cfg.Events.Probed(p)
}

// sideCommand is a command in the worker's surroundings.
func (a *Attempt) sideCommand(argv []string) process.Command {
	cmd, err := SideCommand(a.cfg.Worker, argv, a.cfg.Shared.Errand)
	if err != nil {
		w := a.cfg.Worker
		return process.Command{Argv: argv, Dir: w.Dir, Env: w.Environ}
	}
	return cmd
}

// ErrandEnv is the variable by which a later agent finds the short commands that
// this one has left running. Its value is the project's key and a slash.
const ErrandEnv = "MUSTER_ERRAND"

// SideCommand is a command run where a worker runs (build, stop, health check),
// but not as one. errand is the project's key; "": it is not marked.
func SideCommand(w launch.Worker, argv []string, errand string) (process.Command, error) {
	w.App.Command, w.App.Shell = argv, false
	cmd, err := launch.Command(w)
	if err == nil && errand != "" {
		cmd.Env = append(cmd.Env, ErrandEnv+"="+errand+"/")
	}
	return cmd, err
}

// runner runs the command of a health check.
type runner struct{ cmd process.Command }

// Run implements health.Runner.
func (r runner) Run(ctx context.Context, argv []string) (string, int, error) {
	r.cmd.Argv = argv
	res, err := process.Run(ctx, r.cmd)
	return string(res.Output), res.Exit.Code, err
}
