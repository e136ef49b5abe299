package mail

import (
	"encoding/json"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
)

// request is a worker's MUSTER_SEND: a message for other workers.
type request struct {
	To  string          `json:"to"`
	Msg json.RawMessage `json:"msg"`
	// ID is the sender's own, for what is answered to it.
	ID json.RawMessage `json:"id"`
	// Type of the descriptor in Node's words; "": it is looked up.
	Type string `json:"type"`
}

// failure tells a sender what could not be carried: one for each receiver, or one
// without Worker when nobody is there.
type failure struct {
	Cmd    string          `json:"cmd"`
	ID     json.RawMessage `json:"id,omitempty"`
	To     string          `json:"to"`
	Worker string          `json:"worker,omitempty"`
	Code   fault.Code      `json:"code"`
	Text   string          `json:"text"`
}

// Forward does what a MUSTER_SEND asks for. An app, a tag or a glob does not mean
// the sender itself; its own name (web#1) does. fd is the descriptor that came with
// it (None), kind what its sender called it ("": not said). The sender is told what
// fails.
func (o *Office) Forward(from *Box, data []byte, fd int, kind string) {
	var r request
	if err := json.Unmarshal(data, &r); err != nil {
		o.tell(from, r, "", fault.New(fault.Usage, "%s cannot be read: %w", channel.CmdSend, err))
		return
	}
	to, f := r.check()
	if f != nil {
		o.tell(from, r, "", f)
		return
	}
	l := Letter{Data: r.Msg, FD: fd, Kind: kind}
	if l.Kind == "" {
		l.Kind = r.Type
	}
	if l.Kind == "" && fd != None {
		l.Kind = kindOf(fd)
	}
	list := o.Send(func(b *Box) bool { return to(b) && (b != from || r.To == b.String()) }, l)
	if len(list) == 0 {
		o.refused.Add(1)
		o.tell(from, r, "", fault.New(fault.NotRunning, "%q matches no running worker that could get a message", r.To))
	}
	for _, d := range list {
		if d.Fault != nil {
			o.tell(from, r, d.Worker, d.Fault)
		}
	}
}

// check makes sure that it can be sent to somebody.
func (r request) check() (func(*Box) bool, *fault.Fault) {
	switch {
	case r.To == "":
		return nil, fault.New(fault.Usage, "%s has no to: name a worker, an app, tag:NAME, role:NAME or all", channel.CmdSend)
	case len(r.Msg) == 0:
		return nil, fault.New(fault.Usage, "%s has no msg", channel.CmdSend)
	}
	if f := Internal(r.Msg); f != nil {
		return nil, f
	}
	to, err := To(r.To)
	if err != nil {
		return nil, fault.From(err)
	}
	return to, nil
}

// tell answers a sender; a sender that does not read misses it.
func (o *Office) tell(from *Box, r request, worker string, f *fault.Fault) {
	text, err := json.Marshal(failure{channel.CmdFailed, r.ID, r.To, worker, f.Code, f.Text})
	if err == nil {
		_ = o.carry(from, Letter{Data: text, FD: None})
	}
}

// Internal refuses a message that the receiver would not take for one of user code.
func Internal(msg []byte) *fault.Fault {
	if cmd := channel.Command(msg); cmd != "" {
		return fault.New(fault.Usage, "the message's cmd is %q: names that begin with NODE_ and MUSTER_ are not for programs", cmd).
			WithFix("give it another cmd, or another key")
	}
	return nil
}
