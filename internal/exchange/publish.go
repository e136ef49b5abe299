package exchange

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/kept"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

// ownPrefix begins the channels on which only muster publishes.
const ownPrefix = "muster:"

// topic is a channel with subscribers.
type topic struct {
	plain  []*seat
	queues map[string]*queue
}

// queue are subscribers of which each message goes to one.
type queue struct {
	seats []*seat
	turn  int
}

// publication is a message on its way to the subscribers of a channel.
type publication struct {
	by      *seat // nil: muster
	channel string
	name    string // the op
	hops    int
	body    json.RawMessage
	self    bool // the publisher gets it, too
}

// servePublish answers Publish.
func (e *Exchange) servePublish(c *Call) {
	b, err := op.ReadPublish(c.body)
	if err != nil {
		c.Reply(nil, fault.New(fault.Usage, "the body of publish cannot be read: %w", err))
		return
	}
	s := c.x.asker
	p := publication{by: s, name: b.Op, hops: c.hops, body: b.Message, self: b.Self}
	var f *fault.Fault
	if p.channel, f = whom.Channel(b.Channel, s.p.App); f == nil {
		f = p.check()
	}
	if f != nil {
		c.Reply(nil, f)
		return
	}
	told := e.publish(p)
	c.Reply(told, nil)
}

func (p publication) check() *fault.Fault {
	switch {
	case strings.HasPrefix(p.channel, ownPrefix):
		return fault.New(fault.Denied, "only muster publishes on %s", p.channel).WithFix("give the channel another name")
	case p.name != "" && !whom.Name(p.name, op.NameMax):
		return fault.New(fault.Usage, "an op has a name of at most %d bytes without control characters", op.NameMax)
	case p.name != op.Message && Reserved(p.name):
		return reservedName(p.name)
	}
	return nil
}

// Publish publishes as muster itself. channel is a whole name, body valid JSON.
func (e *Exchange) Publish(channel, opName string, body json.RawMessage) op.Receivers {
	return e.publish(publication{channel: channel, name: opName, body: oneLine(body)})
}

// publish gives a message to every subscriber, and to one of each queue.
func (e *Exchange) publish(p publication) (told op.Receivers) {
	e.mu.Lock()
	defer e.leave()
	e.counts.Published++
	t := e.topics[p.channel]
	if e.closed || t == nil && len(e.handover.left) == 0 {
		return told
	}
	if p.name == "" {
		p.name = op.Message
	}
	f := e.from(p.by, op.Frame{Cmd: op.CmdOp, Op: p.name, Channel: p.channel, Hops: p.hops, Body: p.body})
	if len(e.handover.left) > 0 {
		told.Receivers += e.handover.late.Keep(e.handover.left, f, func(queue string) bool { return t != nil && t.queues[queue] != nil })
	}
	if t == nil {
		return told
	}
	if len(t.plain) > 0 {
		data := f.Append(nil)
		for _, s := range t.plain {
			if s != p.by || p.self {
				e.count(&told, s, e.message(s, data))
			}
		}
	}
	for name, q := range t.queues {
		if s := q.pick(p); s != nil {
			f.Queue = name
			e.count(&told, s, e.message(s, f.Append(nil)))
		}
	}
	return told
}

// pick finds the next who has room: one that is ready, if any is.
func (q *queue) pick(p publication) *seat {
	var best *seat
	rank := func(s *seat) int {
		switch {
		case s == nil:
			return 0
		case !s.room(1, 1) || s.missed > 0:
			return 1
		case !s.available():
			return 2
		}
		return 3
	}
	for i := range q.seats {
		s := q.seats[(q.turn+i)%len(q.seats)]
		if s == p.by && !p.self {
			continue
		}
		if rank(s) > rank(best) {
			best = s
		}
		if rank(best) == 3 {
			break
		}
	}
	if best != nil {
		q.turn = slices.Index(q.seats, best) + 1
	}
	return best
}

// serveSubscribe answers Subscribe.
func (e *Exchange) serveSubscribe(c *Call) {
	e.member(c, func(s *seat) error {
		sub, err := readSubscription(c)
		switch {
		case err != nil:
			return err
		case s.subs[sub]:
			return nil
		case len(s.subs) >= subsMax || e.subs >= globalMax:
			return fault.New(fault.TableFull, "there are %d subscriptions, %d of them of %s", e.subs, len(s.subs), s.p.Name)
		}
		if err := e.write(s, kept.Record{Do: kept.DoSubscribe, Channel: sub.Channel, Queue: sub.Queue}); err != nil {
			return err
		}
		e.subscribe(s, sub)
		return nil
	})
}

// serveUnsubscribe answers Unsubscribe.
func (e *Exchange) serveUnsubscribe(c *Call) {
	e.member(c, func(s *seat) error {
		sub, err := readSubscription(c)
		if err != nil || !s.subs[sub] {
			return err
		}
		if err := e.write(s, kept.Record{Do: kept.DoUnsubscribe, Channel: sub.Channel, Queue: sub.Queue}); err != nil {
			return err
		}
		e.unsubscribe(s, sub)
		return nil
	})
}

func readSubscription(c *Call) (kept.Subscription, error) {
	b, err := read[op.ChannelBody](c)
	if err != nil {
		return kept.Subscription{}, err
	}
	name, f := whom.Channel(b.Channel, c.x.asker.p.App)
	switch {
	case f != nil:
		return kept.Subscription{}, f
	case b.Queue != "" && !whom.Name(b.Queue, op.NameMax):
		return kept.Subscription{}, fault.New(fault.Usage, "a queue has a name of at most %d bytes without control characters", op.NameMax)
	}
	return kept.Subscription{Channel: name, Queue: b.Queue}, nil
}

func (e *Exchange) subscribe(s *seat, sub kept.Subscription) {
	t := e.topics[sub.Channel]
	if t == nil {
		t = &topic{queues: map[string]*queue{}}
		e.topics[sub.Channel] = t
	}
	s.subs[sub] = true
	e.subs++
	if sub.Queue == "" {
		t.plain = append(t.plain, s)
		return
	}
	q := t.queues[sub.Queue]
	if q == nil {
		q = &queue{}
		t.queues[sub.Queue] = q
	}
	q.seats = append(q.seats, s)
}

func (e *Exchange) unsubscribe(s *seat, sub kept.Subscription) {
	delete(s.subs, sub)
	e.subs--
	t := e.topics[sub.Channel]
	if sub.Queue == "" {
		t.plain = without(t.plain, s)
	} else if q := t.queues[sub.Queue]; len(q.seats) == 1 {
		delete(t.queues, sub.Queue)
	} else {
		q.seats = without(q.seats, s)
	}
	if len(t.plain)+len(t.queues) == 0 {
		delete(e.topics, sub.Channel)
	}
}

func without(list []*seat, s *seat) []*seat {
	return slices.DeleteFunc(list, func(x *seat) bool { return x == s })
}
