package exchange

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/internal/op"
)

// What a record says of a party.
const (
	doHello       = "hello"
	doSubscribe   = "sub"
	doUnsubscribe = "unsub"
	doListen      = "listen"
	doUnlisten    = "unlisten"
	doCommand     = "command"
	doWithdraw    = "withdraw"
	doGone        = "gone"
)

// handoverMax is how long those whom an earlier agent has left are waited for.
const handoverMax = 5 * time.Second

// record is one line of the ledger.
type record struct {
	ID      string      `json:"id"`
	Do      string      `json:"do"`
	Name    string      `json:"name,omitempty"`
	App     string      `json:"app,omitempty"`
	Role    string      `json:"role,omitempty"`
	Tags    []string    `json:"tags,omitempty"`
	Slot    int         `json:"slot,omitempty"`
	Channel string      `json:"channel,omitempty"`
	Queue   string      `json:"queue,omitempty"`
	Op      string      `json:"op,omitempty"`
	Command *op.Command `json:"command,omitempty"`
}

// kept is what the ledger has of a party.
type kept struct {
	hello    record
	subs     map[subscription]bool
	listens  map[string]bool
	commands map[string]op.Command
}

// handover is the time in which the parties of an earlier agent come back.
type handover struct {
	left   map[string]*kept // by ID: not there yet
	parked []*errand        // requests that wait for one of them
	timer  *time.Timer      // ends it; nil: there is none
	over   bool
}

func (h *handover) stop() {
	if h.timer != nil {
		h.timer.Stop()
	}
}

// restore reads what an earlier agent has written.
func (e *Exchange) restore() error {
	e.handover.left = map[string]*kept{}
	if e.o.Ledger == nil {
		return nil
	}
	err := e.o.Ledger.Each(func(line []byte) error {
		var r record
		if json.Unmarshal(line, &r) == nil { // else a later version's
			e.handover.read(r)
		}
		return nil
	})
	if len(e.handover.left) > 0 {
		e.handover.timer = time.AfterFunc(handoverMax, e.handedOver)
	}
	return err
}

// read takes one record.
func (h *handover) read(r record) {
	k := h.left[r.ID]
	if r.Do == doHello && k == nil {
		h.left[r.ID] = &kept{r, map[subscription]bool{}, map[string]bool{}, map[string]op.Command{}}
		return
	}
	if k == nil {
		return
	}
	switch r.Do {
	case doSubscribe:
		k.subs[subscription{r.Channel, r.Queue}] = true
	case doUnsubscribe:
		delete(k.subs, subscription{r.Channel, r.Queue})
	case doListen:
		k.listens[r.Op] = true
	case doUnlisten:
		delete(k.listens, r.Op)
	case doCommand:
		if r.Command != nil {
			k.commands[r.Command.Name] = *r.Command
		}
	case doWithdraw:
		delete(k.commands, r.Op)
	case doGone:
		delete(h.left, r.ID)
	}
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
	for sub := range k.subs {
		e.subscribe(s, sub)
	}
	for name := range k.listens {
		e.listen(s, name)
	}
	for _, cmd := range k.commands {
		e.offer(s, cmd)
	}
	e.post(s, parcel{data: musters(op.AgentNew, mustJSON(op.AgentBody{Agent: e.o.Agent, Epoch: e.o.Epoch})).Append(nil)})
	e.changed()
}

// comes says whether somebody whom a selector means may still come back.
func (e *Exchange) comes(to string) bool {
	if e.handover.timer == nil || e.handover.over {
		return false
	}
	sel, err := parseSelector(to)
	if err != nil {
		return false
	}
	for _, k := range e.handover.left {
		if sel.means(api.Target{App: k.hello.App, Role: k.hello.Role, Tags: k.hello.Tags}, k.hello.Slot) {
			return true
		}
	}
	for s := range e.seats {
		if s.moving && s.joined && sel.matches(s) {
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
		e.unwritten(nil, e.append(record{ID: id, Do: doGone, Name: k.hello.Name}))
	}
	clear(e.handover.left)
	e.retry()
}

// handedOver ends the handover. The timer runs it.
func (e *Exchange) handedOver() {
	e.mu.Lock()
	defer e.leave()
	e.handover.over = true
	if !e.closed {
		e.retry()
	}
}

// write puts a record of a party into the ledger. Clients end with the agent, and are
// not in it.
func (e *Exchange) write(s *seat, r record) error {
	if s.client {
		return nil
	}
	r.ID = s.p.ID
	return e.append(r)
}

func (e *Exchange) append(r record) error {
	l := e.o.Ledger
	if l == nil {
		return nil
	}
	if err := l.Append(mustJSON(r)); err != nil {
		return err
	}
	if l.Grown() {
		if err := l.Snapshot(e.snapshot); err != nil {
			e.o.Log.Error("the ledger of operations grows, as it cannot be written anew", "error", err)
		}
	}
	return nil
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
		k.write(add)
	}
	for s := range e.seats {
		if s.client || !s.joined {
			continue
		}
		hello := record{ID: s.p.ID, Do: doHello, Name: s.p.Name, App: s.p.App, Role: s.p.Role, Tags: slices.Clone(s.p.Tags), Slot: s.p.Slot}
		(&kept{hello, s.subs, s.listens, s.commands}).write(add)
	}
}

func (k *kept) write(add func(rec []byte)) {
	id := k.hello.ID
	add(mustJSON(k.hello))
	for sub := range k.subs {
		add(mustJSON(record{ID: id, Do: doSubscribe, Channel: sub.channel, Queue: sub.queue}))
	}
	for name := range k.listens {
		add(mustJSON(record{ID: id, Do: doListen, Op: name}))
	}
	for _, cmd := range k.commands {
		add(mustJSON(record{ID: id, Do: doCommand, Command: &cmd}))
	}
}
