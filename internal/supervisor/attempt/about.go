package attempt

import (
	"time"

	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/process"
)

// LastLines are the last that the process printed, oldest first, at most 20.
func (a *Attempt) LastLines() []string {
	if a.output == nil {
		return nil
	}
	return a.output.Last()
}

// StopSignal is the name of the signal that its program takes as "end".
func (a *Attempt) StopSignal() string { return launch.StopSignal(a.app) }

// Running: the process was started (it may have ended since).
func (a *Attempt) Running() bool { return a.running }

// Proc is the process; only meaningful once Running.
func (a *Attempt) Proc() process.Proc { return a.proc }

// Number is that of the Config, or the one that was recorded.
func (a *Attempt) Number() int { return a.cfg.Number }

// PID of the main process, 0 before it was started.
func (a *Attempt) PID() int { return a.proc.PID }

// StartedAt and ReadyAt are zero before.
func (a *Attempt) StartedAt() time.Time { return a.startedAt }

// ReadyAt is when it became ready; zero before.
func (a *Attempt) ReadyAt() time.Time { return a.readyAt }

// LastBeat is its latest sign of life that this agent has heard; zero: none.
func (a *Attempt) LastBeat() time.Time { return a.pulse.Last() }

// Exit is how the main process ended; nil before.
func (a *Attempt) Exit() *process.Exit { return a.exit }
