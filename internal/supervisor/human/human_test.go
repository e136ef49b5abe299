package human

import (
	"strings"
	"testing"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

func TestState(t *testing.T) {
	of := func(states ...event.State) (c Count) {
		for _, s := range states {
			c.Add(Worker{Name: "web#0", State: s, Why: "because"})
			if s != event.Stopped && s != event.Failed && s != event.Backoff {
				c.Live++
			}
		}
		return c
	}
	add := func(c Count, w Worker) Count { c.Add(w); return c }
	awaited, missing := Count{}, of(event.Ready)
	awaited.Awaited(2, "db: ready")
	missing.Missing()
	on := App{Running: true}
	for name, tt := range map[string]struct {
		count Count
		app   App
		want  event.Health
		why   string
	}{
		"all ready":         {of(event.Ready, event.Ready), on, event.Healthy, ""},
		"one is not":        {of(event.Ready, event.Backoff), on, event.Degraded, "because"},
		"one is missing":    {missing, on, event.Degraded, ""},
		"none yet":          {of(event.Starting), on, event.Recovering, "because"},
		"given up":          {of(event.Failed, event.Failed), on, event.AppFailed, "because"},
		"one tries":         {of(event.Failed, event.Backoff), on, event.Recovering, "because"},
		"unwell":            {add(of(), Worker{Name: "web#1", State: event.Ready, Fails: "500"}), on, event.Degraded, "web#1 fails its health check: 500"},
		"completed":         {add(of(), Worker{State: event.Stopped, Ended: true}), on, event.AppStopped, "completed"},
		"no workers":        {of(), on, event.AppStopped, "it has 0 workers"},
		"waits":             {awaited, on, event.Recovering, "waits for db"},
		"stopped":           {of(event.Stopped), App{}, event.AppStopped, ""},
		"being stopped":     {of(event.Draining), App{}, event.Recovering, "because"},
		"a slot is stopped": {of(event.Stopped), on, event.AppStopped, "because"},
		"reload":            {of(event.Ready), App{Running: true, Reloading: "1/2"}, event.Reloading, "1/2"},
		"could not begin":   {of(), App{StartFault: fault.New(fault.DirMissing, "gone")}, event.AppFailed, "gone"},
		"broken":            {of(event.Ready), App{Broken: true}, event.AppFailed, "inside muster"},
	} {
		if got, why := tt.count.State(tt.app); got != tt.want || !strings.Contains(why, tt.why) {
			t.Errorf("%s: %s %q, want %s %q", name, got, why, tt.want, tt.why)
		}
	}
}
