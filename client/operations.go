package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// Ask asks workers or clients that take part in operations, and waits for their
// replies.
func (c *Client) Ask(ctx context.Context, a api.Ask) (api.Replies, error) {
	return post[api.Replies](ctx, c, "/v1/request", a)
}

// Commands are those that processes offer to the console.
func (c *Client) Commands(ctx context.Context) (api.Commands, error) {
	return get[api.Commands](ctx, c, "/v1/commands", nil)
}

// RunCommand runs one of them in all that offer it.
func (c *Client) RunCommand(ctx context.Context, r api.CommandRun) (api.Replies, error) {
	return post[api.Replies](ctx, c, "/v1/commands/run", r)
}

// WorkerConsole has a worker open a console, and says where.
func (c *Client) WorkerConsole(ctx context.Context, o api.ConsoleOrder) (api.ConsolePlace, error) {
	return post[api.ConsolePlace](ctx, c, "/v1/worker-console", o)
}
