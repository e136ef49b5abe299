package operations

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/muster-run/muster/event"
)

// life is a fact of a worker's life as other workers hear it (S0.2, S0.6).
type life struct {
	App    string `json:"app"`
	Worker string `json:"worker,omitempty"` // of the whole app: absent
	Slot   *int   `json:"slot,omitempty"`   // likewise
	PID    int    `json:"pid,omitempty"`

	Address string `json:"address,omitempty"` // worker:listen
	Port    int    `json:"port,omitempty"`

	Code   *int   `json:"code,omitempty"` // worker:exit
	Signal string `json:"signal,omitempty"`

	Phase event.ReloadPhase `json:"phase,omitempty"` // reload:…
	Done  int               `json:"done,omitempty"`
	Total int               `json:"total,omitempty"`
	Why   string            `json:"why,omitempty"`
}

// lifeOf says which message an event is to workers; "": none.
func lifeOf(e event.Event) (name string, l life) {
	l = life{App: e.App, PID: e.PID}
	if e.Slot != event.NoSlot {
		l.Worker, l.Slot = e.Worker(), &e.Slot
	}
	switch d := e.Data.(type) {
	case event.WorkerState:
		l.Why = d.Why
		return lifeOfState(d.To), l
	case event.WorkerNode:
		l.Address, l.Port = d.Address, d.Port
		return map[string]string{"online": "worker:online", "listening": "worker:listen", "disconnected": "worker:disconnect"}[d.State], l
	case event.WorkerExit:
		code := d.Code
		l.Code, l.Signal = &code, d.Signal
		return "worker:exit", l
	case event.Reload:
		l.Phase, l.Done, l.Total = d.Phase, d.Done, d.Total
		if d.Fault != nil {
			l.Why = strings.TrimPrefix(d.Fault.Where+": "+d.Fault.Text, ": ")
		}
		return lifeOfReload(d.Phase), l
	}
	return "", l
}

func lifeOfState(to event.State) string {
	switch to {
	case event.Starting:
		return "worker:start"
	case event.Ready:
		return "worker:ready"
	case event.Draining:
		return "worker:drain"
	case event.Failed:
		return "worker:failed"
	case event.Stopping, event.Stopped, event.Backoff:
	}
	return ""
}

func lifeOfReload(p event.ReloadPhase) string {
	switch p {
	case event.ReloadDone, event.ReloadFailed, event.ReloadAborted:
		return "reload:end"
	case event.ReloadQueued, event.ReloadBuilding, event.ReloadRunning, event.ReloadReverting:
	}
	return "reload:progress"
}

// lifeBehind is how many events the telling of life may fall behind.
const lifeBehind = 1024

// tellLife publishes the life of workers to those who subscribe to op.LifeChannel,
// until ctx ends. A reader that is too slow for the events goes on with the newest.
func tellLife(ctx context.Context, hub *event.Hub, sub *event.Subscription, publish func(name string, body json.RawMessage)) {
	for {
		stop := context.AfterFunc(ctx, sub.Close)
		for e := range sub.C {
			name, l := lifeOf(e)
			if name == "" {
				continue
			}
			if body, err := json.Marshal(l); err == nil {
				publish(name, body)
			}
		}
		if !stop() || sub.Err() != event.ErrSlow {
			return
		}
		sub = hub.Subscribe(event.Now, lifeBehind)
	}
}
