package attempt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/spec"
)

// need is a set of things that readiness still waits for.
type need uint8

const (
	needNotify    need = 1 << iota // READY=1
	needListening                  // a process waits for connections on each listener
	needProbe                      // a success of the health check
	needPort                       // a process listens on each port
	needOutput                     // a line that matches
	needAlive                      // has lived long enough
	needServers                    // a Node.js worker's servers listen
)

// needsOf says what ready.mode means for an app.
func needsOf(app spec.App) need {
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
			return needNotify | needListening
		}
		return needNotify
	case spec.ReadyListening:
		return needListening
	case spec.ReadyProbe:
		return needProbe
	case spec.ReadyPort:
		return needPort
	case spec.ReadyOutput:
		return needOutput
	case spec.ReadyAlive:
		return needAlive
	}
	var n need
	if streams {
		n |= needListening
	}
	if app.Health != nil {
		n |= needProbe
	}
	if n == 0 && len(app.Ports) > 0 {
		n |= needPort
	}
	if n == 0 {
		n |= needAlive
	}
	return n
}

// wanted is what readiness waits for.
func (a *Attempt) wanted() need {
	if a.node != nil {
		return clusterNeeds(a.app)
	}
	return needsOf(a.app)
}

// clusterNeeds is needsOf for a Node.js worker: what it listens on is asked of
// muster, so nobody needs to look at sockets.
func clusterNeeds(app spec.App) need {
	n := needsOf(app)
	if app.Type == spec.Task {
		return n
	}
	if n&(needListening|needPort) != 0 || app.Ready.Mode == spec.ReadyAuto {
		n |= needServers
	}
	if app.Ready.Mode == spec.ReadyAuto {
		n &^= needAlive
	}
	return n &^ (needListening | needPort)
}

func aliveFor(app spec.App) time.Duration {
	if app.Ready.For > 0 {
		return app.Ready.For.D()
	}
	return time.Second
}

// needNames are the words of a record.
func needNames() map[need]string {
	return map[need]string{
		needNotify: "notify", needListening: "listening", needProbe: "probe",
		needPort: "port", needOutput: "output", needAlive: "alive", needServers: "servers",
	}
}

// words is the set as a record has it.
func (n need) words() string {
	if n == 0 {
		return ""
	}
	var words []string
	for bit, word := range needNames() {
		if n&bit != 0 {
			words = append(words, word)
		}
	}
	slices.Sort(words)
	return strings.Join(words, ",")
}

// needsIn is the inverse of words; a word that is not known is not waited for.
func needsIn(words string) (n need) {
	for bit, word := range needNames() {
		if slices.Contains(strings.Split(words, ","), word) {
			n |= bit
		}
	}
	return n
}

// missing says in words what has not come.
func (n need) missing(app spec.App) string {
	var names, words []string
	for _, l := range app.Listen {
		names = append(names, l.Address)
	}
	for _, m := range []struct {
		need need
		text string
	}{
		{needNotify, "no READY=1 came"},
		{needListening, "no process of it waits for connections on " + strings.Join(names, ", ")},
		{needProbe, "the health check never passed"},
		{needPort, "no process of it listens on its ports"},
		{needOutput, fmt.Sprintf("no line matched %q", app.Ready.Pattern)},
		{needServers, "no server of it listens, or not all of them"},
		{needAlive, "it had not lived for " + spec.Duration(aliveFor(app)).String()},
	} {
		if n&m.need != 0 {
			words = append(words, m.text)
		}
	}
	return strings.Join(words, "; ")
}
