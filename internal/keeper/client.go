package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/spool"
)

const (
	// FDEnv is the variable that names the agent's end of the socket to its keeper.
	FDEnv = "MUSTER_KEEPER_FD"
	// ProjectEnv names the keeper's Options.Project to its agent, for the case that
	// there is no keeper any more to be asked.
	ProjectEnv = "MUSTER_KEEPER_PROJECT"
	// dialTimeout bounds the handshake, flushTimeout what Close waits for a keeper
	// that does not read.
	dialTimeout  = 10 * time.Second
	flushTimeout = time.Second
	// waiting is how many signals, and how many troubles, may wait to be taken.
	waiting = 64
)

// Protocol is the version of the keeper's protocol that this program speaks.
const Protocol = wire.Version

// ProtocolMin is the oldest version that it understands.
const ProtocolMin = wire.VersionMin

// Hello is what the keeper tells a new agent.
type Hello = wire.Hello

// Client is the agent's side: a process.Starter, and a process.Store by Store.
// Safe for concurrent use. After Lost every call fails at once with
// E-KEEPER-LOST, and after Close with process.ErrClosed. After Lost List tells what
// is known, and the methods of a Proc work on.
type Client struct {
	conn     *channel.Conn
	exits    *process.ExitQueue
	views    process.Views
	buffers  *sync.Pool // for readers of spools
	signals  chan os.Signal
	troubles chan error
	lost     chan struct{}
	ended    chan struct{} // closed by Close
	running  sync.WaitGroup

	// mu also keeps the order of ids that of the requests on the wire.
	mu    sync.Mutex
	err   error // why there are no calls any more
	last  uint64
	calls map[uint64]*call
	known mirror
}

// call is a request that waits for its reply.
type call struct {
	parts *wire.Reply // of a reply in parts
	learn func(a *wire.Reply)
	done  chan answered // has room for one
}

type answered struct {
	reply *wire.Reply
	fds   []int
}

var _ process.Starter = (*Client)(nil)

// Dial says hello over the socket fd, which it takes over, and learns of the
// processes that there are: the exits among them are delivered by Exits. Faults:
// E-UPGRADE when keeper and agent have no version of the protocol in common,
// E-KEEPER-LOST.
func Dial(fd int) (*Client, Hello, error) {
	takeName()
	c := &Client{
		conn: channel.Open(fd, channel.Options{FrameMax: wire.ReplyMax}), buffers: spool.NewBuffers(),
		signals: make(chan os.Signal, waiting), troubles: make(chan error, waiting),
		lost: make(chan struct{}), ended: make(chan struct{}), calls: map[uint64]*call{},
	}
	c.exits = process.NewExitQueue(c.ended)
	c.known.open(c)
	c.running.Go(c.exits.Run)
	c.running.Go(c.receive)
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	a, err := c.call(ctx, &wire.Request{Op: wire.OpHello, Protocol: wire.Version, Min: wire.VersionMin}, nil, nil)
	if err == nil && a.reply.Hello == nil {
		err = fault.New(fault.Internal, "the keeper says hello without a word")
	}
	if err == nil {
		_, err = c.list(ctx)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fault.New(fault.KeeperLost, "the keeper does not answer within %s: %w", dialTimeout, err)
	}
	if err != nil {
		_ = c.Close()
		return nil, Hello{}, err
	}
	return c, *a.reply.Hello, nil
}

// call sends a request and waits for its reply. learn is called with it, in the
// order in which the keeper said all it says, with c.mu held.
func (c *Client) call(ctx context.Context, r *wire.Request, fds []int, learn func(*wire.Reply)) (answered, error) {
	k := &call{learn: learn, done: make(chan answered, 1)}
	id, err := c.send(r, fds, k)
	if err != nil {
		return answered{}, err
	}
	select {
	case a, ok := <-k.done:
		switch {
		case !ok:
			return answered{}, c.failed()
		case a.reply.Error != nil:
			closeAll(a.fds)
			return answered{}, a.reply.Error.Err()
		}
		return a, nil
	case <-ctx.Done():
		c.forget(id)
		return answered{}, ctx.Err()
	}
}

// tell sends a request that has no reply. Once it has returned, the keeper
// carries the request out though this process is killed, unless more waits than
// the socket holds; then all that was asked before comes first, in any case.
func (c *Client) tell(r *wire.Request, fds ...int) error {
	_, err := c.send(r, fds, nil)
	return err
}

func (c *Client) send(r *wire.Request, fds []int, k *call) (uint64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sendLocked(r, fds, k)
}

// sendLocked sends a request, and notes who waits for its reply; c.mu is held.
func (c *Client) sendLocked(r *wire.Request, fds []int, k *call) (uint64, error) {
	if c.err != nil {
		return 0, c.err
	}
	if k != nil {
		c.last++
		r.ID = c.last
	}
	data, err := json.Marshal(r)
	switch {
	case err != nil:
	case len(data) > wire.RequestMax:
		err = syscall.EMSGSIZE
	default:
		err = c.conn.Send(data, fds...)
	}
	switch {
	case errors.Is(err, channel.ErrGone):
		return 0, lost() // Receive ends as well
	case err != nil:
		return 0, fault.New(fault.Internal, "cannot ask the keeper to %s: %w", r.Op, err)
	}
	if k != nil {
		c.calls[r.ID] = k
	}
	return r.ID, nil
}

// forget gives up waiting for a reply.
func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, id)
}

func (c *Client) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func lost() error { return fault.New(fault.KeeperLost, "the keeper is gone") }

// receive takes what the keeper says until its end, or Close.
func (c *Client) receive() {
	for {
		f, err := c.conn.Receive(context.Background())
		if err != nil {
			c.end(lost())
			return
		}
		c.hear(f)
	}
}

// end fails all calls; only the first error counts.
func (c *Client) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	for _, k := range c.calls {
		close(k.done)
	}
	clear(c.calls)
	if fault.CodeOf(err) == fault.KeeperLost {
		close(c.lost)
	}
}

// hear takes one frame. What is not known comes from a newer keeper.
func (c *Client) hear(f channel.Frame) {
	a := &wire.Reply{}
	if err := json.Unmarshal(f.Data, a); err != nil {
		closeAll(f.FDs)
		c.complain(fmt.Errorf("the keeper said what cannot be understood: %w", err))
		return
	}
	if a.Op == wire.OpReply {
		c.replied(answered{a, f.FDs})
		return
	}
	closeAll(f.FDs)
	switch a.Op {
	case wire.OpExit:
		if a.Exit != nil {
			c.mu.Lock()
			c.known.exited(a.Exit.Process())
			c.mu.Unlock()
		}
	case wire.OpSignal:
		select {
		case c.signals <- syscall.Signal(a.Signal):
		default:
		}
	case wire.OpTrouble:
		if a.Error != nil {
			c.complain(fmt.Errorf("%s %s: %w", a.Of, a.About, a.Error.Err()))
		}
	}
}

func (c *Client) complain(err error) {
	select {
	case c.troubles <- err:
	default:
	}
}

// replied hands a reply to its call.
func (c *Client) replied(a answered) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[a.reply.ID]
	if k == nil { // nobody waits any more
		closeAll(a.fds)
		return
	}
	if p := k.parts; p != nil {
		a.reply.Processes = append(p.Processes, a.reply.Processes...)
		a.reply.Names = append(p.Names, a.reply.Names...)
	}
	if a.reply.More {
		k.parts = a.reply
		return
	}
	delete(c.calls, a.reply.ID)
	if k.learn != nil {
		k.learn(a.reply)
	}
	k.done <- a
}

// Signals delivers what the keeper was sent: TERM, INT, QUIT, HUP, USR2, TTIN,
// TTOU. What comes while 64 wait to be taken is dropped.
func (c *Client) Signals() <-chan os.Signal { return c.signals }

// Troubles delivers what went wrong with calls that do not wait (Put, Commit).
// What comes while 64 wait to be taken is dropped.
func (c *Client) Troubles() <-chan error { return c.troubles }

// Up says that this agent serves.
func (c *Client) Up() error { return c.tell(&wire.Request{Op: wire.OpUp}) }

// Notify sends a state to systemd (sd_notify) from the keeper's pid.
func (c *Client) Notify(state string) error {
	return c.tell(&wire.Request{Op: wire.OpNotify, State: wire.Text(state)})
}

// Upgrade makes the keeper start exe once this agent has left by its end, and
// this program again when that one is not Up in time. what is opaque: the next
// agent finds it in Hello.Upgrade, with the outcome.
func (c *Client) Upgrade(exe *os.File, what json.RawMessage) error {
	return process.WithFDs([]*os.File{exe}, func(fds []int) error {
		_, err := c.call(context.Background(), &wire.Request{Op: wire.OpUpgrade, What: what}, fds, nil)
		return err
	})
}

// End says that this agent ends orderly now, and the keeper after it with code.
func (c *Client) End(code int) error {
	_, err := c.call(context.Background(), &wire.Request{Op: wire.OpEnd, Code: code}, nil, nil)
	return err
}

// Lost is closed when the keeper is gone; not by Close.
func (c *Client) Lost() <-chan struct{} { return c.lost }

// Close sends what waits to be sent, for a second at most, and ends the Client.
func (c *Client) Close() error {
	c.end(process.ErrClosed)
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	_ = c.conn.Flush(ctx) // a keeper that is gone needs nothing more
	err := c.conn.Close()
	c.mu.Lock()
	select {
	case <-c.ended:
	default:
		close(c.ended)
	}
	c.known.close()
	c.mu.Unlock()
	c.running.Wait()
	return err
}
