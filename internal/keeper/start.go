package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
)

// neverUp is what became of an agent that did not come up in time.
const neverUp = "did not come up"

// agent is one that runs.
type agent struct {
	aide    *process.Aide
	session *session
	wishes  *wishes
	exited  chan process.Exit // the one it ends with
	// due is when its patience with the agent ends: with its start, or its exit.
	due *time.Timer

	up   time.Time // zero: it is not yet
	end  bool      // it said that it ends
	why  string    // the keeper killed it
	fate fate
}

// fate is what became of an agent.
type fate struct {
	why    string        // in words
	served time.Duration // from Up to its end; 0: it never was up
	ended  bool          // orderly, with code
	code   int
	next   *upgrade // what it left for
	forced bool     // the operator does not wait any longer
}

// start starts an agent.
func (r *root) start(exe *os.File) (*agent, error) {
	ours, theirs, err := channel.Pair()
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(theirs), "keeper")
	defer file.Close()
	aide, err := r.direct.StartAide(exe, r.command(file))
	r.agents++
	if err != nil {
		unix.Close(ours)
		return nil, err
	}
	a := &agent{
		aide: aide, wishes: &wishes{more: make(chan struct{}, 1)},
		exited: make(chan process.Exit, 1), due: time.NewTimer(r.t.up),
	}
	go func() { a.exited <- aide.Wait() }() // ends with the agent
	a.session = r.server.serve(ours, r.hello(), a.wishes)
	for _, sig := range r.signals.drain() {
		a.session.forward(sig)
	}
	return a, nil
}

// command is that of an agent whose end of the socket is file.
func (r *root) command(file *os.File) process.Command {
	args, env := r.o.Args, r.o.Environ
	if args == nil {
		args = []string{"agent"}
	}
	if env == nil {
		env = os.Environ()
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return strings.HasPrefix(kv, FDEnv+"=") || strings.HasPrefix(kv, ProjectEnv+"=")
	})
	n := len(r.o.Inherited)
	return process.Command{
		ID: "agent", Argv: append([]string{"muster"}, args...),
		Env:   append(env, FDEnv+"="+strconv.Itoa(3+n), ProjectEnv+"="+r.o.Project),
		Files: append(slices.Clone(r.o.Inherited), process.NamedFD{Name: "keeper", File: file}), Listen: n,
	}
}

// hello is what the next agent is told.
func (r *root) hello() Hello {
	h := Hello{
		Version: r.o.Version, Started: r.started, Agents: r.agents, Last: r.last, Upgrade: r.upgraded,
	}
	for _, sig := range r.signals.asked {
		h.Signals = append(h.Signals, int(sig))
	}
	return h
}

// attend sees an agent to its end. One that hangs after it was up is left alone:
// its workers serve on, and nobody can know what it waits for.
func (r *root) attend(a *agent) fate {
	defer a.due.Stop()
	for {
		select {
		case sig := <-r.signals.in:
			r.forward(a, sig)
		case <-a.wishes.more:
			r.heed(a)
		case <-r.tidy.C:
			debug.FreeOSMemory()
		case err := <-a.session.broken():
			a.kill("killed, because it sent what cannot be understood: " + err.Error())
		case <-a.due.C:
			a.kill(neverUp)
		case exit := <-a.exited:
			a.session.close() // what it said at last counts
			r.heed(a)
			return r.fateOf(a, exit)
		}
	}
}

// forward gives a signal to the agent; too many end it.
func (r *root) forward(a *agent, in os.Signal) {
	a.session.forward(r.signals.take(in))
	r.signals.drain() // they do not wait for a successor
	if r.signals.forced() {
		a.fate.forced = true
		a.kill("interrupted")
	}
}

// heed acts upon what the agent has asked for.
func (r *root) heed(a *agent) {
	w := a.wishes.take()
	if w.next != nil {
		a.fate.next.discard()
		a.fate.next = w.next
	}
	if w.isUp && a.up.IsZero() {
		a.up, r.everUp = time.Now(), true
		a.due.Stop()
		r.keep()
	}
	if w.ended && !a.end {
		a.end = true
		// A new program that gives up at once must not end what the old one kept
		// running.
		a.fate.ended = r.trial == nil || len(r.signals.asked) > 0
		a.fate.code = w.code
		a.due.Reset(r.t.exit)
	}
}

// kill ends an agent that must not go on.
func (a *agent) kill(why string) {
	if a.why == "" {
		a.why = why
	}
	_ = a.aide.Signal(syscall.SIGKILL) // ESRCH: it has ended by itself
}

// fateOf sums up.
func (r *root) fateOf(a *agent, exit process.Exit) fate {
	f := a.fate
	if !a.up.IsZero() {
		f.served = max(time.Since(a.up), 1)
	}
	switch {
	case a.why != "":
		f.why = a.why
	case a.end:
		f.why = fmt.Sprintf("ended with code %d", f.code)
	case exit.Signal != 0:
		f.why = "killed by signal " + nameOf(exit.Signal)
	default:
		f.why = fmt.Sprintf("exit code %d", exit.Code)
	}
	return f
}

// wishes are what an agent has asked for, since the root process looked last.
type wishes struct {
	more chan struct{} // holds one token while there are new ones

	mu  sync.Mutex
	now wished
}

type wished struct {
	isUp, ended bool
	code        int
	next        *upgrade
}

var _ orders = (*wishes)(nil)

func (w *wishes) add(change func(*wished)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.now)
	select {
	case w.more <- struct{}{}:
	default:
	}
}

func (w *wishes) take() wished {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now
	w.now = wished{}
	return now
}

func (w *wishes) up() { w.add(func(n *wished) { n.isUp = true }) }

func (w *wishes) end(code int) { w.add(func(n *wished) { n.ended, n.code = true, code }) }

func (w *wishes) upgrade(exe *os.File, what json.RawMessage) {
	w.add(func(n *wished) {
		n.next.discard()
		n.next = &upgrade{exe, what}
	})
}

// takeName gives the agent its name again: the kernel calls a program that was
// executed by its descriptor after the number of that.
func takeName() { _ = os.WriteFile("/proc/self/comm", []byte("muster"), 0) }
