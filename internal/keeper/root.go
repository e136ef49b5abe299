package keeper

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/muster-run/muster/internal/process"
)

// Options of the root process.
type Options struct {
	// Project names the cgroup tree (process.Options.Project), and tells agents whose
	// they are (ProjectEnv).
	Project string
	// Version of this program, for Hello.
	Version string
	// NoCgroup does without cgroups.
	NoCgroup bool
	// Files are put into the Store before the first agent starts: "record/boot",
	// "answer" … Run takes them over.
	Files map[string]*os.File
	// Inherited are the sockets that muster itself was given by LISTEN_FDS. Every
	// agent gets them in the same way, with a LISTEN_PID of its own.
	Inherited []process.NamedFD
	// Args of the agent, after its program's name; nil: "agent".
	Args []string
	// Environ of the agent, "K=V"; nil: that of this process. LISTEN_*, FDEnv and
	// ProjectEnv are set by the keeper.
	Environ []string
	// Beside is called before the first agent starts, with what starts this program once
	// more as an aide: on this terminal, in this process group, and not ended with the
	// workers. end is called when nothing else is left, and waits for it. nil: none.
	Beside func(start func(process.Command) (*process.Aide, error)) (end func())
	// Log gets what the keeper has to say to the operator; nil: nothing.
	Log *slog.Logger
}

// times are how long the root process waits, and for what.
type times struct {
	up      time.Duration // for a new agent to be up
	exit    time.Duration // for one that ends to exit
	pause   time.Duration // before the second start after a crash; doubled each time
	longest time.Duration // such pause
	healthy time.Duration // an agent that was up for so long has the pauses begin anew
}

func defaultTimes() times {
	return times{
		up: 30 * time.Second, exit: 10 * time.Second,
		pause: 100 * time.Millisecond, longest: 5 * time.Second, healthy: time.Second,
	}
}

// tries is how many agents in a row may fail when there is no need to go on.
const tries = 5

// tidyEvery is how often memory that is not used goes back to the system: it takes
// a millisecond or two.
const tidyEvery = 10 * time.Second

// forcedCode is muster's exit code when the operator did not wait for the agent.
const forcedCode = 130

// Run is the root process: it starts the agent, and starts it again, until one
// ends orderly, and returns the exit code of muster when nothing is left: the
// agent's; 1 when no agent comes up; 130 after a third SIGINT, which does not
// wait for the agent. It may be called once in a process, from main.
func Run(o Options) int { return run(o, defaultTimes()) }

func run(o Options, t times) int {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	r, err := newRoot(o, t)
	if err != nil {
		o.Log.Error("muster cannot start", "error", err)
		return 1
	}
	if o.Beside != nil {
		own, err := os.Open("/proc/self/exe") // that of the agent may become another
		if err != nil {
			o.Log.Warn("nothing can run beside the keeper", "error", err)
			return r.finish(r.reign())
		}
		defer own.Close()
		defer o.Beside(func(c process.Command) (*process.Aide, error) { return r.direct.StartAide(own, c) })()
	}
	return r.finish(r.reign())
}

// root is the root process. One goroutine, reign's, owns all of it.
type root struct {
	o       Options
	t       times
	started time.Time
	direct  *process.Direct
	store   *process.DirectStore
	server  *server
	signals signals
	tidy    *time.Ticker // to give memory back

	// exe is the program of the agent that was up last, and trial the one that an
	// upgrade is to replace it by; nil: none.
	exe   *os.File
	trial *upgrade

	agents int    // that were started
	everUp bool   // one of them was up
	fails  int    // starts and crashes in a row that were followed by no healthy time
	last   string // Hello.Last
	// upgraded is Hello.Upgrade.
	upgraded json.RawMessage
}

func newRoot(o Options, t times) (*root, error) {
	r := &root{o: o, t: t, started: time.Now(), store: process.NewDirectStore(), signals: catch(), tidy: time.NewTicker(tidyEvery)}
	spare()
	if err := process.Subreap(); err != nil {
		return nil, err
	}
	// Open from here on, so that what is started again is this very program.
	var err error
	if r.exe, err = os.Open("/proc/self/exe"); err != nil {
		return nil, fmt.Errorf("cannot open this program: %w", err)
	}
	r.direct, err = process.NewDirect(process.Options{Project: o.Project, NoCgroup: o.NoCgroup, DieWithParent: true})
	if err != nil {
		return nil, err
	}
	for name, f := range o.Files {
		if err := r.store.Put(name, f); err != nil {
			return nil, fmt.Errorf("cannot keep %s: %w", name, err)
		}
		f.Close()
	}
	r.server = newServer(r.direct, r.store)
	return r, nil
}

// spare keeps this process small: it has little to do and lives for ever. What a
// burst of starts has used is given back by attend.
func spare() {
	runtime.MemProfileRate = 0
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	debug.SetGCPercent(20)
}

// reign starts agents, one after the other, until muster is to end, and returns
// its exit code.
func (r *root) reign() int {
	for {
		f := r.turn()
		switch {
		case f.forced:
			r.o.Log.Error("interrupted three times: everything is killed")
			return forcedCode
		case f.ended:
			return f.code
		}
		wait := r.settle(f)
		if code, over := r.hopeless(); over {
			r.o.Log.Error("no agent comes up", "last", r.last)
			return code
		}
		if !r.pause(wait) {
			return forcedCode
		}
	}
}

// turn starts an agent and sees it to its end.
func (r *root) turn() fate {
	exe := r.exe
	if r.trial != nil {
		exe = r.trial.exe
	}
	a, err := r.start(exe)
	if err != nil {
		return fate{why: "cannot be started: " + err.Error()}
	}
	return r.attend(a)
}

// settle draws the consequences of an agent's end: what is started next, and
// after which pause.
func (r *root) settle(f fate) (wait time.Duration) {
	switch {
	case r.trial != nil: // and it was not up, or it would be none any more
		f.next.discard()
		r.fallBack(f.why)
		return 0
	case f.next != nil:
		r.try(f.next)
		return 0
	}
	r.last = f.why
	if f.served >= r.t.healthy {
		r.fails = 0
	}
	if wait = r.backOff(r.fails); f.served > 0 {
		// It could come up: decisions must not wait for long.
		wait = min(wait, 2*r.t.pause)
	}
	r.fails++
	r.o.Log.Warn("the agent is gone and is started again", "why", f.why, "after", wait)
	return wait
}

// backOff is the pause after so many failures before: none, then growing ones.
func (r *root) backOff(fails int) time.Duration {
	if fails == 0 {
		return 0
	}
	wait := r.t.pause
	for ; fails > 1 && wait < r.t.longest; fails-- {
		wait *= 2
	}
	return min(wait, r.t.longest)
}

// hopeless says that there is no use in going on: agents fail again and again, and
// the operator wants the end or there is nothing to go on for, because none has
// ever come up and nothing runs.
func (r *root) hopeless() (code int, over bool) {
	idle := !r.everUp && len(r.direct.List()) == 0
	switch {
	case len(r.signals.asked) > 0:
		return 128 + int(r.signals.asked[0]), idle || r.fails >= tries
	case idle:
		return 1, r.fails >= tries
	}
	return 0, false
}

// pause waits before the next start, less long when the end is asked for.
// false: everything is to end now.
func (r *root) pause(wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return true
		case sig := <-r.signals.in:
			if r.signals.take(sig); r.signals.forced() {
				return false
			}
			if len(r.signals.asked) > 0 {
				return true
			}
		}
	}
}

// finish ends what is left and returns the code.
func (r *root) finish(code int) int {
	var kills sync.WaitGroup
	for _, p := range r.direct.List() {
		kills.Go(func() { _, _ = p.Kill() }) // what cannot be killed is told below
	}
	kills.Wait()
	if _, err := r.direct.KillOrphans(); err != nil {
		r.o.Log.Error("something is left", "error", err)
	}
	r.server.close()
	r.direct.Close()
	r.store.Close()
	r.exe.Close()
	signal.Stop(r.signals.in)
	r.tidy.Stop()
	return code
}
