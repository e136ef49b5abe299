package attempt

import (
	"fmt"
	"time"

	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/need"
)

// awaitServers: a worker that asks for no server has none, unless others of its app
// have. It gets a while for that, and the while begins when its main script has run:
// that is when it answers, as its channel is read between the script's turns only. At
// the end of the while it is asked again: what a script had still to load, after it had
// waited for something, is loaded then.
func (a *Attempt) awaitServers(while time.Duration) {
	a.turned(func() {
		a.node.turns = true
		later(while, func() { a.post(func() { a.turned(a.withoutServers) }) })
	})
}

// turned calls then, in the owner's goroutine, when the worker has come to a ping. One
// that cannot be asked is taken to have.
func (a *Attempt) turned(then func()) {
	if !a.Serving() {
		return
	}
	step := func() { a.post(then) }
	if a.node.member == nil || a.node.member.Ping(step) != nil {
		step()
	}
}

func (a *Attempt) withoutServers() {
	if _, any := a.node.others(); !any && len(a.node.facts().Servers) == 0 {
		a.met(need.Servers)
	}
}

// lacks says in words what has not come.
func (a *Attempt) lacks() string {
	text := a.needs.Missing(a.app)
	if a.needs&need.Servers == 0 || a.node == nil {
		return text
	}
	why, foreign := launch.Dealt(a.app)
	switch online := a.node.facts().Online; {
	case foreign && !online:
		text += fmt.Sprintf("; it has not said that it takes connections from muster, which %s asks for:"+
			" a Go program does by worker.Listen and Accept; for any other one write slots or shared", why)
	case !foreign && online && !a.node.turns:
		text += "; its main script has not come to its end"
	}
	return text
}
