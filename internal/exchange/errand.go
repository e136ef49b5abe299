package exchange

import (
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/clock"
	"github.com/muster-run/muster/internal/exchange/line"
	"github.com/muster-run/muster/internal/op"
)

// mode is what a request wants of those who are asked.
type mode int

const (
	one   mode = iota // the reply of one party
	each              // the replies of all
	first             // the first reply of listeners
)

// errand is a request under way. It stands in the table of its asker, in those of the
// parties asked, and in the heap of deadlines, or in none of them. All of it is
// guarded by the Exchange's mutex.
type errand struct {
	asker *seat  // nil: muster itself
	own   *query // when it is muster's own
	id    int64  // the asker's
	op    string
	due   time.Time
	at    int // place on the clock

	// Who does it: muster, or parties, or (wish) nobody yet.
	call *Call
	wish *wish

	mode    mode
	sent    int64 // the ID that they were asked with
	legs    []leg
	open    int // legs that have not ended
	replied int
	missing map[string]string // each: who has not replied, and the code of why
	last    *op.Frame         // first: an E-UNKNOWN-OP, in case that no better comes
}

// Due implements clock.Timed.
func (x *errand) Due() time.Time { return x.due }

// Place implements clock.Timed.
func (x *errand) Place() *int { return &x.at }

// leg is one party's part.
type leg struct {
	to   *seat
	open bool
}

// begin enters an errand into the tables. legs are there, and asked with sent.
func (e *Exchange) begin(x *errand) {
	if x.asker != nil {
		x.asker.asked[x.id] = x
	}
	e.under++
	e.clock.Add(x)
	for i, l := range x.legs {
		l.to.serving[x.sent] = assignment{x, i}
	}
}

// finish takes an errand out of all tables. Those who were asked and have not replied
// are told if tell.
func (e *Exchange) finish(x *errand, tell bool) {
	if x.at == clock.None {
		return
	}
	e.under--
	e.clock.Remove(x)
	if x.asker != nil {
		delete(x.asker.asked, x.id)
	}
	e.unpark(x)
	for i := range x.legs {
		if l := &x.legs[i]; l.open {
			l.open = false
			delete(l.to.serving, x.sent)
			if tell && !l.to.gone {
				e.post(l.to, line.Parcel{Data: op.Frame{Cmd: op.CmdCancel, ID: x.sent}.Append(nil)})
			}
		}
	}
	if x.call != nil {
		x.call.close()
	}
}

// limits says why a party may not ask any more.
func (e *Exchange) limits(s *seat) *fault.Fault {
	switch {
	case s != nil && len(s.asked) >= callsMax:
		return fault.New(fault.TableFull, "%d requests of %s are under way", len(s.asked), s.p.Name).WithFix("wait for some of them to be answered")
	case e.under >= globalMax:
		return fault.New(fault.TableFull, "%d requests are under way", e.under).WithFix("wait for some of them to be answered")
	}
	return nil
}

// reply gives the asker a frame. Its last one comes after finish.
func (e *Exchange) reply(x *errand, f op.Frame) {
	f.Cmd, f.ID = op.CmdReply, x.id
	switch {
	case x.own != nil:
		x.own.take(f)
	case x.id == 0:
	case x.asker.gone || !x.asker.room(forReplies, 1):
		e.counts.Lost++
	default:
		e.counts.Replies++
		e.post(x.asker, line.Parcel{Data: f.Append(nil), Reply: true})
	}
}

// refuse ends a request with muster's reason.
func (e *Exchange) refuse(x *errand, why *fault.Fault) { e.refuseFor(x, "", why) }

// refuseFor ends it with a reason that concerns one party.
func (e *Exchange) refuseFor(x *errand, from string, why *fault.Fault) {
	e.counts.Refused++
	e.fail(x, from, why)
}

// fail ends a request, of which it is counted already why.
func (e *Exchange) fail(x *errand, from string, why *fault.Fault) {
	e.finish(x, true)
	e.reply(x, op.Frame{From: from, Error: op.ErrorOf(why)})
}

// answered ends a request with a party's reply.
func (e *Exchange) answered(x *errand, f op.Frame) {
	e.counts.Answered++
	e.finish(x, false)
	e.reply(x, f)
}

// cancel ends a request that nobody waits for any more.
func (e *Exchange) cancel(x *errand) {
	e.counts.Cancelled++
	e.finish(x, true)
}

// abandon ends a request with the Exchange.
func (e *Exchange) abandon(x *errand) {
	e.finish(x, false)
	if x.own != nil {
		x.own.take(op.Frame{Error: op.ErrorOf(fault.New(fault.AgentReplaced, "the agent ends, and %s was under way", x.op))})
	}
}

// hearReply deals with what a party replies.
func (e *Exchange) hearReply(s *seat, f op.Frame) {
	a, asked := s.serving[f.ID]
	if !asked {
		e.counts.Late++
		return
	}
	x := a.x
	answer := op.Frame{From: s.p.Name, PID: s.pid, Body: f.Body, Error: f.Error.Short(), More: f.More}
	if f.More {
		if x.mode == first {
			e.choose(x, a.leg)
		}
		e.reply(x, answer)
		return
	}
	delete(s.serving, f.ID)
	x.legs[a.leg].open = false
	x.open--
	x.replied++
	switch {
	case x.mode == each:
		answer.More = true
		e.reply(x, answer)
		e.gathered(x)
	case x.mode == first && x.open > 0 && f.Error != nil && f.Error.Code == fault.UnknownOp:
		kept := answer // so that answer itself needs no memory of its own
		x.last = &kept
	default:
		e.answered(x, answer)
	}
}

// choose makes the request one to a single party, which has begun to reply. The others
// go on, but nobody hears them.
func (e *Exchange) choose(x *errand, chosen int) {
	x.mode, x.open = one, 1
	for i := range x.legs {
		if l := &x.legs[i]; i != chosen && l.open {
			l.open = false
			delete(l.to.serving, x.sent)
		}
	}
}

// legEnds ends one party's part without a reply.
func (e *Exchange) legEnds(a assignment, why *fault.Fault) {
	x := a.x
	l := &x.legs[a.leg]
	delete(l.to.serving, x.sent)
	l.open = false
	x.open--
	switch {
	case x.mode == each:
		x.miss(l.to.p.Name, why.Code)
		e.gathered(x)
	case x.open > 0: // other listeners may still reply
	case x.last != nil:
		e.answered(x, *x.last)
	case why.Code == fault.PeerGone:
		e.counts.PeersGone++
		e.fail(x, l.to.p.Name, why)
	default:
		e.refuseFor(x, l.to.p.Name, why)
	}
}

func (x *errand) miss(name string, code fault.Code) {
	if x.missing == nil {
		x.missing = map[string]string{}
	}
	x.missing[name] = string(code)
}

// gathered ends a request to all once no leg is open.
func (e *Exchange) gathered(x *errand) {
	if x.open > 0 {
		return
	}
	if time.Now().Before(x.due) { // else its deadline is counted
		e.counts.Answered++
	}
	e.finish(x, true)
	e.reply(x, op.Frame{Body: mustJSON(op.Gathered{Asked: len(x.legs), Replied: x.replied, Missing: x.missing})})
}

// late ends a request whose deadline has passed.
func (e *Exchange) late(x *errand) {
	e.counts.Deadlines++
	switch {
	case x.wish != nil:
		e.fail(x, "", fault.New(fault.Deadline, "nobody whom %q matches was ready to be asked before the deadline", x.wish.f.To))
	case x.mode == each:
		for _, l := range x.legs {
			if l.open {
				x.miss(l.to.p.Name, fault.Deadline)
			}
		}
		x.open = 0
		e.gathered(x)
	case x.call != nil:
		e.fail(x, "", fault.New(fault.Deadline, "muster has not answered %s before the deadline", x.op))
	default:
		who := "listeners"
		for _, l := range x.legs {
			if l.open {
				who = l.to.p.Name
			}
		}
		e.fail(x, who, fault.New(fault.Deadline, "no reply of %s to %s before the deadline", who, x.op))
	}
}
