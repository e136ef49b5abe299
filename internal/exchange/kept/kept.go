package kept

import (
	"encoding/json"

	"github.com/muster-run/muster/internal/op"
)

// What a Record says of a party.
const (
	DoHello       = "hello"    // it takes part
	DoSubscribe   = "sub"      // Channel, Queue
	DoUnsubscribe = "unsub"    // Channel, Queue
	DoListen      = "listen"   // Op
	DoUnlisten    = "unlisten" // Op
	DoOffer       = "offer"    // Command
	DoWithdraw    = "withdraw" // Op: the command's name
	DoGone        = "gone"
)

// Record is one thing that has changed.
type Record struct {
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

// Line is a Record as it is written.
func (r Record) Line() []byte {
	line, err := json.Marshal(r)
	if err != nil { // it has only what JSON has, too
		return []byte("{}")
	}
	return line
}

// Subscription is one of a party.
type Subscription struct{ Channel, Queue string }

// Party is all that is kept of one.
type Party struct {
	Hello    Record
	Subs     map[Subscription]bool
	Listens  map[string]bool
	Commands map[string]op.Command
}

// New makes one that has said hello, and nothing else.
func New(hello Record) *Party {
	return &Party{hello, map[Subscription]bool{}, map[string]bool{}, map[string]op.Command{}}
}

// Write adds the records that make the Party.
func (p *Party) Write(add func(rec []byte)) {
	id := p.Hello.ID
	add(p.Hello.Line())
	for sub := range p.Subs {
		add(Record{ID: id, Do: DoSubscribe, Channel: sub.Channel, Queue: sub.Queue}.Line())
	}
	for name := range p.Listens {
		add(Record{ID: id, Do: DoListen, Op: name}.Line())
	}
	for _, cmd := range p.Commands {
		add(Record{ID: id, Do: DoOffer, Command: &cmd}.Line())
	}
}

// Table is parties by ID.
type Table map[string]*Party

// Read takes one record.
func (t Table) Read(line []byte) {
	var r Record
	if json.Unmarshal(line, &r) != nil {
		return
	}
	p := t[r.ID]
	switch {
	case p == nil && r.Do == DoHello && r.ID != "":
		t[r.ID] = New(r)
	case p == nil:
	case r.Do == DoGone:
		delete(t, r.ID)
	default:
		p.read(r)
	}
}

func (p *Party) read(r Record) {
	switch r.Do {
	case DoSubscribe:
		p.Subs[Subscription{r.Channel, r.Queue}] = true
	case DoUnsubscribe:
		delete(p.Subs, Subscription{r.Channel, r.Queue})
	case DoListen:
		p.Listens[r.Op] = true
	case DoUnlisten:
		delete(p.Listens, r.Op)
	case DoOffer:
		if r.Command != nil {
			p.Commands[r.Command.Name] = *r.Command
		}
	case DoWithdraw:
		delete(p.Commands, r.Op)
	}
}
