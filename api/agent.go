package api

import (
	"time"

	"github.com/muster-run/muster/fault"
)

// AgentHeader carries the identity of one run of an agent in its answers. A
// reader of events that resumes sends it back, so that an agent that was
// started in between knows that the sequence numbers are not its own.
const AgentHeader = "Muster-Agent"

// Agent says who answers on the control socket.
type Agent struct {
	// Version of muster, and of the wire format.
	Version string `json:"version"`
	API     int    `json:"api"`
	PID     int    `json:"pid"`
	// Instance is random, one per run of an agent.
	Instance string `json:"instance"`
}

// Done is the answer of an order that has nothing else to say.
type Done struct {
	// Took is how long it took, in nanoseconds.
	Took time.Duration `json:"took"`
}

// Failure is the body of every answer whose status is 400 or more. Answers to
// orders on workers and to apply hold their results beside it.
type Failure struct {
	Error *fault.Fault `json:"error"`
}
