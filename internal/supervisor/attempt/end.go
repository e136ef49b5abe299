package attempt

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/spec"
)

// Stop asks the process to end, by stop.command or the stop signal; Late comes
// when it has not ended within stop.timeout.
func (a *Attempt) Stop(rules spec.Stop) {
	a.stopping = true
	a.closeBox()
	if !a.running || a.exit != nil {
		return
	}
	a.unwatch()
	a.leaveSeats()
	a.arm(rules.Timeout.D(), a.cfg.Events.Late)
	if a.leavesQueues() {
		a.emptyQueues(func() { a.askToEnd(rules) })
		return
	}
	a.forksFirst(rules, func() { a.askToEnd(rules) })
}

// askToEnd has the process end: by stop.message, and a Node.js worker by leaving its
// cluster. These get most of the time there is; then, or for the others at once, comes
// the stop signal (or stop.command, which is not waited with).
func (a *Attempt) askToEnd(rules spec.Stop) {
	told := a.sendMessage(rules.Message)
	if told {
		a.sendLast()
	}
	told = a.leave() || told
	if !told || rules.Command != nil {
		a.request(rules)
	}
}

// sendMessage sends stop.message over the channel; false: there is none, or no way.
func (a *Attempt) sendMessage(text string) bool {
	if text == "" || a.voice == nil {
		return false
	}
	data, err := json.Marshal(text)
	return err == nil && a.voice.Carrier().Carry(mail.Letter{Data: data, FD: mail.None}) == nil
}

// sendLast has the stop signal sent when four fifths of the time to end are over.
func (a *Attempt) sendLast() { a.sendSoon(time.Until(a.deadline) - a.span/5) }

// sendSoon has the stop signal sent, unless the process ends before.
func (a *Attempt) sendSoon(d time.Duration) {
	a.dropSignal()
	a.nudge = time.AfterFunc(max(0, d), func() {
		a.post(func() {
			if a.stopping && !a.killed && !a.asked && a.running && a.exit == nil {
				ask(a.proc, unix.SignalNum(a.StopSignal()))
				a.asked = true
			}
		})
	})
}

func (a *Attempt) dropSignal() {
	if a.nudge != nil {
		a.nudge.Stop()
	}
}

// request makes the stop known to the process, within its deadline.
func (a *Attempt) request(rules spec.Stop) {
	proc, sig := a.proc, unix.SignalNum(a.StopSignal())
	if rules.Command == nil {
		ask(proc, sig)
		a.asked = true
		return
	}
	cmd := a.sideCommand(rules.Command)
	cmd.Env = append(cmd.Env, "MAINPID="+strconv.Itoa(proc.PID))
	ctx, cancel := context.WithDeadline(a.life, a.deadline)
	a.cfg.Shared.Errands.Go(func() {
		defer cancel()
		res, err := process.Run(ctx, cmd)
		if a.life.Err() != nil {
			return // a successor runs it again
		}
		if err == nil && res.Exit.Code == 0 {
			a.post(func() { a.asked = true })
			return
		}
		if err == nil {
			err = fmt.Errorf("exit code %d", res.Exit.Code)
		}
		f := fault.New(fault.StartFailed, "stop.command failed, sending %s instead: %w", unix.SignalName(sig), err)
		a.post(func() { a.asked = true; a.cfg.Events.Warned(f.WithOutput(res.LastLines(5))) })
		ask(proc, sig)
	})
}

// ask sends the stop signal, and wakes a process that somebody has suspended:
// it could not obey otherwise.
func ask(proc process.Proc, sig unix.Signal) {
	if proc.Signal(sig) == nil {
		_ = proc.Signal(unix.SIGCONT)
	}
}

// Kill ends the whole group by force.
func (a *Attempt) Kill() {
	a.stopping, a.killed = true, true
	a.closeBox()
	a.unwatch()
	a.disarm()
	a.killForks()
	proc := a.proc
	a.cfg.Shared.Errands.Go(func() { _, _ = proc.Kill() })
}

// Clear ends what the main process left behind: the stop signal first, force
// once patience (or what is left of stop.timeout) is over; then Gone comes.
func (a *Attempt) Clear(patience time.Duration) {
	a.unwatch()
	if left := a.disarm(); a.stopping {
		patience = left
	}
	a.clear(patience)
}

func (a *Attempt) clear(patience time.Duration) {
	a.deadline, a.span = time.Now().Add(patience), patience
	proc, out, sig := a.proc, a.output, unix.SignalNum(a.StopSignal())
	groupGone, forksGone := false, false
	gone := func() {
		if groupGone && forksGone {
			a.cfg.Events.Gone()
		}
	}
	a.endForks(a.app.Stop, patience, func() { forksGone = true; gone() })
	a.cfg.Shared.Errands.Go(func() {
		left := clearGroup(a.life, proc, sig, patience)
		if out != nil {
			select {
			case <-out.Done():
			case <-time.After(outputPatience):
			case <-a.life.Done():
			}
		}
		a.voice.HeardOut(a.life)
		if a.life.Err() != nil {
			return // a successor clears it
		}
		a.post(func() {
			if left > 0 {
				a.cfg.Events.Warned(fault.New(fault.StopKilled, "%d processes cannot be killed", left))
			}
			groupGone = true
			gone()
		})
	})
}

// outputPatience bounds the wait for the last lines of a process.
const outputPatience = 5 * time.Second

// clearGroup returns how many processes could not be ended; it gives up with ctx.
func clearGroup(ctx context.Context, proc process.Proc, sig unix.Signal, patience time.Duration) int {
	if empty, err := proc.Empty(); empty && err == nil {
		return 0
	}
	_, _ = proc.SignalRest(sig)
	end := time.Now().Add(patience)
	for wait := 2 * time.Millisecond; time.Now().Before(end); wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-time.After(min(wait, time.Until(end))):
		case <-ctx.Done():
			return 0
		}
		if empty, err := proc.Empty(); empty && err == nil {
			return 0
		}
	}
	left, _ := proc.Kill()
	return left
}

// Close gives up what hangs on the process; no event comes any more.
func (a *Attempt) Close() {
	a.silence()
	a.quit()
	a.cfg.After(func() {
		if a.notify != nil {
			a.notify.Close()
		}
		a.hangUp(false)
		a.cfg.Shared.forget(a.id)
	})
}

// Leave ends everything in this process that hangs on the attempt, for a
// successor to take it up; no event comes any more.
func (a *Attempt) Leave() {
	if a.ear != nil {
		a.ear.Close() // first: what is not heard yet stays in the socket
	}
	a.voice.Silence()
	a.silence()
	a.node.deafen()
	a.leaveForks()
	if a.notify != nil {
		a.notify.Leave()
	}
	a.hangUp(true)
}

func (a *Attempt) silence() {
	a.closed = true
	a.closeBox()
	a.unwatch()
	a.disarm()
	a.node.silence()
	a.dropSignal()
}

// Send sends a signal to the main process, or with group to everything of it.
func (a *Attempt) Send(sig unix.Signal, group bool) error {
	err := a.proc.Signal(sig)
	if group && err == nil {
		_, err = a.proc.SignalRest(sig)
	}
	return err
}
