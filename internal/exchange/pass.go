package exchange

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/line"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

// pass deals with a frame for other parties. x is in no table yet.
func (e *Exchange) pass(x *errand, f op.Frame, doubtful bool) {
	r, err := e.route(f.To)
	if err != nil {
		e.refuse(x, fault.From(err))
		return
	}
	if f.ID == 0 || f.Within < 0 {
		if doubtful {
			e.counts.Doubtful++
		}
		told := e.tell(x.asker, r, f)
		if f.ID != 0 {
			e.reply(x, op.Frame{Body: mustJSON(told)})
		} else if told.Receivers+len(told.Missed) == 0 {
			e.counts.Unknown++
		}
		return
	}
	if doubtful { // its asker does not know whether it was done; so it is not done twice
		e.refuse(x, fault.New(fault.AgentReplaced, "%s was under way when the agent was replaced", f.Op))
		return
	}
	if full := e.limits(x.asker); full != nil {
		e.refuse(x, full)
		return
	}
	x.due = due(time.Now(), f.Within)
	if f.All {
		e.askAll(x, f, r.others(x.asker, f.To))
		return
	}
	e.askOne(x, f, r)
}

// askOne asks the one with the least to do, in turn.
func (e *Exchange) askOne(x *errand, f op.Frame, r *route) {
	to, full := r.pick(x.asker, f.To)
	switch {
	case to != nil:
		x.mode = one
		e.ask(x, f, []leg{{to, true}})
	case full != nil:
		e.refuseFor(x, full.p.Name, fault.New(fault.ChannelFull, "%s does not read: too much waits for it", full.p.Name))
	case e.comes(f.To):
		e.park(x, f)
	default:
		e.refuse(x, e.nobody(x.asker, f.To))
	}
}

// askAll asks everybody; those without room are missing from the beginning.
func (e *Exchange) askAll(x *errand, f op.Frame, list []*seat) {
	x.mode = each
	legs := make([]leg, 0, len(list))
	for _, s := range list {
		legs = append(legs, leg{s, s.room(1, 1)})
		if !legs[len(legs)-1].open {
			x.miss(s.p.Name, fault.ChannelFull)
		}
	}
	e.ask(x, f, legs)
	e.gathered(x)
}

// askListeners asks those who listen to an op that muster does not know.
func (e *Exchange) askListeners(x *errand, f op.Frame) {
	var legs []leg
	for _, l := range e.listenersOf(f.Op, x.asker) {
		if l.available() && l.room(1, 1) {
			legs = append(legs, leg{l, true})
		}
	}
	if len(legs) == 0 {
		e.counts.Unknown++
		e.refuse(x, fault.New(fault.UnknownOp, "muster knows no %s, and nobody who is ready listens to it", f.Op))
		return
	}
	if full := e.limits(x.asker); full != nil {
		e.refuse(x, full)
		return
	}
	x.due, x.mode = due(time.Now(), f.Within), first
	e.ask(x, f, legs)
}

// ask sends a request to the open legs; all get the same frame.
func (e *Exchange) ask(x *errand, f op.Frame, legs []leg) {
	e.next++
	x.sent, x.legs = e.next, legs
	e.begin(x)
	within := max(1, time.Until(x.due).Milliseconds())
	data := e.from(x.asker, op.Frame{Cmd: op.CmdOp, Op: f.Op, ID: x.sent, Within: within, Hops: f.Hops, Again: f.Again, Body: f.Body}).Append(nil)
	for i, l := range legs {
		if !l.open {
			delete(l.to.serving, x.sent)
			continue
		}
		x.open++
		e.counts.Passed++
		e.post(legs[i].to, line.Parcel{Data: data, Own: x.sent})
	}
}

// from says who speaks; nil: muster.
func (e *Exchange) from(s *seat, f op.Frame) op.Frame {
	if f.From, f.PID = Muster, 0; s != nil {
		f.From, f.PID = s.p.Name, s.pid
	}
	return f
}

// tell sends a frame one way to everybody whom the selector means.
func (e *Exchange) tell(s *seat, r *route, f op.Frame) op.Receivers {
	var told op.Receivers
	data := e.from(s, op.Frame{Cmd: op.CmdOp, Op: f.Op, Hops: f.Hops, Again: f.Again, Body: f.Body}).Append(nil)
	for _, to := range r.others(s, f.To) {
		e.count(&told, to, e.message(to, data))
	}
	return told
}

// count notes a receiver, or one that has missed it.
func (e *Exchange) count(told *op.Receivers, to *seat, ok bool) {
	if ok {
		e.counts.Received++
		told.Receivers++
		return
	}
	told.Missed = append(told.Missed, to.p.Name)
}

// nobody says why nobody can be asked.
func (e *Exchange) nobody(asker *seat, to string) *fault.Fault {
	sel, err := whom.Parse(to)
	if err != nil {
		return fault.From(err)
	}
	text := fmt.Sprintf("%q matches no process that runs", to)
	for _, s := range e.sorted() {
		switch {
		case !means(sel, s):
		case s == asker && s.available():
			text = fmt.Sprintf("%q matches nobody but the asker itself", to)
		case !s.joined:
			text = fmt.Sprintf("%s runs, but takes no part in operations: its program has not said hello", s.p.Name)
		case !s.ready:
			text = fmt.Sprintf("%s is not ready", s.p.Name)
		}
	}
	return fault.New(fault.NoPeer, "%s", text)
}

// sorted are the parties by name.
func (e *Exchange) sorted() []*seat {
	list := make([]*seat, 0, len(e.seats))
	for s := range e.seats {
		list = append(list, s)
	}
	slices.SortFunc(list, byName)
	return list
}

// wish is a request that waits for somebody to ask.
type wish struct{ f op.Frame }

// park lets a request wait until those whom an earlier agent has left are back.
func (e *Exchange) park(x *errand, f op.Frame) {
	f.Body = bytes.Clone(f.Body)
	x.wish = &wish{f}
	e.handover.parked = append(e.handover.parked, x)
	e.begin(x)
}

func (e *Exchange) unpark(x *errand) {
	if x.wish == nil {
		return
	}
	x.wish = nil
	e.handover.parked = slices.DeleteFunc(e.handover.parked, func(y *errand) bool { return y == x })
}

// retry looks for somebody to ask for those who wait.
func (e *Exchange) retry() {
	for _, x := range slices.Clone(e.handover.parked) {
		f := x.wish.f
		r, err := e.route(f.To)
		if err != nil {
			continue // it was read before
		}
		to, _ := r.pick(x.asker, f.To)
		if to == nil && e.comes(f.To) {
			continue
		}
		e.finish(x, false)
		if x.asker != nil && x.asker.gone {
			continue
		}
		e.askOne(x, f, r)
	}
}
