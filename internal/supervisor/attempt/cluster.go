package attempt

import (
	"maps"
	"strings"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/internal/supervisor/voice"
)

const (
	// serversPatience is how long a worker may take to listen where its predecessor
	// does, once everything that it has asked for listens.
	serversPatience = 5 * time.Second
	// leavePatience is how long a worker that has left its channel may live on
	// before it gets the stop signal, when it was told to stop.
	leavePatience = 200 * time.Millisecond
	// alonePatience is the same for one that nobody has told to.
	alonePatience = 5 * time.Second
)

// cluster is the Node.js side of a process: its place among the workers of its
// app's cluster. It belongs to the owner's goroutine, but for what hears.
type cluster struct {
	member *primary.Member // nil: there is no channel
	ear    *handoff.Ear
	last   *record.Node // what was recorded last; never changed

	cut    bool        // it has been judged for what it said
	turns  bool        // its main script has run
	slack  *time.Timer // for what its predecessor listened on
	others func() (keys []string, any bool)
}

func newCluster(cfg Config) *cluster {
	if cfg.Primary == nil {
		return nil
	}
	return &cluster{last: &record.Node{}, others: cfg.Before}
}

// join makes the process a member of its app's cluster, and hears it from now on.
// was is what an earlier agent has recorded of it; nil: it is new.
func (a *Attempt) join(was *record.Node) {
	c, conn := a.node, a.channel
	link := nodejs.NewLink(conn.Send, a.cfg.Shared.Loop.NextID)
	link.Count = a.cfg.Shared.counters.Odd
	a.becomeMember(link, was)
	if was != nil && was.Gone {
		a.strike()
		return
	}
	a.speak(mail.Node{Link: link, Conn: conn})
	member := c.member
	c.ear = a.cfg.Shared.Loop.Hear(conn, handoff.Hearing{
		First: func(f channel.Frame) bool { return member.First(f.Data) },
		Once:  a.voice.First,
		Rest:  a.rest,
		End:   a.hungUp,
	})
}

func (a *Attempt) becomeMember(link *nodejs.Link, was *record.Node) {
	a.node.member = a.cfg.Primary.Join(primary.Joining{
		ID: a.name(), Slot: a.cfg.Worker.Slot, Link: link, Was: was,
		Events: primary.Events{
			Online:    a.online,
			Listening: func(s primary.Server) { a.tell("listening", s) },
		},
	})
}

// goOn takes up what an earlier agent waited for of a worker that is to serve: its
// servers, for which the time of a worker without any begins anew, or its end.
func (a *Attempt) goOn(alive time.Duration) {
	if a.node == nil {
		return
	}
	facts := a.node.facts()
	switch {
	case facts.Gone:
		later(alonePatience, func() { a.post(a.alone) })
	case facts.Online:
		a.awaitServers(alive)
		a.serversChanged()
	}
}

// rest deals with a frame that is not urgent, in the goroutine of the channel's ear.
// It returns once what it means is recorded: the frame leaves the socket then.
func (a *Attempt) rest(f channel.Frame) {
	if !strings.HasPrefix(channel.Command(f.Data), "NODE_") {
		a.voice.Rest(a.life, f, "")
		return
	}
	msg, err := a.node.member.Take(f)
	if err != nil {
		a.settled(func() { a.judgeChannel(err) })
		return
	}
	if msg.Kind != nodejs.Handle {
		voice.CloseAll(f.FDs) // no other frame has any
		a.settled(func() {
			a.node.member.Heard(msg, nil)
			a.serversChanged()
		})
		return
	}
	a.voice.Message(msg.Msg, f.FDs, msg.Type)
	a.voice.Keep(a.life, len(f.Data))
}

// judgeChannel: what it said is not what Node.js says, so nothing that it says can
// be relied on.
func (a *Attempt) judgeChannel(err error) {
	if a.node.cut {
		return
	}
	a.node.cut = true
	a.cfg.Events.Torn(fault.New(fault.BadChannel, "it sent a frame that cannot be understood: %w", err))
}

// hungUp: nothing more comes from its channel.
func (a *Attempt) hungUp(err error) {
	a.voice.Ended(err, a.life.Err() == nil)
	a.post(func() {
		a.gone()
		switch {
		case a.stopping:
			a.sendSoon(leavePatience)
		case a.Serving():
			later(alonePatience, func() { a.post(a.alone) })
		}
	})
}

// gone: connections that it has not answered for go to others.
func (a *Attempt) gone() {
	c := a.node
	if c.member == nil || c.facts().Gone {
		return
	}
	c.member.Gone()
	a.tell("disconnected", primary.Server{})
}

// alone: it lives on without a channel, and nobody has told it to end.
func (a *Attempt) alone() {
	if a.Serving() {
		a.cfg.Events.Torn(fault.New(fault.NoChannel, "it has left its channel and lives on, so no connection can reach it"))
	}
}

// tell publishes a change of its state in Node's words.
func (a *Attempt) tell(state string, s primary.Server) {
	if a.cfg.Events.Node == nil {
		return
	}
	a.cfg.Events.Node(event.WorkerNode{
		ID: a.cfg.Number, State: state, Address: s.Address, Port: s.Port, AddressType: s.Type,
		ExitedAfterDisconnect: a.AfterDisconnect(),
	})
}

// online: Node.js has come up in it, and its main script begins.
func (a *Attempt) online() {
	a.tell("online", primary.Server{})
	a.awaitServers(need.AliveFor(a.app))
}

// serversChanged looks whether everything listens that should. What its predecessor
// listens on it must, too, but not for ever: a new release may have another port.
func (a *Attempt) serversChanged() {
	servers := a.node.facts().Servers
	if a.needs&need.Servers == 0 || len(servers) == 0 || !allListen(servers) {
		return
	}
	switch {
	case len(a.node.missing()) == 0:
		a.met(need.Servers)
	case a.node.slack == nil:
		a.node.slack = later(serversPatience, func() { a.post(a.withoutSome) })
	}
}

// missing are the servers of its predecessor that it does not have.
func (c *cluster) missing() (keys []string) {
	mine := c.facts().Servers
	before, _ := c.others()
	for _, key := range before {
		if !mine[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

// withoutSome: it listens, but not on everything that its predecessor does.
func (a *Attempt) withoutSome() {
	a.node.slack = nil
	if !a.starting() || a.needs&need.Servers == 0 {
		return
	}
	if missing := a.node.missing(); len(missing) > 0 {
		a.cfg.Events.Warned(fault.New(fault.ListenPID, "it does not listen on %s, as the worker before it does", strings.Join(missing, ", ")).
			WithFix("nothing, when the release is to have other addresses"))
	}
	if allListen(a.node.facts().Servers) {
		a.met(need.Servers)
	}
}

// allListen says so of all servers.
func allListen(servers map[string]bool) bool {
	for _, listens := range servers {
		if !listens {
			return false
		}
	}
	return true
}

// facts are what a successor must know; the same pointer while they stay the same.
func (c *cluster) facts() *record.Node {
	if c == nil {
		return nil
	}
	if c.member != nil {
		if now := c.member.Facts(); !same(*now, *c.last) {
			c.last = now
		}
	}
	return c.last
}

func same(a, b record.Node) bool {
	return a.Online == b.Online && a.Asked == b.Asked && a.Left == b.Left && a.Gone == b.Gone && maps.Equal(a.Servers, b.Servers)
}

// leave begins the end of a worker in Node's way: no new connection, and it is told
// to finish those that it has. false: there is nobody to tell.
func (a *Attempt) leave() bool {
	if a.node == nil || a.node.member == nil {
		return false
	}
	facts := a.node.facts()
	if !facts.Online {
		return false
	}
	if !facts.Left {
		a.node.member.Leave()
	}
	if facts.Gone {
		a.sendSoon(leavePatience)
	} else {
		a.sendLast()
	}
	return true
}

// quit gives up its place: what it has not answered goes to others.
func (a *Attempt) quit() {
	a.standUp()
	if a.node == nil {
		return
	}
	a.gone()
	a.cfg.After(a.node.deafen)
}

// deafen ends the hearing.
func (c *cluster) deafen() {
	if c != nil && c.ear != nil {
		c.ear.Close()
	}
}

// silence ends its timers.
func (c *cluster) silence() {
	if c != nil && c.slack != nil {
		c.slack.Stop()
	}
}

// AfterDisconnect: it was asked to leave its cluster, or has asked for it itself
// (exitedAfterDisconnect in Node's words).
func (a *Attempt) AfterDisconnect() bool {
	facts := a.node.facts()
	return facts != nil && (facts.Asked || facts.Left)
}

// LeftByItself: a worker that was ready has left its cluster by its own wish
// (cluster.worker.disconnect), and nobody had told it to stop.
func (a *Attempt) LeftByItself() bool {
	return a.node != nil && !a.stopping && !a.readyAt.IsZero() && a.node.facts().Asked && time.Since(a.readyAt) > time.Second
}

// Servers are what it listens on, by the keys of its app's cluster.
func (a *Attempt) Servers() (keys []string) {
	if a.kin != nil {
		return a.kin.Facts().Servers()
	}
	facts := a.node.facts()
	if facts == nil {
		return nil
	}
	for key, listens := range facts.Servers {
		if listens {
			keys = append(keys, key)
		}
	}
	return keys
}

// Node is its state as the API shows it; nil: it is no worker of a cluster.
func (a *Attempt) Node() *api.NodeWorker {
	c := a.node
	if c == nil {
		return a.shown()
	}
	facts := c.facts()
	v := &api.NodeWorker{State: "none"}
	if facts.Online {
		v.State = "online"
	}
	if c.member != nil {
		v.Listening, v.Dealt = c.member.Listening(), c.member.Dealt()
	}
	if len(v.Listening) > 0 {
		v.State = "listening"
	}
	if facts.Gone {
		v.State, v.Listening = "disconnected", nil
	}
	return v
}
