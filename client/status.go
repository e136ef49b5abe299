package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// Status is the state of the agent and its apps.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, "/v1/status", nil)
}
