package keeper

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process/spool"
)

// outputs are the spools that an agent reads: it reads the segments itself, and
// asks here only for what no file tells. One goroutine answers all that wait.
type outputs struct {
	session *session
	last    uint64             // number given out
	list    map[uint64]*output // used by the session's goroutine, and close after it

	more  chan struct{} // holds a token while changed is not empty
	ended chan struct{}
	done  sync.WaitGroup

	mu      sync.Mutex
	changed map[*output]struct{}
}

// output is one open spool.
type output struct {
	spool  *spool.Spool
	asleep atomic.Bool // a request waits for a change

	mu   sync.Mutex
	wait wire.Request // that waits; its ID is 0: none
}

func (o *outputs) open(x *session) {
	o.session, o.list, o.changed = x, map[uint64]*output{}, map[*output]struct{}{}
	o.more, o.ended = make(chan struct{}, 1), make(chan struct{})
	o.done.Go(o.answerChanged)
}

// close gives every spool free for the next agent.
func (o *outputs) close() {
	for number := range o.list {
		o.release(number)
	}
	close(o.ended)
	o.done.Wait()
}

func (o *outputs) carryOut(a *arrival) {
	var out *output
	if a.Op != wire.OpOutput {
		if out = o.list[a.Out]; out == nil {
			o.session.answer(&a.Request, nil, fmt.Errorf("output %d is not open: %w", a.Out, os.ErrClosed))
			return
		}
	}
	answer, err := &wire.Reply{}, error(nil)
	switch a.Op {
	case wire.OpOutput:
		answer, err = o.begin(string(a.Process))
	case wire.OpWait:
		out.mu.Lock()
		out.wait = a.Request // one before it is not answered any more
		out.mu.Unlock()
		out.asleep.Store(true)
		o.settle(out)
		return
	case wire.OpCommit:
		var skip [2]int64
		if a.Skip != nil {
			skip = *a.Skip
		}
		err = out.spool.Commit(a.Pos, skip)
	case wire.OpRelease:
		o.release(a.Out)
	}
	o.session.answer(&a.Request, answer, err)
}

// begin opens the spool of a process. It stays open when the process is
// acknowledged.
func (o *outputs) begin(id string) (*wire.Reply, error) {
	s, err := o.session.server.spools(id)
	if err != nil {
		return nil, err
	}
	if err := s.Reading(true); err != nil {
		return nil, err
	}
	out := &output{spool: s}
	o.last++
	o.list[o.last] = out
	s.Watch(func() { o.note(out) })
	return &wire.Reply{Out: o.last, Dir: wire.Text(s.Dir())}, nil
}

func (o *outputs) release(number uint64) {
	out := o.list[number]
	delete(o.list, number)
	out.spool.Watch(nil)
	out.mu.Lock()
	out.wait = wire.Request{}
	out.mu.Unlock()
	_ = out.spool.Reading(false) // fails only for true
}

// note remembers that a spool has changed that somebody waits for. The spool is
// locked meanwhile.
func (o *outputs) note(out *output) {
	if !out.asleep.Load() {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.changed[out] = struct{}{}
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// answerChanged runs until close.
func (o *outputs) answerChanged() {
	for {
		select {
		case <-o.more:
		case <-o.ended:
			return
		}
		o.mu.Lock()
		changed := o.changed
		o.changed = map[*output]struct{}{}
		o.mu.Unlock()
		for out := range changed {
			o.settle(out)
		}
	}
}

// settle answers the request that waits, if the spool reaches beyond its place
// by now, or is over.
func (o *outputs) settle(out *output) {
	out.mu.Lock()
	defer out.mu.Unlock()
	if out.wait.ID == 0 {
		return
	}
	st := out.spool.State(out.wait.Pos)
	if st.End <= out.wait.Pos && len(st.Held) == 0 && !st.Over {
		return
	}
	out.asleep.Store(false)
	o.session.answer(&out.wait, &wire.Reply{State: wire.FromState(st)}, nil)
	out.wait = wire.Request{}
}
