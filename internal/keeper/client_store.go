package keeper

import (
	"context"
	"os"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
)

// Store is what the keeper holds by name. Put does not wait for an answer: the
// keeper tells of what went wrong by Troubles.
func (c *Client) Store() process.Store { return clientStore{c} }

type clientStore struct{ c *Client }

// crowded is how many frames may wait for the keeper before a Put waits for it, and
// patience for how long. Each holds a descriptor, and the channel bounds those:
// workers that say a lot have their record saved faster than a keeper on a busy
// machine reads.
const (
	crowded  = 64
	patience = 5 * time.Second
)

// Put implements process.Store. It does not wait for an answer, but for what was put
// before, if that is much; when the keeper does not read at all, it fails in the end.
func (s clientStore) Put(name string, f *os.File) error {
	if frames, _ := s.c.conn.Waiting(); frames >= crowded {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_ = s.c.conn.Flush(ctx) // what is wrong shows below
	}
	return process.WithFDs([]*os.File{f}, func(fds []int) error {
		return s.c.tell(&wire.Request{Op: wire.OpPut, Name: wire.Text(name)}, fds...)
	})
}

// Get implements process.Store.
func (s clientStore) Get(name string) (*os.File, error) { return s.fetch(wire.OpGet, name) }

// Take implements process.Store.
func (s clientStore) Take(name string) (*os.File, error) { return s.fetch(wire.OpTake, name) }

func (s clientStore) fetch(op, name string) (*os.File, error) {
	a, err := s.c.call(context.Background(), &wire.Request{Op: op, Name: wire.Text(name)}, nil, nil)
	switch {
	case err != nil:
		return nil, err
	case a.reply.FDs == 0:
		closeAll(a.fds)
		return nil, nil
	case len(a.fds) == 0:
		// The kernel drops what does not fit into this process's table.
		return nil, fault.New(fault.Internal, "cannot take %s from the keeper: %w", name, error(syscall.EMFILE))
	}
	closeAll(a.fds[1:])
	return os.NewFile(uintptr(a.fds[0]), name), nil
}

// List implements process.Store. It is empty when the keeper is gone.
func (s clientStore) List() []string {
	a, err := s.c.call(context.Background(), &wire.Request{Op: wire.OpNames}, nil, nil)
	if err != nil {
		return nil
	}
	return wire.FromTexts(a.reply.Names)
}
