package peer

import (
	"bytes"
	"encoding/json"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// receive reads the Wire to its end. The only code of the program that it runs is
// CacheOptions.OnRemove.
func (p *Peer) receive() {
	defer close(p.read)
	for {
		line, err := p.wire.Receive(p.ctx)
		if err != nil {
			p.end(err)
			return
		}
		f, err := op.Parse(plain(line))
		if err != nil {
			if p.counts.unreadable.Add(1) == 1 {
				p.log.Warn("a frame from muster cannot be read; more of them are only counted", "error", err)
			}
			continue
		}
		p.hear(f)
	}
}

// plain is a line without the mark of frames for Node.js's own channel (NODE_).
func plain(line []byte) []byte {
	const marked = `{"cmd":"NODE_MUSTER_`
	if !bytes.HasPrefix(line, []byte(marked)) {
		return line
	}
	const head = `{"cmd":"`
	line = line[len("NODE_"):]
	copy(line, head)
	return line
}

// end is the end of the Wire.
func (p *Peer) end(err error) {
	p.ended.CompareAndSwap(nil, wireFault(err))
	_ = p.wire.Close() // why it has ended is known
	p.cancel(p.ended.Load())
	p.asked.end(p.ended.Load())
	p.caches.forget()
	p.subs.end()
}

// hear deals with one frame, or hands it to a goroutine.
func (p *Peer) hear(f op.Frame) {
	switch {
	case f.Cmd == op.CmdReply:
		p.hearReply(f)
	case f.Cmd == op.CmdCancel:
		p.heard.cancel(f.ID)
	case f.Channel != "":
		p.hearPublished(f)
	default:
		p.hearOp(f)
	}
}

func (p *Peer) hearReply(f op.Frame) {
	q, ok := p.asked.find(f)
	if !ok {
		p.counts.late.Add(1)
		return
	}
	q.put(f)
}

// hearOp acts on what muster tells the library; all else is for handlers.
func (p *Peer) hearOp(f op.Frame) {
	switch f.Op {
	case op.AgentNew:
		p.renew(f)
	case op.Gap:
		var body op.GapBody
		_ = json.Unmarshal(f.Body, &body) // 0: that there is a gap is what counts
		p.missed(max(1, body.Missed))
	case op.CacheDel, op.CacheDrop:
		p.caches.invalidate(f)
	case op.CommandRun:
		p.answer(f, p.commands.find(f))
	default:
		p.answer(f, p.heard.find(f.Op))
	}
}

// renew goes on with another agent: what cannot be repeated without harm fails, the
// rest is sent again with the IDs it had.
func (p *Peer) renew(f op.Frame) {
	var info AgentInfo
	_ = json.Unmarshal(f.Body, &info) // unknown numbers do no harm
	p.caches.forget()
	for _, q := range p.asked.some(func(q *pending) bool { return !repeatable(q.frame.Op) || q.frame.To != "" }) {
		if _, underway := p.asked.remove(q.id); underway {
			q.fail(fault.New(fault.AgentReplaced, "another agent has taken over before %s was answered", q.frame.Op))
		}
	}
	under := p.asked.some(func(*pending) bool { return true })
	if !p.asked.has(op.Hello) { // else it is the first that is asked again
		p.sayHello()
	}
	p.askAgain(under)
	p.caches.useAgain(p)
	if p.o.OnAgent != nil {
		go p.guard("OnAgent", func() { p.o.OnAgent(info) })
	}
}

// askAgain sends again what was under way, and nothing else meanwhile.
func (p *Peer) askAgain(under []*pending) {
	p.asked.order.Lock()
	defer p.asked.order.Unlock()
	for _, q := range under {
		f := q.frame
		f.ID, f.Again = q.id, true
		if err := p.put(f); err != nil {
			if _, underway := p.asked.remove(q.id); underway {
				q.fail(wireFault(err))
			}
		}
	}
}

// repeatable says that muster knows whether it has dealt with an operation already, or
// that doing it twice is doing it once.
func repeatable(opName string) bool {
	switch opName {
	case op.LimiterTake, op.CounterAdd:
		return true
	}
	return harmless(opName)
}

// harmless says that an operation may be done twice.
func harmless(opName string) bool {
	switch opName {
	case op.Hello, op.Peers, op.Subscribe, op.Unsubscribe, op.Listen, op.Unlisten,
		op.AddCommands, op.DelCommands, op.Commands, op.Status, op.CounterGet,
		op.LockAcquire, op.LockRenew, op.LockRelease, op.CacheUse, op.CacheDel, op.CacheDrop:
		return true
	}
	return false
}
