package attempt

import (
	"cmp"
	"path/filepath"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Kin are the forks that muster has started for a program that is its own primary
// (room brood). Take is for the goroutine that reads the program's channel, the others
// are for the owner's.
type Kin interface {
	// Take deals with a frame of the program's; mine false: what it returns is a frame
	// like any worker's, and kind what Node calls its descriptor.
	Take(f channel.Frame) (rest channel.Frame, kind string, mine bool)
	// Resume begins: the program runs and can be told of its forks. Those that an
	// earlier agent has recorded are taken up.
	Resume(was *record.Forks)
	// End has every fork leave and end within rules.Timeout, by force when that is 0,
	// and no other begin. done is called when none is left.
	End(rules spec.Stop, done func())
	// Leave ends what is in this process of them, for a successor.
	Leave()
	// Facts are never nil, and the same pointer while they stay the same.
	Facts() *record.Forks
}

// Fork is what is special about a fork of a program's: nobody but the program sends it
// messages, and the program gets those that it sends.
type Fork struct {
	// Line is told each line that it prints; nil: nobody wants them.
	Line func(api.Record)
	// Message prepares to pass a message of it on, with a copy of its descriptor, in
	// the goroutine that hears it; pass does so.
	Message func(data []byte, fds []int, kind string) (pass func())
}

// nodeDir is where Node.js programs find what they load before their own code.
func nodeDir(runDir string) string { return filepath.Join(runDir, "node") }

// clustered: what it, or its forks, listen on is asked of muster.
func (a *Attempt) clustered() bool { return a.node != nil || a.kin != nil }

// Link to a program that has Kin; nil: it has no channel. Waiting is what it has not
// read yet.
func (a *Attempt) Link() (link *nodejs.Link, waiting func() (frames, bytes int)) {
	if a.link == nil {
		return nil, nil
	}
	return a.link, a.channel.Waiting
}

// ServersReady is told by Kin: everything listens that should.
func (a *Attempt) ServersReady() { a.met(need.Servers) }

// Carry sends it a message of its program's; nothing when it has no channel.
func (a *Attempt) Carry(l mail.Letter) error {
	if a.voice == nil {
		return channel.ErrGone
	}
	return a.voice.Carrier().Carry(l)
}

// Waiting is what a fork has not read yet.
func (a *Attempt) Waiting() (frames, bytes int) {
	if a.voice == nil {
		return 0, 0
	}
	return a.voice.Carrier().Waiting()
}

// Disconnect takes a Node.js worker out of every dealing and tells it to disconnect;
// nothing follows when it does not.
func (a *Attempt) Disconnect() {
	if a.node != nil && a.node.member != nil {
		a.node.member.Leave()
	}
}

// forksFirst ends the forks, and then goes on. A tenth of the time is left for that.
func (a *Attempt) forksFirst(rules spec.Stop, then func()) {
	a.endForks(rules, time.Until(a.deadline)*9/10, func() {
		if a.running && a.exit == nil && !a.killed {
			then()
		}
	})
}

// endForks ends those that there are; done is called when there are none.
func (a *Attempt) endForks(rules spec.Stop, within time.Duration, done func()) {
	if a.kin == nil {
		done()
		return
	}
	rules.Timeout = spec.Duration(max(0, within))
	a.kin.End(rules, done)
}

func (a *Attempt) killForks() { a.endForks(a.app.Stop, 0, func() {}) }

func (a *Attempt) leaveForks() {
	if a.kin != nil {
		a.kin.Leave()
	}
}

// beginForks is for a program that has just been started, or (was not nil) adopted.
func (a *Attempt) beginForks(was *record.Forks) {
	if a.kin != nil && (was == nil) == (a.wereForks == nil) {
		a.kin.Resume(cmp.Or(was, &record.Forks{}))
	}
}

// forks are what a successor must know of them.
func (a *Attempt) forks() *record.Forks {
	if a.kin == nil {
		return nil
	}
	return a.kin.Facts()
}

// shown is what the API shows of a program with forks; nil: it has none.
func (a *Attempt) shown() *api.NodeWorker {
	if a.kin == nil {
		return nil
	}
	return a.showKin()
}
