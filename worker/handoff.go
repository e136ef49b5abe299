package worker

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/worker/internal/dealt"
)

// askTimeout bounds the wait for muster to bind an address that is not declared.
const askTimeout = 30 * time.Second

// newDealer is the hand-off's end of this worker; nil: its connections are not dealt.
func newDealer(w *Worker) dealer {
	if w.env.get("MUSTER_DEALT") != "1" {
		return nil
	}
	return &handoff{w: w, member: dealt.Join(dealt.Options{
		Send:  func(frame []byte) error { return w.conn.Send(frame) },
		Count: w.env.get("MUSTER_COUNT") == "1",
		// Muster waits for a worker with declared listeners to accept on them. Of any
		// other it cannot know whether it is going to ask for one.
		Online:     len(w.sockets.all) == 0,
		Disconnect: func() { go w.drain() },
	})}
}

// handoff is the dealer of a worker to which muster deals connections (MUSTER_DEALT).
type handoff struct {
	w      *Worker
	member *dealt.Member
}

func (h *handoff) hears(f channel.Frame) {
	if !h.member.Hear(f.Data, f.FDs, f.Truncated) {
		closeAll(f.FDs)
	}
}

// listen finds out whether an address is declared. One that is not is asked for, but for
// those on ports of the worker's own.
func (h *handoff) listen(network, address string) (net.Listener, bool, error) {
	s, err := h.w.inheritedFor(network, address)
	switch {
	case err != nil:
		return nil, true, err
	case s != nil && s.network != "tcp" && s.network != "unix", s == nil && h.w.env.ownPort(address):
		return nil, false, nil
	case s == nil:
		ctx, cancel := context.WithTimeoutCause(context.Background(), askTimeout, errors.New("muster has not answered"))
		defer cancel()
		l, err := h.member.Listen(ctx, network, address)
		if err != nil {
			return nil, true, bindFault(address, err)
		}
		return l, true, nil
	}
	l, err := h.declared(s)
	if err != nil {
		return nil, true, bindFault(address, err)
	}
	return l, true, nil
}

// declared is the dealt listener of an inherited socket.
func (h *handoff) declared(s *socket) (net.Listener, error) {
	var addr net.Addr = &net.UnixAddr{Net: "unix", Name: s.address}
	if s.network == "tcp" {
		at, err := net.ResolveTCPAddr("tcp", s.address) // of numbers
		if err != nil {
			return nil, err
		}
		addr = at
	}
	return h.member.Declared(s.fd-h.w.env.first, addr, s.listener)
}

func (h *handoff) drain() { h.member.Leave() }

func (h *handoff) close() { h.member.End(errors.New("this worker was closed")) }
