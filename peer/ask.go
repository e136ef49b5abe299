package peer

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Request asks one process and waits for its reply, which is read into what reply
// points to (nil: it is not wanted). to is a selector: web#1, or web, tag:edge,
// role:worker … for one of those that are ready, in turn; "" is muster itself, and the
// listeners of the application. body is any value that encoding/json can write; nil:
// none. Without a deadline in ctx it waits 30 s. Errors: E-DEADLINE, E-NO-PEER,
// E-UNKNOWN-OP, E-PEER-GONE, E-AGENT-REPLACED, E-CHANNEL-FULL, or what the receiver's
// code has chosen, E-HANDLER if nothing.
func (p *Peer) Request(ctx context.Context, to, opName string, body, reply any) error {
	f, err := p.frame(ctx, to, opName, body)
	if err != nil {
		return err
	}
	got, err := p.ask(ctx, f)
	if err != nil {
		return err
	}
	return decode(got.Body, reply)
}

// Send tells something to those that the selector means, and does not wait: to one of
// several, as a Request goes, but without a reply. to "": to muster and the listeners
// of the application.
func (p *Peer) Send(ctx context.Context, to, opName string, body any) error {
	f, err := p.frame(ctx, to, opName, body)
	if err != nil {
		return err
	}
	return p.send(f)
}

// Post is Send of a message that has its op within (see Envelope).
func (p *Peer) Post(ctx context.Context, to string, message any) error {
	opName, body, err := Envelope(message)
	if err != nil {
		return err
	}
	return p.Send(ctx, to, opName, body)
}

// Tell tells something to all that the selector means, and returns how many got it.
// The sender gets none itself, unless it is named exactly.
func (p *Peer) Tell(ctx context.Context, to, opName string, body any) (Receivers, error) {
	f, err := p.frame(ctx, to, opName, body)
	if err != nil {
		return Receivers{}, err
	}
	if to == "" {
		return Receivers{}, fault.New(fault.Usage, "nobody is named to be told").WithFix("name a selector: all, web, role:worker …; Send tells muster")
	}
	f.All = true
	got, err := p.askWithin(ctx, f, -1)
	if err != nil {
		return Receivers{}, err
	}
	var r Receivers
	return r, decode(got.Body, &r)
}

// Answer is one process's part of what Gather brings together.
type Answer struct {
	From string // web#1
	PID  int
	Body json.RawMessage
}

// Decode reads the answer into what v points to.
func (a Answer) Decode(v any) error { return decode(a.Body, v) }

// Gather asks all that the selector means, and yields their answers as they come,
// until all have answered or the deadline of ctx (30 s if it has none; muster keeps it, and
// is waited for up to a second more). Who has not answered, or with an error, is yielded
// with the error and its name in From; an error of the question as a whole comes alone,
// without a name. Leaving the loop early ends the question.
func (p *Peer) Gather(ctx context.Context, to, opName string, body any) iter.Seq2[Answer, error] {
	return func(yield func(Answer, error) bool) {
		f, err := p.frame(ctx, to, opName, body)
		if err == nil && to == "" {
			err = fault.New(fault.Usage, "nobody is named to be asked").WithFix("name a selector: all, web, role:worker …")
		}
		if err == nil {
			f.All = true
			err = p.gather(ctx, f, yield)
		}
		if err != nil {
			yield(Answer{}, err)
		}
	}
}

// gather yields all answers; its error is not yet yielded.
func (p *Peer) gather(ctx context.Context, f op.Frame, yield func(Answer, error) bool) error {
	ctx, stop, err := deadline(ctx, &f)
	defer stop()
	if err != nil {
		return err
	}
	ctx, end := patient(ctx)
	defer end()
	q, err := p.begin(f, nil)
	if err != nil {
		return err
	}
	defer p.forget(q)
	for {
		got, err := q.take(ctx)
		switch {
		case err != nil:
			return err
		case got.More:
			if !yield(Answer{From: got.From, PID: got.PID, Body: got.Body}, errorOf(got, got.From)) {
				return nil
			}
		default:
			return lastOf(got, yield)
		}
	}
}

// patient goes on a little when the deadline of ctx has passed: muster keeps it, too, and
// says then who has not answered. A cancelled ctx ends it at once.
func patient(ctx context.Context) (context.Context, func()) {
	longer, end := context.WithCancelCause(context.WithoutCancel(ctx))
	forget := context.AfterFunc(ctx, func() {
		why := context.Cause(ctx)
		if !errors.Is(why, context.DeadlineExceeded) {
			end(why)
			return
		}
		last := time.AfterFunc(slack, func() { end(why) })
		context.AfterFunc(longer, func() { last.Stop() })
	})
	return longer, func() {
		forget()
		end(nil)
	}
}

// lastOf yields who is missing.
func lastOf(got op.Frame, yield func(Answer, error) bool) error {
	if err := errorOf(got, ""); err != nil {
		return err
	}
	var sum op.Gathered
	if err := decode(got.Body, &sum); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(sum.Missing)) {
		code := fault.Code(sum.Missing[name])
		if !yield(Answer{From: name}, fault.New(code, "%s", fault.Explain(code).Summary).At(name)) {
			return nil
		}
	}
	return nil
}

// Peers lists who the selector means, ready or not; "": everybody.
func (p *Peer) Peers(ctx context.Context, selector string) ([]Info, error) {
	var list []Info
	return list, p.Request(ctx, "", op.Peers, op.PeersBody{To: selector}, &list)
}

// hopsKey finds in a context how many handlers a message comes through.
type hopsKey struct{}

// frame makes a frame of operations, not yet numbered.
func (p *Peer) frame(ctx context.Context, to, opName string, body any) (op.Frame, error) {
	if err := checkName("the op", opName); err != nil {
		return op.Frame{}, err
	}
	raw, err := encode(body)
	if err != nil {
		return op.Frame{}, err
	}
	hops, _ := ctx.Value(hopsKey{}).(int)
	if hops > op.HopsMax {
		return op.Frame{}, fault.New(fault.TooDeep, "%s was sent from within %d handlers of each other's messages", opName, hops)
	}
	return op.Frame{Cmd: op.CmdOp, Op: opName, To: to, Body: raw, Hops: hops}, nil
}

// ask sends a request and waits for its reply.
func (p *Peer) ask(ctx context.Context, f op.Frame) (op.Frame, error) {
	return p.askWithin(ctx, f, 0)
}

// askWithin is ask with another deadline for muster than ctx has; 0: that of ctx.
func (p *Peer) askWithin(ctx context.Context, f op.Frame, within int64) (op.Frame, error) {
	ctx, stop, err := deadline(ctx, &f)
	defer stop()
	if err != nil {
		return op.Frame{}, err
	}
	if within != 0 {
		f.Within = within
	}
	q, err := p.begin(f, nil)
	if err != nil {
		return op.Frame{}, err
	}
	defer p.forget(q)
	got, err := q.take(ctx)
	if err != nil {
		return op.Frame{}, err
	}
	return got, errorOf(got, got.From)
}

// deadline tells the frame how long the asker waits, and bounds ctx where it is not.
func deadline(ctx context.Context, f *op.Frame) (context.Context, context.CancelFunc, error) {
	if ctx.Err() != nil {
		return ctx, func() {}, gaveUp(ctx, "nothing was asked")
	}
	at, ok := ctx.Deadline()
	if !ok {
		ctx, stop := context.WithTimeout(ctx, op.WithinDefault+slack)
		return ctx, stop, nil
	}
	within := min(time.Until(at), op.WithinMax)
	f.Within = max(1, (within + time.Millisecond - 1).Milliseconds())
	return ctx, func() {}, nil
}

// errorOf is the error of a reply, nil of one without.
func errorOf(f op.Frame, where string) error {
	if f.Error == nil {
		return nil
	}
	failed := f.Error.Fault()
	if where != "" {
		failed = failed.At(where)
	}
	return failed
}
