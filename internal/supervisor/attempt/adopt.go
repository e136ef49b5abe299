package attempt

import (
	"context"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// Facts is what a successor must know of the attempt.
func (a *Attempt) Facts() record.Process {
	return record.Process{
		ID: a.id, Number: a.cfg.Number, Launched: a.launched, Started: a.startedAt, Ready: a.readyAt, ReadyIn: a.readyIn,
		Needs: a.needs.Words(), LineSeen: a.lineSeen,
		Stopping: a.stopping, Asked: a.asked, Killed: a.killed, Exited: a.exit != nil,
		Deadline: a.deadline, Span: a.span, Watchdog: a.watchdog,
		Passed: a.tracker.Verdict() != health.Starting, Failures: a.tracker.InARow(),
		Node: a.node.facts(), Forks: a.forks(),
		Beats: a.pulse.Beats(), Crash: a.crash,
	}
}

// Adopt makes an attempt of what an earlier agent has recorded; Resume takes its
// process up.
func Adopt(ctx context.Context, cfg Config, was record.Process) *Attempt {
	cfg.Number = was.Number
	if was.Node == nil && was.Forks == nil {
		cfg.Primary = nil
	}
	a := bare(ctx, cfg)
	a.id, a.launched, a.startedAt, a.readyAt, a.readyIn = was.ID, was.Launched, was.Started, was.Ready, was.ReadyIn
	a.needs, a.lineSeen = need.In(was.Needs), was.LineSeen
	a.stopping, a.asked, a.killed = was.Stopping, was.Asked, was.Killed
	a.running, a.watchdog, a.wereForks = !was.Started.IsZero(), was.Watchdog, was.Forks
	a.adopted, a.crash, a.pulse = true, was.Crash, a.newPulse(was.Beats)
	if a.node != nil {
		a.node.last = was.Node
	}
	a.deadline, a.span = was.Deadline, was.Span
	if was.Passed {
		a.tracker.Observe(health.Result{OK: true})
		for range was.Failures {
			a.tracker.Observe(health.Result{})
		}
	}
	return a
}

// Resume takes up a process that the Starter knows, where exited says whether its
// end was taken already. What has happened since comes as events, Started first
// if the earlier agent had not heard of it.
func (a *Attempt) Resume(proc process.Proc, exited bool) {
	a.expect()
	if proc.Exit != nil && !exited {
		e := *proc.Exit
		defer a.post(func() { a.exited(e) })
	}
	a.proc = proc
	a.reattach(proc)
	defer func() {
		if !a.Serving() {
			a.closeBox()
		}
	}()
	if !a.running {
		a.deadline, a.span = time.Time{}, 0
		a.runs(proc, a.launched)
		return
	}
	left := record.Left(a.deadline, a.span)
	switch {
	case exited && proc.Exit != nil:
		a.exit = proc.Exit
		a.unwatch()
		a.clear(left)
	case a.killed || exited:
		a.watchNotify()
		a.Kill()
	case a.stopping:
		a.unwatch()
		a.watchNotify()
		a.arm(left, a.cfg.Events.Late)
		if !a.asked {
			a.forksFirst(a.app.Stop, func() { a.askToEnd(a.app.Stop) })
		}
	default:
		a.openBox()
		if !a.readyAt.IsZero() {
			a.sitDown()
		}
		a.watchOn(left)
	}
}

// watchOn looks again at a process that starts or is ready.
func (a *Attempt) watchOn(left time.Duration) {
	if a.readyAt.IsZero() {
		// What has come since the last look must be seen before it is too late.
		a.arm(max(left, adoptPatience), a.readyTimeout)
	} else {
		a.watchPulse()
		if a.watchdog > 0 {
			a.setWatchdog(a.watchdog)
		}
	}
	a.watchNotify()
	alive := need.AliveFor(a.app)
	a.look(record.Left(a.startedAt.Add(alive), alive))
	a.goOn(alive)
}

// adoptPatience is the least that a starting process gets to be seen ready.
const adoptPatience = 2 * time.Second

// reattach reads output and sd_notify messages on. A process without either goes
// on, too.
func (a *Attempt) reattach(proc process.Proc) {
	var err error
	if a.output, err = a.starter().attach(proc, true); err != nil {
		a.cfg.Events.Warned(fault.New(fault.LogWrite, "its output cannot be read: %w", err))
	}
	sh := a.cfg.Shared
	var torn *fault.Fault
	if a.channel, torn = sh.lines().Adopt(a.id, a.starter().driven()); torn != nil {
		if a.node == nil && a.kin == nil { // a Node.js worker would end at once
			sh.lines().HangUp(a.id)
		}
		a.post(func() { a.cfg.Events.Torn(torn) })
	}
	if a.node != nil {
		a.listen(a.node.last)
	} else {
		a.listen(nil)
	}
	a.beginForks(a.wereForks)
	f, err := sh.Store.Get(notifyPrefix + a.id)
	if f == nil || err != nil {
		return
	}
	path := sh.notifyPath(a.id)
	if a.notify, err = sh.Sys.AdoptNotify(f, path, ownerOf(path)); err != nil {
		a.notify = nil
		a.cfg.Events.Warned(fault.From(err))
	}
}

// ownerOf a socket's file is the user that may write to it.
func ownerOf(path string) int {
	if info, err := os.Lstat(path); err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			return int(st.Uid)
		}
	}
	return os.Geteuid()
}

// Discard ends a process that no attempt is for, with all that came from it, in
// the background, and has the Starter forget it.
func (s *Shared) Discard(ctx context.Context, p process.Proc) {
	exited := make(chan struct{})
	end := sync.OnceFunc(func() { close(exited) })
	s.expect(p.ID, func(process.Exit) { end() })
	if p.Exit != nil {
		end()
	}
	s.Errands.Go(func() {
		_, _ = p.Kill()
		select {
		case <-exited:
			s.forget(p.ID)
		case <-ctx.Done():
		}
	})
}
