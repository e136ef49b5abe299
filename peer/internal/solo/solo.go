package solo

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/counter"
	"github.com/muster-run/muster/internal/coordination/limiter"
	"github.com/muster-run/muster/internal/coordination/lock"
	"github.com/muster-run/muster/internal/op"
)

const (
	// name of the one process.
	name = "alone"
	// outMax is how many frames may wait to be received.
	outMax = 1 << 16
	// tableMax bounds limiters, locks and counters each.
	tableMax = 1 << 16
)

// Wire is muster's part in the same process.
type Wire struct {
	app   string
	start time.Time

	mu       sync.Mutex
	out      [][]byte
	bell     chan struct{}
	closed   chan struct{}
	topics   []op.ChannelBody
	listens  map[string]bool
	asking   map[int64]int64 // what is asked of a listener → the request it answers
	next     int64
	commands []op.Command
	limits   *limiter.Table
	counters *counter.Table
	locks    *lock.Table
	timer    *time.Timer
}

// New makes one for a process of an app, which may be "".
func New(app string) *Wire {
	w := &Wire{
		app: app, start: time.Now(), bell: make(chan struct{}, 1), closed: make(chan struct{}),
		listens: map[string]bool{}, asking: map[int64]int64{},
		limits: limiter.New(tableMax), counters: counter.New(tableMax), locks: lock.New(tableMax, tableMax),
	}
	return w
}

// Send deals with a frame.
func (w *Wire) Send(line []byte) error {
	f, err := op.Parse(bytes.Clone(line))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over():
		return closedFault()
	case len(w.out) >= outMax:
		return fault.New(fault.ChannelFull, "%d frames wait to be read", len(w.out)).WithFix("send less at a time")
	case f.Cmd == op.CmdCancel:
		w.locks.Cancel(uint64(f.ID))
	case f.Cmd == op.CmdReply:
		w.replied(f)
	default:
		w.act(f)
	}
	w.settle()
	return nil
}

func (w *Wire) over() bool {
	select {
	case <-w.closed:
		return true
	default:
		return false
	}
}

func closedFault() error {
	return fault.New(fault.AgentUnreachable, "this end of operations was closed").WithFix("ask before it is closed")
}

// Receive waits for the next frame.
func (w *Wire) Receive(ctx context.Context) ([]byte, error) {
	for {
		w.mu.Lock()
		if len(w.out) > 0 {
			line := w.out[0]
			w.out = w.out[1:]
			w.mu.Unlock()
			return line, nil
		}
		w.mu.Unlock()
		select {
		case <-w.bell:
		case <-w.closed:
			return nil, io.EOF
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Close ends it.
func (w *Wire) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over() {
		close(w.closed)
		if w.timer != nil {
			w.timer.Stop()
		}
	}
	return nil
}

// put lets a frame be received. w.mu is held, as in all that follows.
func (w *Wire) put(f op.Frame) {
	w.out = append(w.out, f.Append(nil))
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// answer replies to a frame, if it wants that.
func (w *Wire) answer(id int64, value any, err error) {
	if id == 0 {
		return
	}
	f := op.Frame{Cmd: op.CmdReply, ID: id, Error: op.ErrorOf(err)}
	if err == nil && value != nil {
		f.Body, err = json.Marshal(value)
		f.Error = op.ErrorOf(err)
	}
	w.put(f)
}

// act deals with an operation.
func (w *Wire) act(f op.Frame) {
	if f.To != "" {
		w.answer(f.ID, nil, alone(f.Op+" to "+f.To))
		return
	}
	if w.listens["*"] || w.listens[f.Op] {
		w.tellListener(f)
		if !known(f.Op) {
			return
		}
	}
	if f.Op == op.LockAcquire {
		w.acquire(f)
		return
	}
	value, err := w.do(f)
	w.answer(f.ID, value, err)
}

func alone(what string) error {
	return fault.New(fault.Alone, "%s needs muster, and this program runs without it", what)
}

// do is what is answered at once.
func (w *Wire) do(f op.Frame) (any, error) {
	switch f.Op {
	case op.Hello:
		return op.Welcome{Name: name, App: w.app}, nil
	case op.Ping:
		return f.Body, nil
	case op.Heartbeat, op.Crash, op.Lifecycle, op.CacheUse:
		return nil, nil
	case op.CacheDel, op.CacheDrop:
		return op.Receivers{}, nil
	case op.Peers:
		return []op.Peer{{Name: name, App: w.app, Ready: true}}, nil
	case op.Commands:
		return op.CommandsBody{Commands: w.commands}, nil
	case op.AddCommands, op.DelCommands:
		return with(f, w.changeCommands)
	case op.Publish:
		return with(f, func(b op.PublishBody) (any, error) { return w.publish(f, b), nil })
	case op.Subscribe, op.Unsubscribe:
		return with(f, func(b op.ChannelBody) (any, error) { return nil, w.subscribe(b, f.Op == op.Subscribe) })
	case op.Listen, op.Unlisten:
		return with(f, func(b op.OpsBody) (any, error) { return nil, set(w.listens, f.Op == op.Listen, b.Ops...) })
	case op.LimiterTake:
		return with(f, w.take)
	case op.CounterAdd:
		return with(f, func(b op.CounterBody) (any, error) {
			value, err := w.counters.Add(b.Name, b.Add)
			return op.Value{Value: value}, err
		})
	case op.CounterGet:
		return with(f, func(b op.CounterBody) (any, error) { return op.Value{Value: w.counters.Get(b.Name)}, nil })
	case op.LockRenew, op.LockRelease:
		return with(f, func(b op.LockBody) (any, error) { return w.held(f.Op, b) })
	}
	if known(f.Op) {
		return nil, alone(f.Op)
	}
	return nil, fault.New(fault.UnknownOp, "nothing here answers %s", f.Op)
}

// known says that an operation is muster's own.
func known(opName string) bool {
	switch opName {
	case op.Hello, op.Ping, op.Heartbeat, op.Crash, op.Lifecycle, op.Peers, op.Publish, op.Subscribe, op.Unsubscribe,
		op.Listen, op.Unlisten, op.AddCommands, op.DelCommands, op.Commands, op.Kill, op.Restart, op.Reload, op.Status,
		op.SetPort, op.SetProbe, op.ConfigReload, op.LimiterTake, op.LockAcquire, op.LockRenew, op.LockRelease,
		op.CounterAdd, op.CounterGet, op.CacheUse, op.CacheDel, op.CacheDrop:
		return true
	}
	return false
}

// with reads the body of a frame and does what is to be done with it.
func with[B any](f op.Frame, do func(B) (any, error)) (any, error) {
	var body B
	if err := json.Unmarshal(f.Body, &body); err != nil {
		return nil, fault.New(fault.Usage, "the body of %s cannot be read: %w", f.Op, err).WithFix("see OPERATIONS.md")
	}
	return do(body)
}

func set(names map[string]bool, on bool, list ...string) error {
	for _, n := range list {
		if on {
			names[n] = true
		} else {
			delete(names, n)
		}
	}
	return nil
}

func (w *Wire) changeCommands(b op.CommandsBody) (any, error) {
	for _, c := range b.Commands {
		w.commands = slices.DeleteFunc(w.commands, func(x op.Command) bool { return x.Name == c.Name })
	}
	return nil, nil
}

// subscribe notes a channel and its queue, or takes them away.
func (w *Wire) subscribe(b op.ChannelBody, on bool) error {
	b.Channel = w.resolve(b.Channel)
	w.topics = slices.DeleteFunc(w.topics, func(x op.ChannelBody) bool { return x == b })
	if on {
		w.topics = append(w.topics, b)
	}
	return nil
}

func (w *Wire) resolve(channel string) string {
	if strings.HasPrefix(channel, ":") {
		return w.app + channel
	}
	return channel
}

// publish gives a message to the process itself, if it wants its own: for each kind of
// subscription once.
func (w *Wire) publish(f op.Frame, b op.PublishBody) (told op.Receivers) {
	if b.Op == "" {
		b.Op = op.Message
	}
	b.Channel = w.resolve(b.Channel)
	for _, t := range w.topics {
		if b.Self && t.Channel == b.Channel {
			w.put(op.Frame{Cmd: op.CmdOp, Op: b.Op, From: name, Channel: b.Channel, Queue: t.Queue, Hops: f.Hops, Body: b.Message})
			told.Receivers++
		}
	}
	return told
}

// tellListener gives the process a copy of what it has sent to muster; an operation that
// muster does not know it is asked.
func (w *Wire) tellListener(f op.Frame) {
	copied := op.Frame{Cmd: op.CmdOp, Op: f.Op, From: name, Hops: f.Hops, Body: f.Body}
	if f.ID != 0 && !known(f.Op) {
		w.next++
		copied.ID = w.next
		w.asking[w.next] = f.ID
	}
	w.put(copied)
}

// replied passes on the reply of a listener.
func (w *Wire) replied(f op.Frame) {
	if id, ok := w.asking[f.ID]; ok {
		delete(w.asking, f.ID)
		f.ID = id
		w.put(f)
	}
}
