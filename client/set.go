package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// SetPort changes a named port of apps. With Now it waits until they are ready on it.
func (c *Client) SetPort(ctx context.Context, o api.SetPort) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/set-port", o)
}

// SetProbe changes the interval of the health check of apps.
func (c *Client) SetProbe(ctx context.Context, o api.SetProbe) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/set-probe", o)
}
