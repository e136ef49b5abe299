package exchange

import (
	"fmt"
	"slices"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/kept"
	"github.com/muster-run/muster/internal/exchange/line"
	"github.com/muster-run/muster/internal/op"
)

// seat is a party from Enter to Gone.
type seat struct {
	e       *Exchange
	client  bool
	carry   func([]byte) error
	waiting func() (int, int)
	out     line.Line

	// Guarded by the Exchange's mutex.
	p      op.Party
	pid    int
	ready  bool // others may ask it, once it has joined
	joined bool // it has said hello
	gone   bool
	fresh  bool // an earlier agent has left it, and it was not heard yet
	warned bool // what is wrong with its frames was logged
	dirty  bool // it is in Exchange.dirty
	// moving: it was adopted, and nobody has said yet whether it is ready.
	moving bool
	missed int

	asked    map[int64]*errand    // it waits for
	serving  map[int64]assignment // it was asked, by muster's own ID
	subs     map[kept.Subscription]bool
	listens  map[string]bool
	commands map[string]op.Command
}

// assignment is a party's part of an errand.
type assignment struct {
	x   *errand
	leg int
}

// Enter implements op.Exchange. A client whose name is taken gets another: client:NAME-2.
func (e *Exchange) Enter(p op.Party, adopted bool) op.Seat {
	s := &seat{
		e: e, p: p, client: p.App == "", carry: p.Send, waiting: p.Waiting, fresh: adopted, moving: adopted,
		asked: map[int64]*errand{}, serving: map[int64]assignment{}, subs: map[kept.Subscription]bool{},
		listens: map[string]bool{}, commands: map[string]op.Command{},
	}
	e.mu.Lock()
	defer e.leave()
	if s.client {
		s.p.Name = e.freeName(p.Name)
	}
	e.seats[s] = true
	if e.closed {
		s.out.Close()
	}
	if adopted {
		e.counts.Adopted++
		e.reinstate(s)
	}
	return s
}

// freeName makes a client's name one that nobody has.
func (e *Exchange) freeName(name string) string {
	taken := func(name string) bool {
		for s := range e.seats {
			if s.p.Name == name {
				return true
			}
		}
		return false
	}
	for n, free := 2, name; ; n++ {
		if !taken(free) {
			return free
		}
		free = fmt.Sprintf("%s-%d", name, n)
	}
}

// Ready implements op.Seat.
func (s *seat) Ready(pid int, ready bool) {
	e := s.e
	e.mu.Lock()
	defer e.leave()
	if s.gone {
		return
	}
	s.pid, s.ready, s.moving = pid, ready, false
	e.changed()
}

// Changed implements op.Seat.
func (s *seat) Changed(settings op.Settings, allow []string) {
	e := s.e
	body := mustJSON(settings)
	settings.Changes = nil
	e.mu.Lock()
	defer e.leave()
	s.p.Settings, s.p.Allow = settings, slices.Clone(allow)
	if s.joined && !s.gone {
		e.message(s, musters(op.ConfigChanged, body).Append(nil))
	}
}

// Gone implements op.Seat.
func (s *seat) Gone() {
	e := s.e
	e.mu.Lock()
	if s.gone || e.closed { // with the agent's end nobody has gone
		e.mu.Unlock()
		return
	}
	s.gone = true
	delete(e.seats, s)
	delete(e.behind.seats, s)
	s.out.Close()
	e.forget(s)
	for _, x := range s.asked {
		e.cancel(x)
	}
	for _, a := range s.serving {
		e.legEnds(a, fault.New(fault.PeerGone, "%s has ended before it replied", s.p.Name))
	}
	e.changed()
	hooks := e.onGone
	e.leave()
	for _, f := range hooks {
		f(s.p.ID)
	}
}

// forget takes a party out of all lists, and out of the ledger.
func (e *Exchange) forget(s *seat) {
	known := s.joined
	for sub := range s.subs {
		e.unsubscribe(s, sub)
	}
	for name := range s.listens {
		e.unlisten(s, name)
	}
	e.commands -= len(s.commands)
	clear(s.commands)
	if known {
		e.unwritten(s, e.write(s, kept.Record{Do: kept.DoGone}))
	}
}

// changed has routes looked up anew, and those who wait for somebody tried again.
func (e *Exchange) changed() {
	e.version++
	e.retry()
}

// available says whether others may ask it.
func (s *seat) available() bool { return s.joined && s.ready && !s.gone }

// target is what selectors see of it.
func (s *seat) target() api.Target {
	return api.Target{App: s.p.App, Role: s.p.Role, Tags: s.p.Tags}
}

// post puts a frame into the outbox.
func (e *Exchange) post(s *seat, p line.Parcel) {
	s.out.Add(p)
	if !s.dirty {
		s.dirty = true
		e.dirty = append(e.dirty, s)
	}
}
