package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/output"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
	"golang.org/x/sys/unix"
)

// run is one process of a worker with what hangs on it: sockets, timers,
// watchers. Its fields belong to the pool's goroutine; the helper goroutines
// get copies and answer through the pool's inbox.
type run struct {
	w    *worker
	id   string
	proc process.Proc

	running   bool // Start has returned without an error
	startedAt time.Time
	readyAt   time.Time
	readyIn   time.Duration // the ready timeout in force
	needs     need
	planned   bool
	exit      *process.Exit // the main process has ended
	fault     *fault.Fault  // why muster ended it
	noAccept  *fault.Fault  // it does not use its listeners
	lines     []string      // the last it printed, once it is gone
	lineSeen  bool          // a line matched ready.output

	notify   notifier
	output   *output.Attachment
	tracker  health.Tracker
	watchdog time.Duration
	ping     *time.Timer

	ctx    context.Context // of the watchers
	cancel context.CancelFunc

	timer    *time.Timer // ready or stop deadline
	deadline time.Time
}

func newRun(w *worker) *run {
	ctx, cancel := context.WithCancel(w.pool.ctx)
	return &run{w: w, id: w.pool.sup.nextID(w), ctx: ctx, cancel: cancel}
}

// launch starts the process in a goroutine of its own; worker.started hears of it.
func (r *run) launch() {
	w, p := r.w, r.w.pool
	p.sup.expect(r.id, func(e process.Exit) { p.post(func() { w.exited(r, e) }) })
	s := starter{sup: p.sup, id: r.id, slot: w.slot.n, gen: w.gen, log: p.log, onLine: r.lineWatch()}
	p.sup.helpers.Go(func() {
		p.sup.starts <- struct{}{}
		out, err := s.start()
		<-p.sup.starts
		ok := p.post(func() {
			r.notify, r.output = out.notify, out.output
			w.started(r, out.proc, err)
		})
		if !ok && err == nil {
			_, _ = out.proc.Kill()
		}
	})
}

// starter does the blocking part of a start; it owns copies only.
type starter struct {
	sup    *Supervisor
	id     string
	slot   int
	gen    *generation
	log    *output.Log
	onLine func(api.Record)
}

type startedRun struct {
	proc   process.Proc
	notify notifier
	output *output.Attachment
}

func (s starter) start() (out startedRun, err error) {
	rel := s.gen.release
	short := s.id[strings.LastIndexByte(s.id, '.')+1:]
	cmd, err := launch.Command(launch.Worker{
		App: rel.app, Environ: rel.environ, Dir: rel.dir,
		Slot: s.slot, Generation: s.gen.number, Release: rel.name, ID: s.id,
		Node: s.sup.opts.Node, Watchdog: rel.app.Watchdog.D(),
		NotifySocket: filepath.Join(s.sup.opts.RunDir, "n", short),
	})
	if err != nil {
		return out, err
	}
	cmd.Cgroup = true
	cmd.Spool = filepath.Join(s.sup.opts.RunDir, "o", short)
	cmd.Meta = meta(s.gen, s.slot)
	if rel.app.Stdin == "inherit" {
		cmd.Stdin = os.Stdin
	}
	for _, l := range s.gen.listeners {
		cmd.Files = append(cmd.Files, process.NamedFD{Name: l.spec.Name, File: l.file})
	}
	cmd.Listen = len(cmd.Files)
	uid := os.Geteuid()
	if cmd.Identity != nil {
		uid = int(cmd.Identity.UID)
	}
	if out.notify, err = s.sup.opts.notify(filepath.Join(s.sup.opts.RunDir, "n", short), uid); err != nil {
		return out, err
	}
	if out.proc, err = s.sup.opts.Starter.Start(cmd); err != nil {
		out.notify.Close()
		out.notify = nil
		return out, err
	}
	src, err := s.sup.opts.Starter.Output(s.id)
	if err != nil {
		return out, err
	}
	out.output = s.log.Attach(context.Background(), output.Worker{Slot: s.slot, PID: out.proc.PID}, src, s.onLine)
	return out, nil
}

// lineWatch looks for the line that ready.output waits for; nil: none.
func (r *run) lineWatch() func(api.Record) {
	pattern := r.w.gen.pattern
	if pattern == nil {
		return nil
	}
	seen := false // one goroutine calls it
	return func(rec api.Record) {
		if !seen && pattern.MatchString(rec.Line) {
			seen = true
			r.post(func() { r.lineSeen = true; r.w.met(r, needOutput) })
		}
	}
}

// watch begins everything that looks at a running process.
func (r *run) watch() {
	app := r.w.gen.release.app
	r.needs = needsOf(app)
	r.readyIn = app.Ready.Timeout.D()
	if r.w.trial && app.Reload.ReadyTimeout > 0 {
		r.readyIn = app.Reload.ReadyTimeout.D()
	}
	r.arm(r.readyIn, func() { r.w.readyTimeout(r) })
	r.watchNotify()
	r.watchSockets()
	r.watchHealth()
	if r.needs&needAlive != 0 {
		time.AfterFunc(aliveFor(app), func() { r.post(func() { r.w.met(r, needAlive) }) })
	}
	if r.lineSeen {
		r.needs &^= needOutput
	}
	if app.Watchdog > 0 {
		r.setWatchdog(app.Watchdog.D())
	}
	r.w.met(r, 0)
}

func (r *run) post(step func()) { r.w.pool.post(step) }

// afterReady: what is only checked on a ready worker.
func (r *run) afterReady() {
	if r.watchdog > 0 {
		r.setWatchdog(r.watchdog)
	}
}

// unwatch ends the watchers; sd_notify is still heard.
func (r *run) unwatch() {
	r.cancel()
	if r.ping != nil {
		r.ping.Stop()
	}
}

// arm sets the one deadline of the run, in the place of any earlier one.
func (r *run) arm(d time.Duration, late func()) {
	r.disarm()
	now := r.w.pool.sup.now()
	r.deadline = now.Add(d)
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		r.post(func() {
			if r.timer == t {
				late()
			}
		})
	})
	r.timer = t
}

// disarm removes the deadline and returns what was left of it.
func (r *run) disarm() time.Duration {
	if r.timer == nil {
		return 0
	}
	r.timer.Stop()
	r.timer = nil
	return max(0, r.deadline.Sub(r.w.pool.sup.now()))
}

// extend moves the deadline to at least d from now (EXTEND_TIMEOUT_USEC).
func (r *run) extend(d time.Duration) {
	if r.timer == nil || r.deadline.Sub(r.w.pool.sup.now()) >= d {
		return
	}
	switch r.w.state {
	case event.Starting:
		r.readyIn = r.w.pool.sup.now().Add(d).Sub(r.startedAt)
		r.arm(d, func() { r.w.readyTimeout(r) })
	case event.Draining:
		r.arm(d, func() { r.w.stopTimeout(r) })
	case event.Ready, event.Stopping, event.Stopped, event.Backoff, event.Failed:
		// These have no deadline.
	}
}

// watchNotify reads sd_notify until the socket is closed.
func (r *run) watchNotify() {
	if r.notify == nil {
		return
	}
	messages := r.notify.Messages()
	r.w.pool.sup.helpers.Go(func() {
		for m := range messages {
			r.post(func() { r.notified(m) })
		}
	})
}

// requestStop asks the main process to end.
func (r *run) requestStop(rules spec.Stop) {
	proc, sig := r.proc, signalNumber(r.w.stopSignal())
	if rules.Command == nil {
		_ = proc.Signal(sig)
		return
	}
	cmd := r.w.sideCommand(rules.Command)
	cmd.Env = append(cmd.Env, "MAINPID="+strconv.Itoa(proc.PID))
	ctx, cancel := context.WithTimeout(context.Background(), rules.Timeout.D())
	r.w.pool.sup.helpers.Go(func() {
		defer cancel()
		res, err := process.Run(ctx, cmd)
		if err != nil || res.Exit.Code != 0 {
			f := fault.New(fault.StartFailed, "stop.command failed, sending %s instead", unix.SignalName(sig)).
				WithOutput(lastLines(res.Output, 5))
			r.post(func() { r.w.pool.warn(r.w, f.At(r.w.String())) })
			_ = proc.Signal(sig)
		}
	})
}

// kill ends the whole group by force.
func (r *run) kill() {
	proc := r.proc
	r.w.pool.sup.helpers.Go(func() { _, _ = proc.Kill() })
}

// clear ends what the main process left behind: the stop signal first, force
// once patience is over; then worker.gone hears of it.
func (r *run) clear(sig string, patience time.Duration) {
	proc, out := r.proc, r.output
	r.w.pool.sup.helpers.Go(func() {
		left := clearGroup(proc, signalNumber(sig), patience)
		if out != nil {
			select {
			case <-out.Done():
			case <-time.After(outputPatience):
			}
		}
		r.post(func() {
			if left > 0 {
				r.w.pool.warn(r.w, fault.New(fault.StopKilled, "%d processes cannot be killed", left).At(r.w.String()))
			}
			r.w.gone(r)
		})
	})
}

// outputPatience bounds the wait for the last lines of a worker.
const outputPatience = 5 * time.Second

// clearGroup returns how many processes could not be ended.
func clearGroup(proc process.Proc, sig unix.Signal, patience time.Duration) int {
	if n, err := proc.SignalRest(sig); n == 0 && err == nil {
		if empty, err := proc.Empty(); empty && err == nil {
			return 0
		}
	}
	end := time.Now().Add(patience)
	for wait := 2 * time.Millisecond; time.Now().Before(end); wait = min(2*wait, 100*time.Millisecond) {
		time.Sleep(min(wait, time.Until(end)))
		if empty, err := proc.Empty(); empty && err == nil {
			return 0
		}
	}
	left, _ := proc.Kill()
	return left
}

// report is the exit as the API shows it; it also fetches the last lines.
func (r *run) report() api.Exit {
	r.lines = r.w.pool.lastLines(r.w.slot.n, r.exit.PID)
	return api.Exit{
		PID: r.exit.PID, Code: r.exit.Code, Signal: signalName(r.exit.Signal),
		Time: r.exit.Time, Uptime: r.exit.Time.Sub(r.startedAt), Planned: r.planned, Lines: r.lines,
	}
}

// close gives up what hangs on the process; nothing of it runs any more.
func (r *run) close() {
	r.unwatch()
	r.disarm()
	if r.notify != nil {
		r.notify.Close()
	}
	r.w.pool.sup.forget(r.id)
}
