package spec

import (
	"fmt"
	"slices"
)

// RoleWeb is the role of an app that says nothing of it; RoleWorker that of jobs.
// Any other word may be a role too.
const (
	RoleWeb    = "web"
	RoleWorker = "worker"
)

// What a worker may ask of the agent, beyond what concerns its own app (App.Allow).
const (
	AllowStopAgent = "stop_agent" // end the agent itself
	AllowOrders    = "orders"     // start, stop, restart, reload any app
)

// Heartbeat rules how a worker's silence is judged. The worker (its SDK) sends a sign
// of life over its channel every fifth of Interval, once it is ready.
type Heartbeat struct {
	// Interval: a worker that is silent for longer is reported. 0: not watched.
	Interval Duration `json:"interval,omitempty"`
	// Kill: one that is silent for longer is stopped (stop.signal, stop.timeout)
	// and replaced. 0: it is only reported. Not below Interval.
	Kill Duration `json:"kill,omitempty"`
}

// Console is where workers open a console of their own, on order.
type Console struct {
	// Port of slot 0 on 127.0.0.1; that of slot N is N higher. 0: a UNIX socket of
	// the owner's, no port.
	Port int `json:"port,omitempty"`
}

func (h Heartbeat) check(c check) {
	if h.Interval != 0 {
		c.repeats("interval", h.Interval, "10s")
	}
	switch {
	case h.Kill != 0 && h.Interval == 0:
		c.add("interval", "write heartbeat: {interval: 10s, kill: 30s}", "kill needs an interval")
	case h.Kill != 0 && h.Kill < h.Interval:
		c.add("kill", "write at least the interval", "%s is shorter than the interval, %s", h.Kill, h.Interval)
	}
}

func (o Console) check(c check, workers int) {
	if last := o.Port + max(workers, 1) - 1; o.Port != 0 && (o.Port < 1024 || last > 65535) {
		c.add("port", "write 1024 to 65535, with room for every slot", "ports %d to %d are not possible", o.Port, last)
	}
}

// checkOperations looks at what rules the operations of its workers.
func (a App) checkOperations(c check) {
	if !appName.MatchString(a.Role) || len(a.Role) > 63 {
		c.add("role", "write web, worker, or a word of your own of a-z 0-9 . _ -", "%q cannot be a role", a.Role)
	}
	a.Heartbeat.check(c.in("heartbeat"))
	a.Console.check(c.in("console"), a.Workers)
	known := []string{AllowStopAgent, AllowOrders}
	for i, word := range a.Allow {
		if !slices.Contains(known, word) {
			c.oneOf(fmt.Sprintf("allow[%d]", i), word, known...)
		}
	}
}
