package agent

import (
	"encoding/json"
	"errors"
	"os"
	"syscall"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
)

// Keeper is the process that outlives the agent, as the agent uses it. All
// fields are required.
type Keeper struct {
	Starter process.Starter
	Store   process.Store
	Link    Link
	Hello   keeper.Hello
}

// Link is what an agent tells its keeper beside Starter and Store; a
// *keeper.Client is one.
type Link interface {
	// Up says that this agent serves.
	Up() error
	// Notify tells systemd.
	Notify(state string) error
	// Upgrade has exe started as the next agent.
	Upgrade(exe *os.File, what json.RawMessage) error
	// Lost is closed when the keeper is gone.
	Lost() <-chan struct{}
}

// recordName is the agent's record in the keeper's Store.
const recordName = "agent"

// legacy is what an agent leaves to the next one.
type legacy struct {
	PID     int    `json:"pid"`
	Version string `json:"version"`
	// Ending is set once the agent has begun to end: the next one goes on with it.
	Ending *ending `json:"ending,omitempty"`
}

func (k *Keeper) records() process.Records { return process.Records{Store: k.Store} }

// inherit learns what an agent before this one has left; nothing makes this one
// the first.
func (a *Agent) inherit() error {
	if a.keeper == nil {
		return nil
	}
	text, err := a.keeper.records().Load(recordName)
	if err != nil {
		return err
	}
	if text != nil {
		a.before = &legacy{}
		if err := json.Unmarshal(text, a.before); err != nil {
			return fault.New(fault.Internal, "what the agent before has left is not understood: %w", err)
		}
	}
	if e := a.inheritedEnding(); e != nil {
		a.asked <- *e
	}
	return nil
}

// inheritedEnding is the end that the agent before had begun, or that was asked
// for while there was no agent; nil: none.
func (a *Agent) inheritedEnding() *ending {
	if a.keeper == nil {
		return nil
	}
	var e *ending
	if a.before != nil && a.before.Ending != nil {
		e = a.before.Ending
	}
	interrupts := 0
	for _, number := range a.keeper.Hello.Signals {
		sig := syscall.Signal(number)
		own, ends := a.endOf(sig)
		if !ends {
			continue
		}
		if e == nil {
			e = &own
		}
		if sig == syscall.SIGINT {
			interrupts++
		}
	}
	if e != nil && interrupts > 1 {
		e.Now = true // a second Ctrl-C
	}
	return e
}

// bequeath notes what the next agent has to know. Without a keeper there is none.
func (a *Agent) bequeath(e *ending) error {
	if a.keeper == nil {
		return nil
	}
	text, err := json.Marshal(legacy{PID: os.Getpid(), Version: a.opts.Version, Ending: e})
	if err != nil {
		return err
	}
	return a.keeper.records().Save(recordName, text)
}

// Succeeds says that this agent goes on where another one was.
func (a *Agent) Succeeds() bool { return a.before != nil }

// startedEvent tells that this agent runs, and whom it follows.
func (a *Agent) startedEvent() event.AgentStarted {
	e := event.AgentStarted{PID: os.Getpid(), Version: a.opts.Version, Project: a.opts.Spec.Project, Adopted: a.supervisor.Adopted()}
	if a.before != nil {
		e.Before, e.Why = a.before.PID, a.keeper.Hello.Last
	}
	return e
}

// up tells the keeper that this agent serves, and everybody what came of an
// upgrade that was to bring another.
func (a *Agent) up() {
	if a.keeper == nil {
		return
	}
	if err := a.keeper.Link.Up(); err != nil {
		a.opts.Log.Warn("the keeper was not told", "error", err)
	}
	if u := a.upgraded(); u != nil && u.Fault != nil && a.before != nil {
		a.warn(u.Fault)
	}
}

// upgraded is what the last upgrade came to; nil: there was none.
func (a *Agent) upgraded() *api.Upgrade {
	if a.keeper == nil || len(a.keeper.Hello.Upgrade) == 0 {
		return nil
	}
	var outcome keeper.UpgradeOutcome
	u := &api.Upgrade{}
	err := json.Unmarshal(a.keeper.Hello.Upgrade, &outcome)
	if err == nil {
		err = json.Unmarshal(outcome.What, u)
	}
	if err != nil {
		a.opts.Log.Warn("what came of the last upgrade is not understood", "error", err)
		return nil
	}
	if outcome.Reason != "" {
		u.Fault = fault.New(fault.UpgradeFailed, "%s did not come up as the agent, and the one before runs again: %s", u.Binary, outcome.Reason)
	}
	return u
}

// lost is closed when the keeper is gone; nil, which never is, without one.
func (a *Agent) lost() <-chan struct{} {
	if a.keeper == nil {
		return nil
	}
	return a.keeper.Link.Lost()
}

func (a *Agent) isLost() bool {
	select {
	case <-a.lost():
		return true
	default:
		return false
	}
}

// lastWords is how long an agent without its keeper may take to write what it
// still knows.
const lastWords = 500 * time.Millisecond

// orphaned ends everything after the death of the keeper: exits, listeners and
// output are gone with it, so nothing that runs can be looked after any more.
func (a *Agent) orphaned(stop func() error) error {
	a.killAll()
	over := make(chan error, 1)
	go func() { // what waits for a process that nobody can wait for any more may hang
		a.server.Leave()
		err := stop()
		a.supervisor.Leave()
		over <- err
	}()
	select {
	case <-over:
	case <-time.After(lastWords):
	}
	lost := fault.New(fault.KeeperLost, "the keeper (pid %d) is gone; all of %s has been ended", a.keeper.Hello.PID, a.opts.Spec.Project)
	return errors.Join(lost, a.teardown.Run())
}

// killAll kills everything that runs, all at once.
func (a *Agent) killAll() {
	killed := make(chan int, 1)
	go func() { // ends within process.KillTimeout
		n, _ := a.killLeftovers()
		killed <- n
	}()
	list := a.starter.List()
	gone := make(chan struct{}, len(list))
	for _, p := range list {
		go func() { _, _ = p.Kill(); gone <- struct{}{} }() // ends within process.KillTimeout
	}
	for range list {
		<-gone
	}
	<-killed
}

// leaveBehind makes the teardown give nothing of the project up.
func (a *Agent) leaveBehind() {
	a.left = true
	if a.socket != nil {
		a.socket.Keep()
	}
}

// leave ends the agent without touching a worker: another one goes on.
func (a *Agent) leave(stop func() error) error {
	a.leaveBehind()
	a.server.Leave()
	err := stop()
	a.supervisor.Leave()
	return errors.Join(err, a.teardown.Run())
}

// notify tells systemd, where it has started muster.
func (a *Agent) notify(state string) {
	send := sdnotify.Notify
	if a.keeper != nil {
		send = a.keeper.Link.Notify
	}
	if err := send(state); err != nil {
		a.opts.Log.Warn("systemd was not told", "error", err)
	}
}
