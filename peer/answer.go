package peer

import (
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Request is something that another process, or muster, asks or tells this one.
type Request struct {
	Op   string
	From string // web#1, client:NAME; "" or muster: muster itself
	PID  int
	Body json.RawMessage
	// Asked: a reply is waited for.
	Asked bool
}

// Decode reads the body into what v points to. Without a body v stays as it is.
func (r *Request) Decode(v any) error { return decode(r.Body, v) }

// HandleFunc answers a Request: what it returns is the reply, any value that
// encoding/json can write. An error that is a *fault.Fault reaches the asker with its
// code, any other with E-HANDLER. ctx ends with the asker's deadline, when it has given
// up, and with the Peer; what is sent with it counts as sent from within the handler.
// It runs in a goroutine of its own, at the same time as others.
type HandleFunc func(ctx context.Context, r *Request) (any, error)

// heard is who deals with what comes.
type heard struct {
	mu        sync.Mutex
	handlers  map[string][]*registered // by op; the last one answers
	listeners []*registered
	running   map[int64]context.CancelFunc // by the ID of the request
	others    chan struct{}                // a place for each that runs
	ours      chan struct{}                // likewise, for what muster asks
}

// registered is one HandleFunc; for a listener with the ops that it hears.
type registered struct {
	f   HandleFunc
	ops []string
}

func (r *registered) hears(opName string) bool {
	return slices.Contains(r.ops, "*") || slices.Contains(r.ops, opName)
}

func (h *heard) start(first map[string]HandleFunc) {
	h.handlers = map[string][]*registered{}
	h.running = map[int64]context.CancelFunc{}
	h.others = make(chan struct{}, HandlersMax)
	h.ours = make(chan struct{}, handlersOfMuster)
	for name, f := range first {
		h.handlers[name] = []*registered{{f: f}}
	}
}

// Handle answers an op that others ask of this process. Of several for one op the last
// counts. remove takes it away again; what it is answering goes on.
func (p *Peer) Handle(opName string, f HandleFunc) (remove func()) {
	r := &registered{f: f}
	h := &p.heard
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handlers[opName] = append(h.handlers[opName], r)
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.handlers[opName] = without(h.handlers[opName], r)
	}
}

// without is a copy of the list without r.
func without(list []*registered, r *registered) []*registered {
	return slices.DeleteFunc(slices.Clone(list), func(x *registered) bool { return x == r })
}

// Hear hears what others send to muster: a copy of each op that is one of ops ("*":
// all). An op that muster does not know is asked of its listeners, and the first that
// replies answers it. f also hears those ops when they are sent to this process itself;
// a handler for the op then answers. remove takes it away again.
func (p *Peer) Hear(ctx context.Context, ops []string, f HandleFunc) (remove func(), err error) {
	r := &registered{f: f, ops: slices.Clone(ops)}
	h := &p.heard
	h.mu.Lock()
	h.listeners = append(h.listeners, r)
	h.mu.Unlock()
	remove = func() {
		if left := h.unlisten(r); len(left) > 0 {
			p.tell(op.Unlisten, op.OpsBody{Ops: left})
		}
	}
	if err := p.primitive(ctx, op.Listen, op.OpsBody{Ops: ops}, nil); err != nil {
		remove()
		return nil, err
	}
	return remove, nil
}

// unlisten removes a listener; left are its ops that nobody else here hears.
func (h *heard) unlisten(r *registered) (left []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Contains(h.listeners, r) {
		return nil
	}
	h.listeners = without(h.listeners, r)
	for _, name := range r.ops {
		if !slices.ContainsFunc(h.listeners, func(x *registered) bool { return slices.Contains(x.ops, name) }) {
			left = append(left, name)
		}
	}
	return left
}

// tell tells muster something of the library's own. It is lost only with the Wire.
func (p *Peer) tell(opName string, body any) {
	raw, err := encode(body)
	if err == nil {
		err = p.send(op.Frame{Cmd: op.CmdOp, Op: opName, Body: raw})
	}
	if err != nil && p.ctx.Err() == nil {
		p.log.Warn("muster could not be told", "op", opName, "error", err)
	}
}

// find lists who deals with an op, first the one that answers.
func (h *heard) find(opName string) []*registered {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []*registered
	if own := h.handlers[opName]; len(own) > 0 {
		list = append(list, own[len(own)-1])
	}
	for _, r := range h.listeners {
		if r.hears(opName) {
			list = append(list, r)
		}
	}
	return list
}

// answer lets handlers deal with a frame: the first one replies.
func (p *Peer) answer(f op.Frame, by []*registered) {
	if len(by) == 0 {
		if f.ID != 0 {
			p.reply(f, nil, fault.New(fault.UnknownOp, "nothing here answers %s", f.Op))
		}
		return
	}
	for i, r := range by {
		one := f
		if i > 0 {
			one.ID = 0
		}
		p.run(one, r.f)
	}
}

// run lets a handler deal with a frame, if there is a place for it.
func (p *Peer) run(f op.Frame, handler HandleFunc) {
	places := p.heard.others
	if f.From == "" || f.From == "muster" {
		places = p.heard.ours
	}
	select {
	case places <- struct{}{}:
	default:
		if f.ID == 0 {
			p.missed(1)
			return
		}
		p.reply(f, nil, fault.New(fault.TableFull, "%d requests are being answered already", cap(places)).WithFix("ask again later, or ask more workers"))
		return
	}
	ctx, stop := p.contextOf(f)
	go func() {
		defer func() { <-places }()
		defer stop()
		reply, err := p.call(ctx, f, handler)
		if f.ID != 0 {
			p.reply(f, reply, err)
		}
	}()
}

// contextOf is the context of a handler: the asker's deadline, and how deep it is.
func (p *Peer) contextOf(f op.Frame) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(context.WithValue(p.ctx, hopsKey{}, f.Hops+1))
	if f.ID == 0 {
		return ctx, stop
	}
	undo := stop
	if f.Within > 0 {
		timed, end := context.WithTimeout(ctx, time.Duration(f.Within)*time.Millisecond)
		ctx, undo = timed, func() { end(); stop() }
	}
	h := &p.heard
	h.mu.Lock()
	h.running[f.ID] = stop
	h.mu.Unlock()
	return ctx, func() {
		h.mu.Lock()
		delete(h.running, f.ID)
		h.mu.Unlock()
		undo()
	}
}

func (h *heard) cancel(id int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if stop, ok := h.running[id]; ok {
		stop()
	}
}

// call runs a handler; a panic in it is an error.
func (p *Peer) call(ctx context.Context, f op.Frame, handler HandleFunc) (reply any, err error) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("a handler has panicked", "op", f.Op, "from", f.From, "panic", v, "stack", string(debug.Stack()))
			err = fault.New(fault.HandlerFailed, "the handler of %s has panicked: %v", f.Op, v)
		}
	}()
	return handler(ctx, &Request{Op: f.Op, From: f.From, PID: f.PID, Body: f.Body, Asked: f.ID != 0})
}

// reply answers a request.
func (p *Peer) reply(f op.Frame, value any, err error) {
	answer := op.Frame{Cmd: op.CmdReply, ID: f.ID}
	if err == nil {
		answer.Body, err = encode(value)
	}
	if err != nil {
		answer.Error = op.ErrorOf(handlerFault(err))
	}
	if err := p.send(answer); err != nil && p.ctx.Err() == nil {
		p.log.Warn("a reply could not be sent", "op", f.Op, "to", f.From, "error", err)
	}
}

// handlerFault gives an error of the program's own the code of one.
func handlerFault(err error) error {
	var f *fault.Fault
	switch {
	case errors.As(err, &f):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return fault.New(fault.Deadline, "the handler has not answered in time: %w", err)
	}
	return fault.New(fault.HandlerFailed, "%w", err)
}

// guard runs a callback of the program.
func (p *Peer) guard(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.log.Error("a callback has panicked", "callback", what, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
