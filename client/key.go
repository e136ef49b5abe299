package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// SessionKey is the key that control.listen asks for: a secret.
func (c *Client) SessionKey(ctx context.Context) (api.SessionKey, error) {
	return get[api.SessionKey](ctx, c, "/v1/session-key", nil)
}
