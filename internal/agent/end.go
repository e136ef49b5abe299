package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// end stops every worker, then runs the hooks. Further requests and signals
// meanwhile can only make it faster.
func (a *Agent) end(e ending) {
	a.ending.Store(true)
	a.publish(event.AgentStopping{Reason: e.Reason, ExitCode: e.Code})
	a.notify("STOPPING=1")
	last := a.supervisor.Spec()
	if !a.stopWorkers(e.Now) {
		return
	}
	for _, argv := range last.OnExit {
		a.hook(argv, last.Environ, e)
	}
}

// stopWorkers returns when none is left, or false when the keeper is gone.
func (a *Agent) stopWorkers(now bool) bool {
	stopped := make(chan error, 2)
	running := 0
	shutdown := func(now bool) {
		running++
		go func() { stopped <- a.supervisor.Shutdown(context.Background(), now) }() // ends when no worker is left
	}
	hurry := func() {
		if !now {
			now = true
			shutdown(true) // the same end, sooner
		}
	}
	shutdown(now)
	for running > 0 {
		select {
		case err := <-stopped:
			running--
			if err != nil {
				a.warn(fault.From(err))
			}
		case e := <-a.asked:
			if e.Now {
				hurry()
			}
		case <-a.lost():
			return false
		case sig := <-a.opts.Signals:
			if sig == os.Interrupt && !now {
				a.publish(event.AgentStopping{Reason: "second Ctrl-C, killing what is left", ExitCode: interruptedCode})
				hurry()
			}
		}
	}
	return true
}

// variableMax is how much of a text is put into a variable, in bytes.
const variableMax = 4 << 10

// variable is a text, of whomever, as the value of a variable: without what no program
// can be started with.
func variable(text string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(text[:min(len(text), variableMax)], "\x00", " "), "")
}

// hook runs one on_exit command. Its failure is told and changes nothing (S1.3).
func (a *Agent) hook(argv, environ []string, e ending) {
	ctx, cancel := context.WithTimeout(context.Background(), spec.OnExitTimeout)
	defer cancel()
	env := append(slices.Clone(environ),
		"MUSTER_REASON="+variable(e.Reason), "MUSTER_EXIT_CODE="+strconv.Itoa(e.Code), "MUSTER_PROJECT="+a.opts.Spec.Project)
	result, err := process.Run(ctx, process.Command{ID: "on_exit", Argv: argv, Env: env, Dir: a.opts.Dir})
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		a.warn(fault.New(fault.Timeout, "on_exit %q has not ended within %s and was killed", argv, spec.OnExitTimeout))
	case err != nil:
		a.warn(fault.From(err).At("on_exit"))
	case result.Exit.Code != 0:
		a.warn(fault.New(fault.StartFailed, "on_exit %q ended with code %d", argv, result.Exit.Code).WithFix("correct the command"))
	}
}

// monotonicNow is what systemd wants beside RELOADING=1.
func monotonicNow() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return ""
	}
	return fmt.Sprintf("MONOTONIC_USEC=%d", now.Nano()/1000)
}
