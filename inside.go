package muster

import (
	"context"
	"os"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/peer"
)

const (
	// party is the name of the Pool among those that take part in operations.
	party = "client:pool"
	// insideMax is how many bytes may wait to be read by the Pool's own end.
	insideMax = 64 << 20
)

// join makes the Pool a party of its own exchange.
func (p *Pool) join() {
	p.inside = &inside{bell: make(chan struct{}, 1), over: make(chan struct{})}
	p.inside.seat = p.ops.Exchange().Enter(op.Party{
		ID: "client/pool", Name: party, Send: p.inside.put, Waiting: p.inside.waiting,
	}, false)
	p.inside.seat.Ready(os.Getpid(), true)
	options := p.o.Peer
	options.Log, options.SDK = p.o.Log, "pool/1"
	p.Peer = peer.New(p.inside, options)
	p.undo("peer", func() error { p.inside.seat.Gone(); return p.Peer.Close() })
}

// inside is a peer.Wire whose other end is the exchange in this process.
type inside struct {
	seat op.Seat

	mu    sync.Mutex
	lines [][]byte
	bytes int
	bell  chan struct{} // holds one while there may be a line
	once  sync.Once
	over  chan struct{}
}

// Send gives a line to the exchange.
func (i *inside) Send(line []byte) error {
	select {
	case <-i.over:
		return fault.New(fault.AgentUnreachable, "the pool has ended")
	default:
		i.seat.Hear(line)
		return nil
	}
}

// put takes a line from the exchange.
func (i *inside) put(line []byte) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.bytes+len(line) > insideMax {
		return fault.New(fault.ChannelFull, "%d bytes wait for the pool's program to read them", i.bytes)
	}
	i.lines = append(i.lines, append([]byte(nil), line...))
	i.bytes += len(line)
	select {
	case i.bell <- struct{}{}:
	default:
	}
	return nil
}

func (i *inside) waiting() (frames, bytes int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.lines), i.bytes
}

// Receive waits for the next line.
func (i *inside) Receive(ctx context.Context) ([]byte, error) {
	for {
		if line := i.next(); line != nil {
			return line, nil
		}
		select {
		case <-i.bell:
		case <-i.over:
			return nil, fault.New(fault.AgentUnreachable, "the pool has ended")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// next is the oldest line; nil: there is none.
func (i *inside) next() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.lines) == 0 {
		return nil
	}
	line := i.lines[0]
	i.lines[0] = nil
	i.lines = i.lines[1:]
	i.bytes -= len(line)
	if len(i.lines) > 0 {
		select {
		case i.bell <- struct{}{}:
		default:
		}
	}
	return line
}

// Close ends it.
func (i *inside) Close() error {
	i.once.Do(func() { close(i.over) })
	return nil
}
