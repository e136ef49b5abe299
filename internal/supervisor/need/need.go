// Package need is what the readiness of a worker waits for: pure rules, no process.
package need

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/spec"
)

// Set is a set of things that readiness still waits for.
type Set uint8

// The things.
const (
	Notify    Set = 1 << iota // READY=1
	Listening                 // a process waits for connections on each listener
	Probe                     // a success of the health check
	Port                      // a process listens on each port
	Output                    // a line that matches
	Alive                     // has lived long enough
	Servers                   // a Node.js worker's servers listen
)

// Of says what ready.mode means for an app.
func Of(app spec.App) Set {
	streams := false
	for _, l := range app.Listen {
		streams = streams || !strings.HasPrefix(l.Network, "udp")
	}
	if app.Type == spec.Task {
		return 0
	}
	switch app.Ready.Mode {
	case spec.ReadyNotify:
		if streams {
			return Notify | Listening
		}
		return Notify
	case spec.ReadyListening:
		return Listening
	case spec.ReadyProbe:
		return Probe
	case spec.ReadyPort:
		return Port
	case spec.ReadyOutput:
		return Output
	case spec.ReadyAlive:
		return Alive
	}
	var n Set
	if streams {
		n |= Listening
	}
	if app.Health != nil {
		n |= Probe
	}
	if n == 0 && len(app.Ports) > 0 {
		n |= Port
	}
	if n == 0 {
		n |= Alive
	}
	return n
}

// OfCluster is Of for a Node.js worker: what it listens on is asked of
// muster, so nobody needs to look at sockets.
func OfCluster(app spec.App) Set {
	n := Of(app)
	if app.Type == spec.Task {
		return n
	}
	if n&(Listening|Port) != 0 || app.Ready.Mode == spec.ReadyAuto {
		n |= Servers
	}
	if app.Ready.Mode == spec.ReadyAuto {
		n &^= Alive
	}
	return n &^ (Listening | Port)
}

// AliveFor is how long a worker must live to count as alive.
func AliveFor(app spec.App) time.Duration {
	if app.Ready.For > 0 {
		return app.Ready.For.D()
	}
	return time.Second
}

// names are the words of a record.
func names() map[Set]string {
	return map[Set]string{
		Notify: "notify", Listening: "listening", Probe: "probe",
		Port: "port", Output: "output", Alive: "alive", Servers: "servers",
	}
}

// Words is the set as a record has it.
func (n Set) Words() string {
	if n == 0 {
		return ""
	}
	var words []string
	for bit, word := range names() {
		if n&bit != 0 {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// In is the inverse of Words; a word that is not known is not waited for.
func In(words string) (n Set) {
	for bit, word := range names() {
		if slices.Contains(strings.Split(words, ","), word) {
			n |= bit
		}
	}
	return n
}

// Missing says in words what has not come.
func (n Set) Missing(app spec.App) string {
	var names, words []string
	for _, l := range app.Listen {
		names = append(names, l.Address)
	}
	for _, m := range []struct {
		one  Set
		text string
	}{
		{Notify, "no READY=1 came"},
		{Listening, "no process of it waits for connections on " + strings.Join(names, ", ")},
		{Probe, "the health check never passed"},
		{Port, "no process of it listens on its ports"},
		{Output, fmt.Sprintf("no line matched %q", app.Ready.Pattern)},
		{Servers, "no server of it listens, or not all of them"},
		{Alive, "it had not lived for " + spec.Duration(AliveFor(app)).String()},
	} {
		if n&m.one != 0 {
			words = append(words, m.text)
		}
	}
	return strings.Join(words, "; ")
}
