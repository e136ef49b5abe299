package primitives

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/counter"
	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
	"github.com/muster-run/muster/internal/op"
)

// How many there may be of each; then E-TABLE-FULL.
const (
	LimitersMax   = 262_144 // with tokens missing
	LocksMax      = 65_536  // held
	WaitingMax    = 65_536  // in line for locks
	CountersMax   = 65_536  // not 0
	UsesMax       = 65_536  // of caches by parties
	UsesMaxParty  = 1_024   // by one party
	clientsPrefix = "client/"
)

// Call is one that a party makes.
type Call struct {
	// Party is its ID, Name its name, PID the process.
	Party, Name string
	PID         int
	// ID of the request; 0: no answer is wanted. Again: it may have been heard before, by
	// an agent that was replaced.
	ID    int64
	Again bool
	// Body is valid until the function that Serve was given returns.
	Body json.RawMessage
	Asker
	ctx context.Context // the Asker's, where it may be long
}

// Asker is who waits for the answer to a Call; *exchange.Call is one.
type Asker interface {
	// Context ends when nobody waits for the answer any more, also after Reply.
	Context() context.Context
	// Reply answers, once.
	Reply(body any, err error)
}

// Exchange is where calls come from.
type Exchange interface {
	// Serve has all calls of an op go to h, those of one party in order.
	Serve(name string, h func(Call))
	// OnGone has f called with the ID of each party that has ended.
	OnGone(f func(party string))
	// Tell sends a frame to the parties that to chooses.
	Tell(to func(op.Party) bool, f op.Frame) op.Receivers
}

// Options of Primitives.
type Options struct {
	// Ledger is for nobody else; nil: nothing outlives the agent.
	Ledger *ledger.Ledger
	// Now is the time since a moment that is the same for the next agent; nil: the start
	// of the machine.
	Now func() time.Duration
	// Log gets what is wrong and nobody asked for; nil: nowhere.
	Log *slog.Logger
}

// Primitives are the limiters, locks and counters of a project, and who uses which
// caches. All methods are safe for concurrent use.
type Primitives struct {
	x      Exchange
	ledger *ledger.Ledger
	now    func() time.Duration
	log    *slog.Logger

	mu       sync.Mutex
	limiters *limiter.Table
	locks    *lock.Table
	counters *counter.Table
	caches   caches
	last     map[string]answered // by party
	waiting  map[uint64]*waiting // by ticket
	ticket   uint64              // the last one
	timer    *time.Timer         // calls tick
	armed    time.Duration       // for when; 0: not
	closed   bool
	buf      []byte

	shrinking bool
	tasks     sync.WaitGroup // shrink
}

// answered is the last call of a party that changed something.
type answered struct {
	id    int64
	reply json.RawMessage
}

// New restores what the ledger holds and serves the primitives' ops on an Exchange.
func New(x Exchange, o Options) (*Primitives, error) {
	p := &Primitives{
		x: x, ledger: o.Ledger, now: o.Now, log: o.Log,
		limiters: limiter.New(LimitersMax), locks: lock.New(LocksMax, WaitingMax), counters: counter.New(CountersMax),
		last: map[string]answered{}, waiting: map[uint64]*waiting{},
	}
	if p.now == nil {
		p.now = sinceBoot
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.timer = time.AfterFunc(time.Hour, p.tick)
	p.timer.Stop()
	if err := p.restore(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.arm()
	p.mu.Unlock()
	p.serve()
	return p, nil
}

// sinceBoot is the time since the start of the machine; it goes on while that sleeps.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0 // it is there since Linux 2.6.39
	}
	return time.Duration(t.Nano())
}

func (p *Primitives) serve() {
	for name, act := range map[string]func(Call, time.Duration) (any, error){
		op.LimiterTake: p.take, op.CounterAdd: p.count, op.CounterGet: p.value,
		op.LockRenew: p.renew, op.LockRelease: p.release,
		op.CacheUse: p.use,
	} {
		p.x.Serve(name, func(c Call) { p.answer(c, act) })
	}
	p.x.Serve(op.LockAcquire, func(c Call) {
		c.ctx = c.Context() // not under the mutex: it is the Exchange's
		p.answer(c, p.acquire)
	})
	p.x.Serve(op.CacheDel, func(c Call) { c.Reply(p.invalidate(c, op.CacheDel)) })
	p.x.Serve(op.CacheDrop, func(c Call) { c.Reply(p.invalidate(c, op.CacheDrop)) })
	p.x.OnGone(p.gone)
}

// later is the answer of an action that is given by somebody else, another time.
type later struct{}

// answer acts on a call under the mutex, and then says what came of it.
func (p *Primitives) answer(c Call, act func(Call, time.Duration) (any, error)) {
	p.mu.Lock()
	reply, err := act(c, p.now())
	told := p.settle()
	p.mu.Unlock()
	if _, wait := reply.(later); !wait {
		c.Reply(reply, err)
	}
	p.afterwards(told)
}

// afterwards tells those who had waited, and lets the ledger shrink.
func (p *Primitives) afterwards(told []outcome) {
	for _, o := range told {
		o.call.Reply(o.held, o.err)
	}
	if !p.ledger.Grown() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shrinking && !p.closed {
		p.shrinking = true
		p.tasks.Go(p.shrink) // it may take a tenth of a second: not where calls are heard
	}
}

// shrink writes the ledger anew.
func (p *Primitives) shrink() {
	err := p.snapshot()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shrinking = false
	if err != nil {
		p.log.Error("the ledger of limiters, locks and counters grows, as it cannot be written anew", "err", err)
	}
}

// replay finds the answer to a call that an earlier agent has dealt with.
func (p *Primitives) replay(c Call) (reply json.RawMessage, done bool, err error) {
	last, known := p.last[c.Party]
	switch {
	case !c.Again || c.ID == 0 || !known || c.ID > last.id:
		return nil, false, nil
	case c.ID < last.id:
		return nil, true, fault.New(fault.AgentReplaced, "the agent was replaced while this was under way, and others were answered after it")
	}
	return last.reply, true, nil
}

// once writes down what a call changes, with its answer. An error means that it was not
// written down.
func (p *Primitives) once(c Call, answer any, change func(b []byte) []byte) (any, error) {
	reply, err := json.Marshal(answer)
	if err != nil {
		return nil, fault.New(fault.Usage, "the answer has no form in JSON: %w", err)
	}
	party := c.Party
	if c.ID == 0 || strings.HasPrefix(party, clientsPrefix) {
		party = "" // nobody asks for it again
	}
	p.buf = change(appendHead(p.buf[:0], party, c.ID, reply))
	if err := p.ledger.Append(p.buf); err != nil {
		return nil, err
	}
	if party != "" {
		p.last[party] = answered{c.ID, reply}
	}
	return json.RawMessage(reply), nil
}

// keep writes down what has no answer to keep.
func (p *Primitives) keep(change func(b []byte) []byte) error {
	p.buf = change(appendHead(p.buf[:0], "", 0, nil))
	return p.ledger.Append(p.buf)
}

// gone forgets a party that has ended.
func (p *Primitives) gone(party string) {
	p.mu.Lock()
	p.forget(party)
	told := p.settle()
	p.mu.Unlock()
	p.afterwards(told)
}

func (p *Primitives) forget(party string) {
	_, known := p.last[party]
	delete(p.last, party)
	used := p.caches.gone(party)
	held := p.locks.Gone(party, p.now())
	if !known && !used && len(held) == 0 {
		return
	}
	// Without the record its locks are free when their leases end.
	if err := p.keep(func(b []byte) []byte { return appendGone(b, party) }); err != nil {
		p.log.Error("cannot write down that a party is gone", "party", party, "err", err)
	}
}

// Settle forgets the parties of an earlier agent that are not present any more, once all
// that are have entered.
func (p *Primitives) Settle(present func(party string) bool) {
	p.mu.Lock()
	all := p.parties()
	p.mu.Unlock()
	for _, party := range all {
		if !present(party) {
			p.gone(party)
		}
	}
}

// parties are those of which something is kept, but for clients of the control socket.
func (p *Primitives) parties() (all []string) {
	seen := map[string]bool{}
	add := func(party string) {
		if !seen[party] && !strings.HasPrefix(party, clientsPrefix) {
			seen[party] = true
			all = append(all, party)
		}
	}
	for party := range p.last {
		add(party)
	}
	for party := range p.caches.byParty {
		add(party)
	}
	p.locks.Each(p.now(), func(s lock.State) { add(s.Party) })
	return all
}

// Close stops the clock: no lease ends any more. Who waits hears of it from the Exchange.
func (p *Primitives) Close() {
	p.mu.Lock()
	p.closed = true
	p.timer.Stop()
	p.mu.Unlock()
	p.tasks.Wait()
}

// Counts is how many there are of each.
type Counts struct {
	Limiters, Locks, Waiting, Counters, CacheUses int
}

// Counts is how many there are now.
func (p *Primitives) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	held, waiting := p.locks.Len()
	return Counts{
		Limiters: p.limiters.Len(), Locks: held, Waiting: waiting, Counters: p.counters.Len(),
		CacheUses: p.caches.total,
	}
}
