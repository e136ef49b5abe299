package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// NotifyTest has one notifier deliver a test note, or for "" all of them; each has a
// result.
func (c *Client) NotifyTest(ctx context.Context, name string) (api.Outcome, error) {
	return post[api.Outcome](ctx, c, "/v1/notify-test", api.NotifyTest{Name: name})
}
