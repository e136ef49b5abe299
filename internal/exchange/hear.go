package exchange

import (
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/clock"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

// toMax bounds the text of a selector, in bytes.
const toMax = 4096

// Hear implements op.Seat.
func (s *seat) Hear(data []byte) {
	f, err := op.Parse(data)
	if err == nil && f.Cmd == op.CmdOp {
		s.e.hearOp(s, f)
		return
	}
	e := s.e
	e.mu.Lock()
	defer e.leave()
	if s.gone || e.closed {
		return
	}
	e.counts.Heard++
	switch {
	case err != nil:
		e.bad(s, f, err)
	case f.Cmd == op.CmdReply:
		s.fresh = false // the earlier agent's question
		e.hearReply(s, f)
	default: // op.CmdCancel
		s.fresh = false
		if x := s.asked[f.ID]; x != nil {
			e.cancel(x)
		}
	}
	e.remind(s)
}

// bad deals with a frame that is none, or too large.
func (e *Exchange) bad(s *seat, f op.Frame, err error) {
	x := &errand{asker: s, id: f.ID, op: f.Op, at: clock.None}
	a, asked := s.serving[f.ID]
	switch {
	case fault.CodeOf(err) != fault.TooLarge:
	case f.Cmd == op.CmdOp && f.ID != 0:
		e.refuse(x, fault.From(err))
	case f.Cmd == op.CmdReply && asked:
		e.legEnds(a, fault.New(fault.TooLarge, "the reply of %s is too large: %w", s.p.Name, err))
	}
	e.nonsense(s, err)
}

// nonsense counts a frame that cannot be dealt with, and logs the first of a party.
func (e *Exchange) nonsense(s *seat, err error) {
	e.counts.Bad++
	if !s.warned {
		s.warned = true
		e.o.Log.Warn("a frame of operations was dropped; further ones of this process are only counted", "from", s.p.Name, "pid", s.pid, "error", err)
	}
}

// hearOp deals with a request, or something told.
func (e *Exchange) hearOp(s *seat, f op.Frame) {
	e.mu.Lock()
	if s.gone || e.closed {
		e.mu.Unlock()
		return
	}
	e.counts.Heard++
	e.remind(s)
	doubtful := s.fresh && f.Op != op.Hello // an SDK's first word to a new agent is hello
	f.Again = f.Again || s.fresh
	s.fresh = false
	v, c := e.decide(s, f, doubtful)
	e.leave()
	if c != nil {
		e.run(v, c)
	}
}

// decide passes a frame on, or says who serves it.
func (e *Exchange) decide(s *seat, f op.Frame, doubtful bool) (served, *Call) {
	x := &errand{asker: s, id: f.ID, op: f.Op, at: clock.None}
	if fl := check(f); fl != nil {
		e.refuse(x, fl)
		return served{}, nil
	}
	if f.ID != 0 && s.asked[f.ID] != nil {
		if !f.Again { // else the reply is on its way
			e.nonsense(s, fault.New(fault.Usage, "the id %d is still in use", f.ID))
		}
		return served{}, nil
	}
	if f.To != "" {
		e.pass(x, f, doubtful)
		return served{}, nil
	}
	v, own := e.served[f.Op]
	heard := e.copies(s, f)
	if own {
		e.counts.Served++
		if doubtful && f.Op == op.Publish {
			e.counts.Doubtful++
		}
		return v, newCall(e, x, f, v)
	}
	if f.ID == 0 {
		if !heard {
			e.counts.Unknown++
		}
		return served{}, nil
	}
	e.askListeners(x, f)
	return served{}, nil
}

// check looks at what every op must keep to.
func check(f op.Frame) *fault.Fault {
	switch {
	case !whom.Name(f.Op, op.NameMax):
		return fault.New(fault.Usage, "an op has a name of at most %d bytes without control characters", op.NameMax).WithFix("name the operation, such as chat:say")
	case len(f.To) > toMax:
		return fault.New(fault.Usage, "the selector has %d bytes, at most %d are read", len(f.To), toMax).WithFix("use a tag, a role or a glob")
	case f.Hops > op.HopsMax:
		return fault.New(fault.TooDeep, "%s was sent from within %d handlers of other messages", f.Op, f.Hops)
	case f.Within < 0 && f.ID != 0 && !(f.All && f.To != ""):
		return fault.New(fault.Usage, "within is below 0").WithFix("give milliseconds; -1 is for frames with to and all")
	case f.To != "" && Reserved(f.Op):
		return reservedName(f.Op)
	}
	return nil
}

// Reserved says that only muster says it to a process.
func Reserved(name string) bool {
	switch name {
	case op.AgentNew, op.Gap, op.Message, op.ConfigChanged, op.ConsoleOpen, op.ConsoleClose, op.CommandRun, op.CacheDel, op.CacheDrop:
		return true
	}
	return false
}

func reservedName(name string) *fault.Fault {
	return fault.New(fault.Denied, "%s is said by muster only", name).WithFix("give the operation another name, such as my:" + name)
}

// due is when an asker does not wait any more.
func due(now time.Time, within int64) time.Time {
	d := time.Duration(min(within, op.WithinMax.Milliseconds())) * time.Millisecond
	if within == 0 {
		d = op.WithinDefault
	}
	return now.Add(d)
}

// copies tells a frame to all who listen, and says whether anybody does. Of locks they
// hear the name only: the token is its owner's.
func (e *Exchange) copies(s *seat, f op.Frame) bool {
	if len(e.listens) == 0 {
		return false
	}
	var data []byte
	for _, l := range e.listenersOf(f.Op, s) {
		if data == nil {
			c := op.Frame{Cmd: op.CmdOp, Op: f.Op, From: s.p.Name, PID: s.pid, Hops: f.Hops, Body: f.Body}
			if strings.HasPrefix(f.Op, "lock:") {
				c.Body = nameOnly(f.Body)
			}
			data = c.Append(nil)
		}
		if _, known := e.served[f.Op]; known || f.ID == 0 || !l.available() { // else it is asked
			e.message(l, data)
		}
	}
	return data != nil
}

// listenersOf are those who listen to an op, without the one who says it.
func (e *Exchange) listenersOf(name string, but *seat) []*seat {
	var list []*seat
	for _, key := range [...]string{name, "*"} {
		for _, l := range e.listens[key] {
			if l != but && (key != "*" || !l.listens[name]) {
				list = append(list, l)
			}
		}
	}
	return list
}
