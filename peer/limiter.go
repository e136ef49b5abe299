package peer

import (
	"context"
	"math"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// askPrimitive is how long muster is waited for by calls that do not wait themselves.
const askPrimitive = 5 * time.Second

// primitive asks muster for what may be asked again: also when another agent cannot
// say whether it was done, if doing it twice is doing it once.
func (p *Peer) primitive(ctx context.Context, opName string, body, reply any) error {
	err := p.Request(ctx, "", opName, body, reply)
	for range 3 {
		if !harmless(opName) || fault.CodeOf(err) != fault.AgentReplaced {
			return err
		}
		err = p.Request(ctx, "", opName, body, reply)
	}
	return err
}

// LimiterOptions describe a token bucket.
type LimiterOptions struct {
	// Rate is how many tokens are added in every Interval; above 0.
	Rate     float64
	Interval time.Duration // 0: 1 s
	// Burst is how many there can be; at least 1. 0: Rate rounded up.
	Burst float64
	// FailOpen: what muster cannot decide (it does not answer in time, too many keys
	// are in use) is allowed. Otherwise it is refused, with the error.
	FailOpen bool
	// Patience is how long muster is waited for; 0: 5 s.
	Patience time.Duration
}

// Limiter lets through, over all processes of the project, what its rate allows.
type Limiter struct {
	p    *Peer
	name string
	o    LimiterOptions
}

// Limiter makes a limiter. Processes that name it alike share its buckets; its rate is
// what was asked with last. It sends nothing yet: a rate that is not possible shows
// when something is taken.
func (p *Peer) Limiter(name string, o LimiterOptions) *Limiter {
	if o.Patience <= 0 {
		o.Patience = askPrimitive
	}
	return &Limiter{p, name, o}
}

// Decision of a Limiter.
type Decision struct {
	Allowed bool
	// Wait is the exact time until the same would be allowed, if nobody else takes
	// any; 0 when it is.
	Wait time.Duration
	// Left is how many tokens there are now.
	Left float64
	// Err is why muster could not decide, of a limiter with FailOpen.
	Err error
}

// Take takes tokens from the bucket of a key (a user, an address; "" is one, too), or
// none when there are not as many. A refusal moves nothing. tokens 0: 1.
func (l *Limiter) Take(ctx context.Context, key string, tokens float64) (Decision, error) {
	if err := checkName("the limiter", l.name); err != nil {
		return Decision{}, err
	}
	asked, stop := context.WithTimeout(ctx, l.o.Patience)
	defer stop()
	body := l.o.body()
	body.Name, body.Key, body.Tokens = l.name, key, tokens
	var got op.Taken
	err := l.p.primitive(asked, op.LimiterTake, body, &got)
	switch {
	case err == nil:
		return Decision{Allowed: got.Allowed, Wait: time.Duration(got.WaitNS), Left: got.Left}, nil
	case ctx.Err() != nil, !l.o.FailOpen, fault.CodeOf(err) == fault.Usage:
		return Decision{}, err
	default:
		return Decision{Allowed: true, Err: err}, nil
	}
}

// body says the options in whole milliseconds: the same rate over another interval.
func (o LimiterOptions) body() op.LimiterBody {
	b := op.LimiterBody{Rate: o.Rate, Burst: o.Burst, IntervalMS: o.Interval.Milliseconds()}
	if b.Burst == 0 {
		b.Burst = max(1, math.Ceil(o.Rate))
	}
	switch {
	case o.Interval < 0:
		b.IntervalMS = min(-1, b.IntervalMS) // refused by who decides
	case o.Interval%time.Millisecond != 0:
		b.Rate, b.IntervalMS = o.Rate*float64(time.Second)/float64(o.Interval), 1000
	}
	return b
}

// Allow is Take of one token: is it allowed now? With an error it says what FailOpen
// says, but for one that shows a mistake in the options: that is no.
func (l *Limiter) Allow(ctx context.Context, key string) bool {
	d, err := l.Take(ctx, key, 1)
	return err == nil && d.Allowed
}

// Wait waits until tokens could be taken. It fails at once when they cannot be before
// the deadline of ctx, with E-DEADLINE.
func (l *Limiter) Wait(ctx context.Context, key string, tokens float64) error {
	for {
		d, err := l.Take(ctx, key, tokens)
		if err != nil || d.Allowed {
			return err
		}
		if at, ok := ctx.Deadline(); ok && time.Until(at) < d.Wait {
			return fault.New(fault.Deadline, "%s of limiter %s allows it only in %v: %w", key, l.name, d.Wait, context.DeadlineExceeded)
		}
		if err := pause(ctx, d.Wait); err != nil {
			return err
		}
	}
}

// pause waits for a time.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(max(d, time.Microsecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return gaveUp(ctx, "it was not allowed")
	}
}

// Counter is a number that all processes of the project share.
type Counter struct {
	p    *Peer
	name string
}

// Counter makes a counter. It begins at 0, and goes on while the keeper lives.
func (p *Peer) Counter(name string) *Counter { return &Counter{p, name} }

// Add adds n, which may be negative, and returns the sum. It is done once, also when
// the agent is replaced meanwhile; where that cannot be said it is E-AGENT-REPLACED.
func (c *Counter) Add(ctx context.Context, n int64) (int64, error) {
	return c.ask(ctx, op.CounterAdd, n)
}

// Get returns the number.
func (c *Counter) Get(ctx context.Context) (int64, error) { return c.ask(ctx, op.CounterGet, 0) }

func (c *Counter) ask(ctx context.Context, opName string, n int64) (int64, error) {
	if err := checkName("the counter", c.name); err != nil {
		return 0, err
	}
	var v op.Value
	err := c.p.primitive(ctx, opName, op.CounterBody{Name: c.name, Add: n}, &v)
	return v.Value, err
}
