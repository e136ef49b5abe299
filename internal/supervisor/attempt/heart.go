package attempt

import (
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/pulse"
	"github.com/muster-run/muster/spec"
)

// newPulse makes what watches over the signs of life of the process. beats: an agent
// before has had one.
func (a *Attempt) newPulse(beats bool) *pulse.Pulse {
	return pulse.New(a.app.Heartbeat, beats, pulse.Events{
		First: func() { a.post(func() {}) }, // it is recorded with the step
		Never: func(interval time.Duration) {
			a.post(func() {
				a.cfg.Events.Warned(fault.New(fault.Heartbeat, "it has sent no sign of life since it was ready, %s ago, so its silence means nothing", spec.Duration(interval)).
					WithFix("open the SDK in the program, or remove heartbeat: of an app whose program has none"))
			})
		},
		Silent: func(last time.Time, age time.Duration) {
			a.beatChanged(event.WorkerHeartbeat{Last: last, Age: age})
		},
		Back: func(age time.Duration) {
			a.beatChanged(event.WorkerHeartbeat{OK: true, Last: time.Now(), Age: age})
		},
		Dead: func(last time.Time, age time.Duration) {
			a.beatChanged(event.WorkerHeartbeat{Last: last, Age: age, Killed: true})
			a.post(func() {
				if a.Serving() {
					a.cfg.Events.Failed(fault.New(fault.Heartbeat, "it has sent no sign of life for %s", spec.Duration(age.Round(time.Millisecond))))
				}
			})
		},
	})
}

func (a *Attempt) beatChanged(e event.WorkerHeartbeat) {
	a.post(func() {
		if a.cfg.Events.Heartbeat != nil && a.Serving() {
			a.cfg.Events.Heartbeat(e)
		}
	})
}

// watchPulse begins to judge its silence: it is ready. A process that takes part in no
// operations cannot break it.
func (a *Attempt) watchPulse() {
	if a.voice.TakesPart() {
		a.pulse.Watch()
	}
}
