package exchange

import (
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/exchange/kept"
	"github.com/muster-run/muster/internal/exchange/line"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

// handoverMax is how long those whom an earlier agent has left are waited for.
const handoverMax = 5 * time.Second

// handover is the time in which the parties of an earlier agent come back.
type handover struct {
	left   kept.Table  // not there yet
	parked []*errand   // requests that wait for one of them
	late   kept.Late   // publications likewise
	timer  *time.Timer // ends it; nil: there is none
	over   bool
}

func (h *handover) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// restore reads what an earlier agent has written.
func (e *Exchange) restore() error {
	e.handover.left = kept.Table{}
	if e.o.Ledger == nil {
		return nil
	}
	err := e.o.Ledger.Each(func(line []byte) error {
		e.handover.left.Read(line)
		return nil
	})
	if len(e.handover.left) > 0 {
		e.handover.timer = time.AfterFunc(handoverMax, e.handedOver)
	}
	return err
}

// reinstate gives an adopted party back what it had, and tells it that another agent
// goes on.
func (e *Exchange) reinstate(s *seat) {
	k := e.handover.left[s.p.ID]
	if k == nil {
		return // it had not said hello
	}
	delete(e.handover.left, s.p.ID)
	s.joined = true
	for sub := range k.Subs {
		e.subscribe(s, sub)
	}
	for name := range k.Listens {
		e.listen(s, name)
	}
	for _, cmd := range k.Commands {
		e.offer(s, cmd)
	}
	e.post(s, line.Parcel{Data: musters(op.AgentNew, mustJSON(op.AgentBody{Agent: e.o.Agent, Epoch: e.o.Epoch})).Append(nil)})
	e.handover.late.For(k, func(frame []byte) { e.message(s, frame) })
	e.changed()
}

// comes says whether somebody whom a selector means may still come back.
func (e *Exchange) comes(to string) bool {
	if e.handover.timer == nil || e.handover.over {
		return false
	}
	sel, err := whom.Parse(to)
	if err != nil {
		return false
	}
	for _, k := range e.handover.left {
		if sel.Worker(api.Target{App: k.Hello.App, Role: k.Hello.Role, Tags: k.Hello.Tags}, k.Hello.Slot) {
			return true
		}
	}
	for s := range e.seats {
		if s.moving && s.joined && means(sel, s) {
			return true
		}
	}
	return false
}

// Settle says that all parties of an earlier agent have entered that are still there:
// the others are forgotten. Without it nobody waits for them longer than five seconds,
// but the ledger keeps them.
func (e *Exchange) Settle() {
	e.mu.Lock()
	defer e.leave()
	for id, k := range e.handover.left {
		e.unwritten(nil, e.append(kept.Record{ID: id, Do: kept.DoGone, Name: k.Hello.Name}))
	}
	clear(e.handover.left)
	e.handover.late.Drop()
	e.retry()
}

// handedOver ends the handover. The timer runs it.
func (e *Exchange) handedOver() {
	e.mu.Lock()
	defer e.leave()
	e.handover.over = true
	e.handover.late.Drop()
	if !e.closed {
		e.retry()
	}
}

// write puts a record of a party into the ledger. Clients end with the agent, and are
// not in it.
func (e *Exchange) write(s *seat, r kept.Record) error {
	if s.client {
		return nil
	}
	r.ID = s.p.ID
	return e.append(r)
}

func (e *Exchange) append(r kept.Record) error {
	l := e.o.Ledger
	if l == nil {
		return nil
	}
	if l.Grown() { // before r: what r changes is not in the tables yet
		if err := l.Snapshot(e.snapshot); err != nil {
			e.o.Log.Error("the ledger of operations grows, as it cannot be written anew", "error", err)
		}
	}
	return l.Append(r.Line())
}

// unwritten logs that the end of a party could not be written down.
func (e *Exchange) unwritten(s *seat, err error) {
	if err == nil {
		return
	}
	name := ""
	if s != nil {
		name = s.p.Name
	}
	e.o.Log.Error("cannot write down that a party has gone", "party", name, "error", err)
}

// snapshot is all that a successor needs.
func (e *Exchange) snapshot(add func(rec []byte)) {
	for _, k := range e.handover.left {
		k.Write(add)
	}
	for s := range e.seats {
		if s.client || !s.joined {
			continue
		}
		hello := kept.Record{ID: s.p.ID, Do: kept.DoHello, Name: s.p.Name, App: s.p.App, Role: s.p.Role, Tags: slices.Clone(s.p.Tags), Slot: s.p.Slot}
		(&kept.Party{Hello: hello, Subs: s.subs, Listens: s.listens, Commands: s.commands}).Write(add)
	}
}
