package agent

import (
	"errors"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/socket"
)

// controlName is the control listener in the keeper's Store.
const controlName = "control"

// listen makes the control socket ours: the one that an agent before has left,
// with whoever waits in its queue, else a new one. The keeper is asked in any
// case: an agent that was killed while it began has left the socket and no record.
func (a *Agent) listen() error {
	if a.keeper != nil {
		switch err := a.relisten(); {
		case err == nil:
			return nil
		case fault.CodeOf(err) != fault.SocketGone:
			return err
		}
	}
	rule := a.opts.Spec.Control
	bound, err := socket.Listen(a.paths.Socket, rule.Group, rule.Mode)
	if err != nil {
		return err
	}
	a.serveOn(bound)
	if a.keeper == nil {
		return nil
	}
	f, err := bound.File()
	if err != nil {
		return fault.New(fault.Internal, "the control socket cannot be kept: %w", err)
	}
	return errors.Join(a.keeper.Store.Put(controlName, f), f.Close())
}

// relisten goes on with the socket that the keeper has; E-SOCKET-GONE says that
// there is none, or that its file is gone.
func (a *Agent) relisten() error {
	f, err := a.keeper.Store.Get(controlName)
	if err != nil {
		return err
	}
	if f == nil {
		return fault.New(fault.SocketGone, "the agent before had no control socket")
	}
	defer f.Close()
	bound, err := socket.Adopt(f, a.paths.Socket)
	if err != nil {
		return err
	}
	a.serveOn(bound)
	return nil
}

func (a *Agent) serveOn(bound *socket.Socket) {
	a.socket = bound
	a.undo("control socket", func() error { _ = bound.Close(); return nil })
}
