package primary

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/record"
)

// Joining is a worker that becomes a Member.
type Joining struct {
	// ID is its name for people, Slot its place in the pool.
	ID   string
	Slot int
	Link *nodejs.Link
	// Offered are the declared listeners that this worker inherits, in the order of
	// its descriptors; nil: what was offered last before Join.
	Offered []Offered
	Events  Events
	// Was is what an earlier agent knew of it; nil: it is new.
	Was *record.Node
}

// Events are what a Member tells of its worker, in the goroutine of the Primary. Any
// may be nil.
type Events struct {
	// Online: it runs and speaks the protocol. Once.
	Online func()
	// Listening: a server of it listens. Once for each.
	Listening func(Server)
	// Closed: it has closed the server with this key.
	Closed func(key string)
	// Asked: it wants to leave by itself (exitedAfterDisconnect). Once.
	Asked func()
}

// Server is one that listens, as the worker says it.
type Server struct {
	Key     string
	Address string // "": every one
	Port    int    // -1: Address is a path
	Type    string // 4, 6, -1, udp4 or udp6
}

// Member is one Node.js worker. See the package for which goroutine it belongs to.
type Member struct {
	p       *Primary
	j       Joining
	servers map[string]*place
	facts   record.Node // but for Servers
	again   bool        // the next message may be one that the agent before dealt with
	told    map[string]bool
	dealt   atomic.Uint64

	mu     sync.Mutex
	chairs []*chair // those at which connections may be under way
}

// place is what a member has of a server.
type place struct {
	server  *server
	listens bool
	chair   *chair // nil: nothing is dealt
	// lost: the socket did not reach the worker, who was told so.
	lost atomic.Bool
}

// Join takes in a worker whose channel is about to be heard. One that an earlier agent
// knew gets its connections from now on.
func (p *Primary) Join(j Joining) *Member {
	if j.Offered == nil {
		j.Offered = p.offered
	}
	m := &Member{p: p, j: j, servers: map[string]*place{}, told: map[string]bool{}}
	p.members[m] = true
	j.Link.Strange = func(what string) {
		p.o.Warn(j.ID, fault.New(fault.NodeFrame, "its channel: %s", what).At(j.ID))
	}
	if j.Was == nil {
		return m
	}
	m.facts, m.again = *j.Was, true
	m.facts.Servers = nil
	if m.facts.Gone {
		return m
	}
	_ = j.Link.Adopt() // it fails when the worker has gone: its end says so
	for _, key := range slices.Sorted(maps.Keys(j.Was.Servers)) {
		m.resume(key, j.Was.Servers[key])
	}
	return m
}

// resume gives an adopted worker its place back.
func (m *Member) resume(key string, listens bool) {
	s := m.p.declared[key]
	for _, a := range m.p.asked {
		if a.was.Key == key {
			s = a
		}
	}
	if s == nil {
		m.odd("its listener " + key + " is lost")
		return
	}
	pl := &place{server: s, listens: listens}
	m.servers[key] = pl
	s.users++
	if m.serving() {
		m.sit(pl)
	}
}

// serving: it may be given connections.
func (m *Member) serving() bool { return !m.facts.Left && !m.facts.Asked && !m.facts.Gone }

// Heard deals with a message of the worker's, which Take has seen. fds came with it.
// false: it is not the primary's affair (a message of user code with a socket), and
// fds stay the caller's; otherwise they are closed.
func (m *Member) Heard(msg nodejs.Message, fds []int) bool {
	if msg.Kind == nodejs.Handle {
		return false
	}
	defer closeAll(fds)
	again := m.again
	m.again = false
	if m.facts.Gone || m.j.Link.Heard(msg) {
		return true
	}
	switch msg.Kind {
	case nodejs.Online:
		m.online()
	case nodejs.QueryServer:
		m.query(msg, again)
	case nodejs.Listening:
		m.listening(msg.Query)
	case nodejs.Close:
		m.closed(msg.Key, again)
	case nodejs.ExitedAfterDisconnect:
		m.leaves(msg.Seq)
	default:
		m.odd("it says " + strconv.Quote(msg.Name[:min(len(msg.Name), 40)]) + ", which muster does not know")
	}
	return true
}

func (m *Member) online() {
	if !m.facts.Online && m.j.Events.Online != nil {
		m.j.Events.Online()
	}
	m.facts.Online = true
}

// query answers queryServer. One that leaves gets no answer, as from Node.
func (m *Member) query(msg nodejs.Message, again bool) {
	m.online()
	if !m.serving() {
		return
	}
	if again {
		if key, _, err := name(msg.Query, m.j.Offered); err == nil {
			if pl := m.servers[key]; pl != nil && !pl.listens {
				// The agent before recorded it, and may have died before the answer. A
				// second answer does no harm.
				m.p.o.After(func() { m.answer(msg.Seq, pl) })
				return
			}
		}
	}
	s, err := m.p.serve(m, msg.Query)
	if err != nil {
		m.tell("cannot listen: "+keyOf(msg.Query), fault.From(err).At(m.j.ID))
		m.p.o.After(func() {
			_ = m.j.Link.Answer(nodejs.Answer{Seq: msg.Seq, Errno: errno(err), Key: keyOf(msg.Query), Data: msg.Query.Data})
		})
		return
	}
	if s.was.Data == nil {
		s.was.Data = msg.Query.Data
	}
	pl := &place{server: s}
	m.servers[s.was.Key] = pl
	s.users++
	m.p.o.After(func() { m.answer(msg.Seq, pl) })
}

// answer says where it listens, and lets connections come. It fails only when the
// worker is gone, which its end says, too.
func (m *Member) answer(seq int64, pl *place) {
	s := pl.server
	if !m.serving() || m.servers[s.was.Key] != pl {
		return
	}
	a := nodejs.Answer{Seq: seq, Key: s.was.Key, Data: s.was.Data, Hand: s.hands()}
	if !a.Hand {
		a.Sockname = s.sockname()
		_ = m.j.Link.Answer(a)
		m.sit(pl)
		return
	}
	a.Lost = func() { // on the loop's thread
		pl.lost.Store(true)
		_ = m.j.Link.Answer(nodejs.Answer{Seq: seq, Key: a.Key, Data: a.Data, Errno: int(unix.EMFILE)})
	}
	file := s.file(m.j.Slot)
	err := errors.New("there is no socket")
	if file != nil {
		err = control(file, func(fd int) error { a.FD = fd; return m.j.Link.Answer(a) })
	}
	if err != nil {
		m.drop(pl)
		_ = m.j.Link.Answer(nodejs.Answer{Seq: seq, Key: a.Key, Data: a.Data, Errno: int(unix.EINVAL)})
		return
	}
	m.sit(pl)
}

// sit takes a seat at the Door of a server, if it has one.
func (m *Member) sit(pl *place) {
	s := pl.server
	if s.door == nil || pl.chair != nil {
		return
	}
	pl.chair = sit(s.door, m.j.Slot, &chair{link: m.j.Link, key: s.was.Key, dealt: &m.dealt})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.chairs = append(m.chairs, pl.chair)
}

// listening notes that a server listens.
func (m *Member) listening(q nodejs.Query) {
	m.online()
	pl := m.placeOf(q)
	switch {
	case pl == nil:
		m.odd("it listens on what it has not asked for")
	case !pl.listens:
		pl.listens = true
		if m.j.Events.Listening != nil {
			m.j.Events.Listening(Server{Key: pl.server.was.Key, Address: q.Address, Port: q.Port, Type: q.Type})
		}
	}
}

// placeOf finds the server that listens: its message has no key, and the real port.
func (m *Member) placeOf(q nodejs.Query) *place {
	if key, _, err := name(q, m.j.Offered); err == nil && m.servers[key] != nil {
		return m.servers[key]
	}
	asked := q
	asked.Port = 0
	if pl := m.servers[keyOf(asked)]; pl != nil {
		if at := pl.server.sockname(); at != nil && at.Port == q.Port {
			return pl
		}
	}
	return nil
}

// closed: it has closed a server. What it closes while it leaves it would need again.
func (m *Member) closed(key string, again bool) {
	pl := m.servers[key]
	if pl == nil {
		if !again && m.serving() {
			m.odd("it closes a server that it does not have")
		}
		return
	}
	m.drop(pl)
	if m.serving() {
		m.p.closed(pl.server)
	}
	if m.j.Events.Closed != nil {
		m.j.Events.Closed(key)
	}
}

// drop takes a place away; what is under way to it may still be answered.
func (m *Member) drop(pl *place) {
	delete(m.servers, pl.server.was.Key)
	pl.server.users--
	if pl.chair != nil {
		pl.chair.at().Leave()
	}
}

// lost drops a place whose socket did not arrive.
func (m *Member) lost(pl *place) bool {
	if !pl.lost.Load() {
		return false
	}
	m.drop(pl)
	return true
}

// leaves: it ends by itself, and waits for leave to do so.
func (m *Member) leaves(seq int64) {
	first := !m.facts.Asked
	m.facts.Asked = true
	m.stand()
	m.p.o.After(func() { _ = m.j.Link.Acknowledge(seq) }) // fails when it has gone already
	if first && m.j.Events.Asked != nil {
		m.j.Events.Asked()
	}
}

// Leave takes the worker out of every dealing and tells it to disconnect: it closes its
// servers, finishes its connections and ends its channel. Only the first call counts.
func (m *Member) Leave() {
	if m.facts.Left || m.facts.Gone {
		return
	}
	m.facts.Left = true
	m.stand()
	m.p.o.After(func() { _ = m.j.Link.Disconnect() }) // fails when it has gone already
}

// stand has it get no more connections.
func (m *Member) stand() {
	for _, pl := range m.servers {
		if pl.chair != nil {
			pl.chair.at().Leave()
		}
	}
}

// Ping has alive called, on the loop's thread, when the worker's own event loop has come
// to what was asked. On an error it never is.
func (m *Member) Ping(alive func()) error { return m.j.Link.Ping(alive) }

// Gone: the worker's channel has ended, and all that it said was heard. What it has not
// answered goes to others. Only the first call counts.
func (m *Member) Gone() {
	delete(m.p.members, m)
	m.facts.Gone = true
	for _, pl := range m.servers {
		pl.server.users--
	}
	m.mu.Lock()
	chairs := m.chairs
	m.chairs = nil
	m.mu.Unlock()
	for _, c := range chairs {
		c.at().Gone()
	}
	m.facts.Servers = m.keys()
	clear(m.servers)
}

// keys are its servers, and whether they listen.
func (m *Member) keys() map[string]bool {
	var keys map[string]bool
	for key, pl := range m.servers {
		if keys == nil {
			keys = map[string]bool{}
		}
		keys[key] = pl.listens
	}
	return keys
}

// Facts are what a successor's Joining.Was needs.
func (m *Member) Facts() *record.Node {
	facts := m.facts
	if !facts.Gone {
		facts.Servers = m.keys()
	}
	return &facts
}

// Listening are the servers that listen, for people, sorted: "tcp://:8000 (slots)".
func (m *Member) Listening() []string {
	var list []string
	for _, pl := range m.servers {
		if pl.listens {
			list = append(list, pl.server.text())
		}
	}
	slices.Sort(list)
	return list
}

// Dealt counts the connections that it has taken from muster. Safe for concurrent use.
func (m *Member) Dealt() uint64 { return m.dealt.Load() }

// odd warns of something that cannot be meant.
func (m *Member) odd(what string) {
	m.tell(what, fault.New(fault.NodeFrame, "%s", what).At(m.j.ID))
}

// tell warns once of what it is about, however often a worker does it.
func (m *Member) tell(about string, f *fault.Fault) {
	if len(m.told) >= tellMax || m.told[about] {
		return
	}
	m.told[about] = true
	m.p.o.Warn(m.j.ID, f)
}

// tellMax is how many warnings a worker is worth.
const tellMax = 10

// First deals with the frames that are for the thread of the loop. false: it is another
// one.
func (m *Member) First(data []byte) bool {
	if m.j.Link.First(data) {
		return true
	}
	open, ok := nodejs.Connections(data)
	if !ok {
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.chairs {
		c.at().Load(open)
	}
	return true
}

// Take reads a frame whose channel.Command begins with NODE_, and acknowledges its
// descriptor if it should have one. It belongs between the frame's arrival and Heard;
// safe for concurrent use. On an error the frame's descriptors are closed.
func (m *Member) Take(f channel.Frame) (nodejs.Message, error) {
	msg, err := nodejs.Parse(f.Data)
	if err != nil {
		closeAll(f.FDs)
		return msg, err
	}
	if msg.Kind == nodejs.Handle {
		_ = m.j.Link.Take(len(f.FDs) == 1 && !f.Truncated) // fails when the worker has gone
	}
	return msg, nil
}
