package primitives

import (
	"time"

	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/op"
)

// take answers LimiterTake.
func (p *Primitives) take(c Call, now time.Duration) (any, error) {
	body, err := read[op.LimiterBody](c)
	if err == nil {
		err = checkName("limiter", body.Name)
	}
	if err == nil && body.Key != "" {
		err = checkName("limiter's key", body.Key)
	}
	if err != nil {
		return nil, err
	}
	if reply, done, err := p.replay(c); done {
		return reply, err
	}
	id := limiter.ID{Name: body.Name, Key: body.Key}
	limit, tokens := limitOf(body)
	before := p.limiters.State(id)
	taken, err := p.limiters.Take(id, limit, tokens, now)
	if err != nil {
		return nil, err
	}
	answer := op.Taken{Allowed: taken.Allowed, WaitNS: int64(taken.Wait), Left: taken.Left}
	if !taken.Moved {
		return answer, nil
	}
	reply, err := p.once(c, answer, func(b []byte) []byte { return appendBucket(b, id, p.limiters.State(id)) })
	if err != nil {
		p.limiters.Restore(id, before, now)
	}
	return reply, err
}

// count answers CounterAdd.
func (p *Primitives) count(c Call, _ time.Duration) (any, error) {
	body, err := counterBody(c)
	if err != nil {
		return nil, err
	}
	if reply, done, err := p.replay(c); done {
		return reply, err
	}
	if body.Add == 0 {
		return op.Value{Value: p.counters.Get(body.Name)}, nil
	}
	before := p.counters.Get(body.Name)
	sum, err := p.counters.Add(body.Name, body.Add)
	if err != nil {
		return nil, err
	}
	reply, err := p.once(c, op.Value{Value: sum}, func(b []byte) []byte { return appendCounter(b, body.Name, sum) })
	if err != nil {
		p.counters.Restore(body.Name, before)
	}
	return reply, err
}

// value answers CounterGet.
func (p *Primitives) value(c Call, _ time.Duration) (any, error) {
	body, err := counterBody(c)
	if err != nil {
		return nil, err
	}
	return op.Value{Value: p.counters.Get(body.Name)}, nil
}

func counterBody(c Call) (op.CounterBody, error) {
	body, err := read[op.CounterBody](c)
	if err == nil {
		err = checkName("counter", body.Name)
	}
	return body, err
}
