package client

import (
	"context"
	"net/url"

	"github.com/muster-run/muster/api"
)

// Start starts what is stopped or failed and waits until it is ready.
func (c *Client) Start(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/start", o)
}

// Stop stops apps or workers and waits until nothing of them is left.
func (c *Client) Stop(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/stop", o)
}

// Restart stops and starts with the same release.
func (c *Client) Restart(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/restart", o)
}

// Reload replaces the workers by those of a new release, rolling.
func (c *Client) Reload(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/reload", o)
}

// Rollback goes back to the release that ran before, rolling.
func (c *Client) Rollback(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/rollback", o)
}

// Scale changes the size of pools.
func (c *Client) Scale(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/scale", o)
}

// Signal sends a signal to workers.
func (c *Client) Signal(ctx context.Context, o api.Order) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/signal", o)
}

// Launch is what it takes to run a command in an app's surroundings.
func (c *Client) Launch(ctx context.Context, selector string) (api.Launch, error) {
	return get[api.Launch](ctx, c, "/v1/launch", url.Values{"selector": {selector}})
}
