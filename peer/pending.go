package peer

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// asked are the requests under way.
type asked struct {
	order sync.Mutex // held from the choice of an ID until its frame has left
	next  int64
	buf   []byte

	mu    sync.Mutex
	table map[int64]*pending
	over  *fault.Fault // why nothing can be asked any more
}

// pending is a request under way. Its replies wait in line until they are taken.
type pending struct {
	id    int64
	frame op.Frame
	told  func(op.Frame) // instead of the line; on the reading goroutine

	mu      sync.Mutex
	replies []op.Frame
	bell    chan struct{}
}

func (a *asked) start(now time.Time) {
	a.next = now.UnixMicro()
	a.table = map[int64]*pending{}
}

// begin sends a request. forget must follow, unless told is set.
func (p *Peer) begin(f op.Frame, told func(op.Frame)) (*pending, error) {
	a := &p.asked
	a.order.Lock()
	defer a.order.Unlock()
	a.next++
	f.ID = a.next
	q := &pending{id: f.ID, frame: f, told: told, bell: make(chan struct{}, 1)}
	if err := a.add(q); err != nil {
		return nil, err
	}
	if err := p.put(f); err != nil {
		a.remove(q.id)
		return nil, err
	}
	return q, nil
}

// put sends a frame. a.order is held.
func (p *Peer) put(f op.Frame) error {
	if over := p.ended.Load(); over != nil {
		return over
	}
	a := &p.asked
	a.buf = f.Append(a.buf[:0])
	err := p.wire.Send(a.buf)
	if cap(a.buf) > 64<<10 {
		a.buf = nil // one large message is no reason to keep its room
	}
	if err != nil {
		return wireFault(err)
	}
	return nil
}

// send sends a frame that is no request.
func (p *Peer) send(f op.Frame) error {
	p.asked.order.Lock()
	defer p.asked.order.Unlock()
	return p.put(f)
}

func (a *asked) add(q *pending) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.over != nil:
		return a.over
	case len(a.table) >= AskedMax:
		return fault.New(fault.TableFull, "%d requests are under way already", len(a.table)).WithFix("wait for replies before asking more")
	}
	a.table[q.id] = q
	return nil
}

func (a *asked) remove(id int64) (*pending, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q, ok := a.table[id]
	delete(a.table, id)
	return q, ok
}

// find is the request that a reply belongs to. The last reply ends it.
func (a *asked) find(f op.Frame) (*pending, bool) {
	if !f.More {
		return a.remove(f.ID)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	q, ok := a.table[f.ID]
	return q, ok
}

// end fails all that is under way, and all that comes.
func (a *asked) end(why *fault.Fault) {
	a.mu.Lock()
	all := a.table
	a.table, a.over = map[int64]*pending{}, why
	a.mu.Unlock()
	for _, q := range all {
		q.fail(why)
	}
}

// has says whether an operation is under way.
func (a *asked) has(opName string) bool {
	return len(a.some(func(q *pending) bool { return q.frame.Op == opName })) > 0
}

// some are the requests under way for which ok holds, in the order they were sent.
func (a *asked) some(ok func(*pending) bool) []*pending {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []*pending
	for _, q := range a.table {
		if ok(q) {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, func(x, y *pending) int { return int(x.id - y.id) })
	return list
}

func (q *pending) put(f op.Frame) {
	if q.told != nil {
		q.told(f)
		return
	}
	q.mu.Lock()
	q.replies = append(q.replies, f)
	q.mu.Unlock()
	select {
	case q.bell <- struct{}{}:
	default:
	}
}

func (q *pending) fail(why *fault.Fault) { q.put(op.Frame{ID: q.id, Error: op.ErrorOf(why)}) }

// take waits for the next reply.
func (q *pending) take(ctx context.Context) (op.Frame, error) {
	for {
		q.mu.Lock()
		if len(q.replies) > 0 {
			f := q.replies[0]
			q.replies = q.replies[1:]
			q.mu.Unlock()
			return f, nil
		}
		q.mu.Unlock()
		select {
		case <-q.bell:
		case <-ctx.Done():
			return op.Frame{}, gaveUp(ctx, "no reply has come")
		}
	}
}

// forget ends a request. muster is told when it is still under way.
func (p *Peer) forget(q *pending) {
	if _, underway := p.asked.remove(q.id); underway {
		_ = p.send(op.Frame{Cmd: op.CmdCancel, ID: q.id}) // without it muster's own deadline holds
	}
}
