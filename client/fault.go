package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"syscall"

	"github.com/muster-run/muster/fault"
)

// broken makes a fault of a failure to reach the agent or to hear it out. What
// is a fault already, it passes on.
func (c *Client) broken(ctx context.Context, err error) error {
	if asked := (*url.Error)(nil); errors.As(err, &asked) {
		err = asked.Err // verb and address are the client's own business
	}
	switch {
	case fault.CodeOf(err) != "":
		return fault.From(err)
	case ctx.Err() == nil && timedOut(err):
		return c.unreachable(fmt.Sprintf("the agent has not begun to answer within %s", c.options.AnswerTime), err)
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.Timeout, "the agent has not answered in time, and goes on: %w", err)
	case ctx.Err() != nil:
		return fault.New(fault.Interrupted, "interrupted: %w", err)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return fault.New(fault.Denied, "the control socket may not be used: %w", err).At(c.options.Socket)
	case errors.Is(err, syscall.ENOENT):
		return c.unreachable("there is no control socket", err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return c.unreachable("nobody listens on the control socket", err)
	case errors.Is(err, syscall.EINVAL):
		return fault.New(fault.SocketPath, "the control socket's path cannot be used: %w", err).At(c.options.Socket)
	}
	return c.unreachable("the agent went away while it answered", err)
}

// timedOut says that a time of the wire has passed, not one of the caller.
func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

func (c *Client) unreachable(text string, err error) error {
	return fault.New(fault.AgentUnreachable, "%s: %w", text, err).At(c.options.Socket)
}
