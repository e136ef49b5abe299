package keeper

import (
	"context"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/spool"
)

// Output implements process.Starter: a reader of the spool's files, which asks the
// keeper for what no file tells.
func (c *Client) Output(id string) (process.Output, error) {
	a, err := c.call(context.Background(), &wire.Request{Op: wire.OpOutput, Process: wire.Text(id)}, nil, nil)
	if err != nil {
		return nil, err
	}
	return spool.Follow(string(a.reply.Dir), tail{c, a.reply.Out}, c.buffers), nil
}

// tail is a spool.Tail across the socket.
type tail struct {
	client *Client
	out    uint64
}

// Wait implements spool.Tail.
func (t tail) Wait(ctx context.Context, pos int64) (spool.State, error) {
	a, err := t.client.call(ctx, &wire.Request{Op: wire.OpWait, Out: t.out, Pos: pos}, nil, nil)
	switch {
	case err != nil:
		return spool.State{}, err
	case a.reply.State == nil:
		return spool.State{}, fault.New(fault.Internal, "the keeper does not say how far the output is")
	}
	return a.reply.State.Spool(), nil
}

// Commit implements spool.Tail. It does not wait for the keeper.
func (t tail) Commit(pos int64, skip [2]int64) error {
	return t.client.tell(&wire.Request{Op: wire.OpCommit, Out: t.out, Pos: pos, Skip: &skip})
}

// Close implements spool.Tail.
func (t tail) Close() error { return t.client.tell(&wire.Request{Op: wire.OpRelease, Out: t.out}) }
