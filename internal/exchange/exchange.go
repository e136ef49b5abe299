package exchange

import (
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/clock"
	"github.com/muster-run/muster/internal/op"
)

// Muster is the name that its own frames come from.
const Muster = "muster"

const (
	// Limits of one party.
	callsMax, subsMax, listensMax, commandsMax = 1024, 1024, 1024, 64
	// globalMax of each of them for all parties together.
	globalMax = 65536
	// inlineMax is to how many receivers the one sends whose frame was heard; more are
	// left to a goroutine.
	inlineMax = 8
)

// Ledger keeps records over the death of the agent (coordination/ledger). Its records
// are the exchange's alone.
type Ledger interface {
	Each(f func(rec []byte) error) error
	Append(rec []byte) error
	Snapshot(write func(add func(rec []byte))) error
	Grown() bool
}

// Options of an Exchange.
type Options struct {
	// Project and Node are told to who says hello.
	Project, Node string
	// Agent is the pid of the agent, Epoch how many agents there have been.
	Agent, Epoch int
	// Ledger for a successor; nil: none.
	Ledger Ledger
	// Log takes what is wrong with what parties say, once for each, and the panics of
	// served operations; nil: nowhere.
	Log *slog.Logger
}

// Exchange knows the parties and what waits between them. Safe for concurrent use.
type Exchange struct {
	o     Options
	tasks sync.WaitGroup // goroutines that send to many

	mu       sync.Mutex // guards all below, and what seats and errands say it guards
	closed   bool
	seats    map[*seat]bool
	served   map[string]served
	onGone   []func(party string)
	next     int64 // the last ID of a request to a party
	under    int   // errands under way
	version  int   // grows when others may be asked than before
	routes   map[string]*route
	topics   map[string]*topic
	listens  map[string][]*seat // by op, "*": all
	commands int
	subs     int
	clock    *clock.Clock[*errand]
	behind   behind
	handover handover
	dirty    []*seat // something is in their outboxes that nobody sends yet
	counts   Counts
}

// served is an operation of muster's own.
type served struct {
	h func(*Call)
	// builtin ones keep nothing of the body.
	builtin bool
}

// New makes an Exchange. An error is one of the ledger.
func New(o Options) (*Exchange, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Exchange{
		o: o, seats: map[*seat]bool{}, served: map[string]served{}, next: time.Now().UnixMicro(),
		routes: map[string]*route{}, topics: map[string]*topic{}, listens: map[string][]*seat{},
	}
	e.builtins()
	e.clock = clock.New[*errand](e.expire)
	e.behind.run = e.catchUp
	if err := e.restore(); err != nil {
		return nil, err
	}
	return e, nil
}

// Close ends the Exchange with its agent: nothing is heard or sent any more, and those
// who wait are told by the successor. Requests of muster's own end with
// E-AGENT-REPLACED, the Contexts of all Calls too. Safe to call again.
func (e *Exchange) Close() {
	e.mu.Lock()
	if !e.closed {
		e.closed = true
		e.clock.Stop()
		e.behind.stop()
		e.handover.stop()
		for _, x := range e.clock.All() {
			e.abandon(x)
		}
		for s := range e.seats {
			s.out.Close()
		}
	}
	e.mu.Unlock()
	e.tasks.Wait()
}

// Serve makes h muster's own operation of a name, which nobody else can answer then. h
// runs in the goroutine that heard the request and must not block: it replies at once,
// or later from a goroutine of its own. What one party asks is given to h in order. A
// panic of h is logged and answered. Serve comes before the first Enter.
func (e *Exchange) Serve(name string, h func(*Call)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.served[name] = served{h: h}
}

// OnGone has f called with the ID of every party that has gone, after its calls have
// ended. It comes before the first Enter.
func (e *Exchange) OnGone(f func(partyID string)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.onGone = append(e.onGone, f)
}

// Present says whether a party of that ID is there.
func (e *Exchange) Present(partyID string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for s := range e.seats {
		if s.p.ID == partyID {
			return true
		}
	}
	return false
}

// run has a served operation deal with a call, and sees to it that it is answered some
// time. The mutex is free.
func (e *Exchange) run(v served, c *Call) {
	defer func() {
		if cause := recover(); cause != nil {
			e.o.Log.Error("an operation failed badly", "op", c.x.op, "from", c.from, "cause", cause, "stack", string(debug.Stack()))
			e.mu.Lock()
			e.counts.Panics++
			e.mu.Unlock()
			c.Reply(nil, fault.New(fault.Internal, "%s failed inside muster: %v", c.x.op, cause))
		}
	}()
	v.h(c)
	if c.x.id != 0 && !c.done.Load() {
		e.await(c)
	}
}

// expire ends what is due. The timer runs it.
func (e *Exchange) expire() {
	e.mu.Lock()
	defer e.leave()
	if !e.closed {
		e.clock.Rung(e.late, time.Now())
	}
}

// leave frees the mutex and sends what came into outboxes meanwhile.
func (e *Exchange) leave() {
	for _, s := range e.dirty {
		s.dirty = false
	}
	var few [inlineMax]*seat
	n := 0
	if len(e.dirty) <= inlineMax {
		n = copy(few[:], e.dirty)
		clear(e.dirty)
		e.dirty = e.dirty[:0]
	} else {
		list := e.dirty
		e.dirty = nil
		e.spawn(func() { flush(list) })
	}
	e.mu.Unlock()
	flush(few[:n])
}

// spawn runs f in a goroutine that Close waits for. The mutex is held.
func (e *Exchange) spawn(f func()) {
	if !e.closed {
		e.tasks.Go(f)
	}
}

// Counts since the agent was started, and how much there is now.
type Counts struct {
	// Parties are there, Joined of them have said hello.
	Parties, Joined int
	// Subscriptions, Listens, Commands and UnderWay (requests) there are now.
	Subscriptions, Listens, Commands, UnderWay int

	// Heard are frames of parties; Bad of them could not be read or made no sense.
	Heard, Bad uint64
	// Served are operations of muster's own; Passed frames on to parties (each
	// receiver counts), Replies on to askers; Published messages,
	// Received the places where those, and what was told, arrived.
	Served, Passed, Replies, Published, Received uint64
	// Late replies nobody waited for any more; Unknown operations nobody dealt with, or
	// was there to hear.
	Late, Unknown uint64
	// Answered requests to parties; Refused ones, told by a code; Deadlines, Cancelled
	// and PeersGone ended others.
	Answered, Refused, Deadlines, Cancelled, PeersGone uint64
	// Missed messages found no room at their receivers, who are told (gap); Lost
	// replies found none, or like other frames a receiver that was gone.
	Missed, Lost uint64
	// Panics of served operations.
	Panics uint64
	// Adopted parties of an earlier agent. Of each, one frame may have been heard
	// twice: Doubtful were told or published, and were passed on.
	Adopted, Doubtful uint64
}

// Counts says what has happened.
func (e *Exchange) Counts() Counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	c := e.counts
	c.Parties, c.Subscriptions, c.Commands, c.UnderWay = len(e.seats), e.subs, e.commands, e.under
	for s := range e.seats {
		c.Listens += len(s.listens)
		if s.joined {
			c.Joined++
		}
	}
	return c
}

// musters is a frame of muster's own.
func musters(name string, body []byte) op.Frame {
	return op.Frame{Cmd: op.CmdOp, Op: name, From: Muster, Body: body}
}
