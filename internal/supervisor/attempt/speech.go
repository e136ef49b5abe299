package attempt

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/supervisor/crash"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/voice"
	"github.com/muster-run/muster/spec"
)

// lines are the channels of this agent's processes.
func (s *Shared) lines() voice.Lines {
	return voice.Lines{Store: s.Store, Pair: s.Sys.Channel, Counters: &s.counters}
}

// Channels are the counts so far.
func (s *Shared) Channels() voice.Channels { return s.counters.Channels(s.Mail.Counts()) }

// listen hears what the worker says, until the channel ends. was is what is recorded
// of a Node.js worker; nil: it is new, or none.
func (a *Attempt) listen(was *record.Node) {
	conn := a.channel
	switch {
	case conn == nil:
		a.strike()
		return
	case a.node != nil:
		a.join(was)
		return
	case a.kin != nil:
		a.link = nodejs.NewLink(conn.Send, a.cfg.Shared.Loop.NextID)
		a.speak(mail.Node{Link: a.link, Conn: conn})
	default:
		a.speak(mail.Plain{Conn: conn})
	}
	v, life := a.voice, a.life
	if a.heardByLoop() {
		a.ear = a.cfg.Shared.Loop.Hear(conn, handoff.Hearing{
			Once: v.First,
			Rest: func(f channel.Frame) { v.Rest(life, f, "") },
			End:  func(err error) { v.Ended(err, life.Err() == nil) },
		})
		return
	}
	var take voice.Taker
	if a.kin != nil {
		take = a.kin.Take
	}
	a.cfg.Shared.Errands.Go(func() { v.Listen(life, take) })
}

// heardByLoop says that the thread that hears Node.js workers hears it, too: that costs
// less than a goroutine which waits. A program that is its own primary has a Taker, which
// may wait.
func (a *Attempt) heardByLoop() bool { return a.starter().driven() }

// driven is heardByLoop, or that it is a Node.js worker: who opens its channel must know.
func (s starter) driven() bool {
	return s.cfg.Primary != nil || s.shared.Loop != nil && s.shared.Exchange != nil && !s.delegates
}

// speak makes its Voice, before the channel is read.
func (a *Attempt) speak(c mail.Carrier) {
	o := voice.Options{
		ID: a.id, Conn: a.channel, Lines: a.cfg.Shared.lines(), Office: &a.cfg.Shared.Mail,
		Box:  mail.Box{App: a.app.Name, Role: a.app.Role, Tags: a.app.Tags, Slot: a.cfg.Worker.Slot, Carrier: c},
		Post: a.post, Settled: a.settled, Clustered: a.clustered(), Adopted: a.adopted,
		Events: voice.Events{
			Ready: func() { a.met(need.Notify) }, Status: a.cfg.Events.Status, Said: a.cfg.Events.Said, Warned: a.cfg.Events.Warned,
			Beat: a.pulse.Beat, Crashed: a.crashed, Told: a.cfg.Events.Told,
		},
	}
	if fork := a.cfg.Fork; fork != nil {
		o.Pass = func(data []byte, fds []int, kind string) func() {
			pass := fork.Message(data, fds, kind)
			return func() { a.cfg.After(pass) }
		}
	} else {
		o.Exchange, o.Party = a.cfg.Shared.Exchange, a.party()
	}
	a.voice = voice.New(o, a.proc.PID)
}

// party is the process as one that takes part in operations.
func (a *Attempt) party() op.Party {
	app := a.app
	return op.Party{
		ID: a.id, App: app.Name, Role: app.Role, Tags: app.Tags, Slot: a.cfg.Worker.Slot, Name: a.name(),
		Allow: app.Allow, Settings: a.settings(),
	}
}

// settings are what it acts on, as its app has them now.
func (a *Attempt) settings() op.Settings {
	s := op.Settings{HeartbeatMS: a.app.Heartbeat.Interval.D().Milliseconds()}
	if dir := a.cfg.Shared.ownDir(a.id); isDir(dir) {
		s.ConsoleDir = dir
	}
	if port := a.app.Console.Port; port != 0 {
		s.ConsolePort = port + a.cfg.Worker.Slot
	}
	return s
}

// Change takes over what of its app may change under a running process, and tells the
// process of it: changes has one line each, with secrets masked.
func (a *Attempt) Change(app spec.App, changes []string) {
	a.app.Heartbeat, a.app.Console, a.app.Allow = app.Heartbeat, app.Console, app.Allow
	a.pulse.Change(app.Heartbeat)
	if a.voice == nil {
		return
	}
	s := a.settings()
	s.Changes = changes
	a.voice.Changed(s, app.Allow)
}

// strike: it cannot take part in operations any more, as an earlier agent has had it.
func (a *Attempt) strike() {
	if a.adopted && a.cfg.Fork == nil {
		voice.Strike(a.cfg.Shared.Exchange, a.party())
	}
}

// name is "web#2".
func (a *Attempt) name() string { return fmt.Sprintf("%s#%d", a.app.Name, a.cfg.Worker.Slot) }

// openBox lets others speak to it: once it runs, and until it is told to end (closeBox).
func (a *Attempt) openBox() {
	if a.voice != nil && a.Serving() && a.cfg.Fork == nil {
		a.voice.Open(a.proc.PID)
	}
}

func (a *Attempt) closeBox() {
	if a.voice != nil {
		a.voice.Close(a.proc.PID)
	}
}

// crashed: its own code has failed, and its end follows.
func (a *Attempt) crashed(c event.WorkerCrash) {
	a.crash = crash.Brief(c)
	if a.cfg.Events.Crashed != nil {
		a.cfg.Events.Crashed(c)
	}
}

// Crash is what it has said of its own end; nil: nothing.
func (a *Attempt) Crash() *event.WorkerCrash { return a.crash }

// settled runs a step in the owner's goroutine and waits until it is recorded. false:
// the owner has ended.
func (a *Attempt) settled(step func()) bool {
	done := make(chan struct{})
	posted := a.cfg.Post(func() {
		if !a.closed {
			step()
		}
		a.cfg.After(func() { close(done) })
	})
	if !posted {
		return false
	}
	select {
	case <-done:
		return true
	case <-a.life.Done():
		return false
	}
}

// hangUp closes the channel; for a successor, with what is on its way sent before.
func (a *Attempt) hangUp(forSuccessor bool) {
	switch {
	case a.channel == nil:
	case a.voice == nil:
		_ = a.channel.Close()
	case forSuccessor:
		a.voice.HandOver()
	default:
		a.voice.HangUp()
	}
}

// ownDir is a directory of the process's own, for sockets of its own.
func (s *Shared) ownDir(id string) string { return filepath.Join(s.RunDir, ownDirs, short(id)) }

// ownDirs holds the directories that belong to processes.
const ownDirs = "c"

// socketRoom is what must be left of a socket's path for the name in a directory, of the
// 104 bytes that there are.
const socketRoom = 24

// makeOwnDir makes it, for nobody but the process's user. A process without it can do
// all but open a console.
func (s *Shared) makeOwnDir(id string, uid, gid int) {
	dir := s.ownDir(id)
	if s.Exchange == nil || len(dir) > 104-socketRoom || os.Mkdir(dir, 0o700) != nil {
		return
	}
	if uid != os.Geteuid() && os.Chown(dir, uid, gid) != nil {
		_ = os.Remove(dir)
	}
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
