package peer

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/internal/op"
)

// queuedDefault is how many messages wait for a subscription.
const queuedDefault = 1024

// Publication is a message to all that have subscribed to a channel.
type Publication struct {
	// Channel, of up to 200 bytes; with ":" before it is one of the process's app.
	Channel string
	Message any
	// Op names the message; "": message.
	Op string
	// Self: this process gets it, too, if it has subscribed.
	Self bool
	// Quick: nobody counts who got it, and PublishAs returns at once.
	Quick bool
}

// Publish sends a message to all other processes that have subscribed to a channel,
// and returns how many got it.
func (p *Peer) Publish(ctx context.Context, channel string, message any) (Receivers, error) {
	return p.PublishAs(ctx, Publication{Channel: channel, Message: message})
}

// PublishAs is Publish with all that can be said.
func (p *Peer) PublishAs(ctx context.Context, m Publication) (Receivers, error) {
	if err := checkName("the channel", m.Channel); err != nil {
		return Receivers{}, err
	}
	message, err := encode(m.Message)
	if err != nil {
		return Receivers{}, err
	}
	body := op.PublishBody{Channel: p.resolve(m.Channel), Message: message, Op: m.Op, Self: m.Self}
	if message == nil {
		body.Message = json.RawMessage("null")
	}
	if m.Quick {
		return Receivers{}, p.Send(ctx, "", op.Publish, body)
	}
	var r Receivers
	return r, p.Request(ctx, "", op.Publish, body, &r)
}

// resolve gives a channel of the process's own app the app's name.
func (p *Peer) resolve(channel string) string {
	if strings.HasPrefix(channel, ":") {
		return p.app() + channel
	}
	return channel
}

// Message is one that was published.
type Message struct {
	Channel string // with the app's name before ":"
	Op      string
	From    string // web#1, client:NAME; "" or muster: muster itself
	PID     int
	Body    json.RawMessage
}

// Decode reads the message into what v points to.
func (m *Message) Decode(v any) error { return decode(m.Body, v) }

// SubscribeOptions rule who gets the messages of a channel.
type SubscribeOptions struct {
	// Queue: of all subscriptions of the project with this name each message goes to
	// one, in turn. "": to all.
	Queue string
	// Queued is how many messages may wait until f has dealt with those before; more
	// are dropped and told to OnGap. 0: 1024.
	Queued int
}

// subscriptions of a Peer.
type subscriptions struct {
	mu  sync.Mutex
	all map[topic][]*subscription
}

// topic is what muster knows a subscription by: a channel, and of a queue its name.
type topic struct{ channel, queue string }

type subscription struct {
	line chan op.Frame
	once sync.Once
}

func (s *subscription) stop() { s.once.Do(func() { close(s.line) }) }

func (s *subscriptions) start() { s.all = map[topic][]*subscription{} }

// Subscribe lets f have the messages of a channel, one after the other in the order
// they came, from a goroutine of its own. cancel ends that, once f has dealt with what
// waits; it may be called from within f.
func (p *Peer) Subscribe(ctx context.Context, channel string, o SubscribeOptions, f func(context.Context, *Message)) (cancel func(), err error) {
	if err := checkName("the channel", channel); err != nil {
		return nil, err
	}
	if o.Queued <= 0 {
		o.Queued = queuedDefault
	}
	t := topic{p.resolve(channel), o.Queue}
	s := &subscription{line: make(chan op.Frame, o.Queued)}
	p.subs.add(t, s)
	go p.deliver(s, f)
	cancel = func() { p.unsubscribe(t, s) }
	if err := p.primitive(ctx, op.Subscribe, op.ChannelBody{Channel: t.channel, Queue: t.queue}, nil); err != nil {
		cancel()
		return nil, err
	}
	return cancel, nil
}

func (s *subscriptions) add(t topic, one *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[t] = append(slices.Clone(s.all[t]), one)
}

// unsubscribe ends a subscription. muster is told when it was the last of its kind;
// under the lock, so that a new one cannot overtake that.
func (p *Peer) unsubscribe(t topic, one *subscription) {
	s := &p.subs
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.all[t]
	i := slices.Index(list, one)
	if i < 0 {
		return
	}
	one.stop()
	s.all[t] = slices.Delete(slices.Clone(list), i, i+1)
	if len(list) == 1 {
		delete(s.all, t)
		p.tell(op.Unsubscribe, op.ChannelBody{Channel: t.channel, Queue: t.queue})
	}
}

// end ends all of them.
func (s *subscriptions) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, list := range s.all {
		for _, one := range list {
			one.stop()
		}
	}
	clear(s.all)
}

// hearPublished puts a message into the line of who has subscribed; of a queue, of
// one of them.
func (p *Peer) hearPublished(f op.Frame) {
	s := &p.subs
	f.Channel = p.resolve(f.Channel)
	t := topic{f.Channel, f.Queue}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.all[t]
	if len(list) > 1 && t.queue != "" {
		list = append(slices.Clone(list[1:]), list[0]) // the next one's turn
		s.all[t] = list
		list = list[:1]
	}
	missed := 0
	for _, one := range list {
		select {
		case one.line <- f:
		default:
			missed++
		}
	}
	if missed > 0 {
		p.missed(missed)
	}
}

// deliver gives the messages to the program.
func (p *Peer) deliver(s *subscription, f func(context.Context, *Message)) {
	for got := range s.line {
		ctx := context.WithValue(p.ctx, hopsKey{}, got.Hops+1)
		m := &Message{Channel: got.Channel, Op: got.Op, From: got.From, PID: got.PID, Body: got.Body}
		p.guard("a subscription to "+got.Channel, func() { f(ctx, m) })
	}
}
