package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Call is a request, or something told, that an operation of muster's own (Serve) is
// to deal with. Safe for concurrent use.
type Call struct {
	e     *Exchange
	x     *errand
	from  string
	pid   int
	body  json.RawMessage
	again bool
	hops  int
	done  atomic.Bool // it was answered, or nobody waits

	// Guarded by the Exchange's mutex; nil until somebody asks.
	ctx    context.Context
	cancel context.CancelFunc
}

func newCall(e *Exchange, x *errand, f op.Frame, v served) *Call {
	c := &Call{e: e, x: x, from: x.asker.p.Name, pid: x.asker.pid, body: f.Body, again: f.Again, hops: f.Hops}
	x.due, x.call = due(time.Now(), max(0, f.Within)), c
	if !v.builtin {
		c.body = bytes.Clone(f.Body)
	}
	return c
}

// Op is the operation.
func (c *Call) Op() string { return c.x.op }

// Party is who asks, as it is now.
func (c *Call) Party() op.Party {
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	return c.x.asker.p
}

// From is the asker's Name, PartyID its ID: less work than Party.
func (c *Call) From() string { return c.from }

// PartyID is the asker's ID.
func (c *Call) PartyID() string { return c.x.asker.p.ID }

// PID is the asker's; 0: not known yet.
func (c *Call) PID() int { return c.pid }

// Body is the request's, nil when it has none. It is the Call's own copy.
func (c *Call) Body() json.RawMessage { return c.body }

// ID is the asker's own number; 0: it wants no reply.
func (c *Call) ID() int64 { return c.x.id }

// Again says that an earlier agent may have dealt with it already: the asker says so,
// or it is the first frame that the asker is heard with after an adoption.
func (c *Call) Again() bool { return c.again }

// Context ends when nobody waits for the reply any more: at the deadline, by a
// cancel, when the asker has gone, or after Reply. That of a Call without an ID never
// ends.
func (c *Call) Context() context.Context {
	if c.x.id == 0 {
		return context.Background()
	}
	c.e.mu.Lock()
	defer c.e.mu.Unlock()
	if c.ctx == nil {
		ctx, cancel := context.WithCancel(context.Background())
		c.ctx, c.cancel = until{ctx, c.x.due}, cancel
		if c.done.Load() || c.x.asker.gone || c.e.closed {
			cancel()
		}
	}
	return c.ctx
}

// until is a context with a deadline that the Exchange's clock keeps.
type until struct {
	context.Context
	due time.Time
}

// Deadline implements context.Context.
func (u until) Deadline() (time.Time, bool) { return u.due, true }

// Reply answers: with body as JSON, or with err. body may be nil; a json.RawMessage
// is sent as it is and must be valid JSON without a line end. Only the first Reply
// counts, and none after the Context has ended.
func (c *Call) Reply(body any, err error) {
	if c.x.id == 0 || c.done.Load() {
		return
	}
	f := op.Frame{Error: op.ErrorOf(err)}
	if err == nil {
		f.Body, f.Error = form(body)
	}
	if len(f.Body) > op.BodyMax {
		f.Body, f.Error = nil, op.ErrorOf(fault.New(fault.TooLarge, "the answer to %s has %d bytes, at most %d are carried", c.x.op, len(f.Body), op.BodyMax))
	}
	e := c.e
	e.mu.Lock()
	defer e.leave()
	if c.done.Load() || c.x.asker.gone || e.closed {
		return
	}
	e.finish(c.x, false)
	c.close()
	e.reply(c.x, f)
}

// close says that nobody waits. The Exchange's mutex is held.
func (c *Call) close() {
	c.done.Store(true)
	if c.cancel != nil {
		c.cancel()
	}
}

// form is a body as JSON.
func form(body any) (json.RawMessage, *op.Error) {
	switch b := body.(type) {
	case nil:
		return nil, nil
	case json.RawMessage:
		return b, nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return nil, op.ErrorOf(fault.New(fault.Internal, "the reply has no form in JSON: %w", err))
	}
	return text, nil
}

// mustJSON is the form of one of package op's own bodies, which all have one.
func mustJSON(body any) json.RawMessage {
	text, _ := form(body)
	return text
}

// await lets a call that was not answered at once wait with the others.
func (e *Exchange) await(c *Call) {
	e.mu.Lock()
	defer e.leave()
	s := c.x.asker
	switch {
	case c.done.Load():
	case s.gone || e.closed:
		c.close()
	case e.limits(s) != nil:
		e.refuse(c.x, e.limits(s))
		c.close()
	default:
		e.begin(c.x)
	}
}
