package client

import (
	"context"

	"github.com/muster-run/muster/api"
)

// Version says who answers: the cheapest call, good for asking whether an agent
// is there.
func (c *Client) Version(ctx context.Context) (api.Agent, error) {
	return get[api.Agent](ctx, c, "/v1/version", nil)
}

// Shutdown ends the agent and everything it runs. It returns when everything
// has stopped, just before the agent itself ends.
func (c *Client) Shutdown(ctx context.Context, r api.StopRequest) error {
	_, err := post[api.Done](ctx, c, "/v1/shutdown", r)
	return err
}

// Upgrade replaces the agent by one of another binary, without touching a worker.
// It returns what is planned, just before this agent leaves: how it went stands in
// the Status of the next one.
func (c *Client) Upgrade(ctx context.Context, r api.UpgradeRequest) (api.Upgrade, error) {
	return post[api.Upgrade](ctx, c, "/v1/upgrade", r)
}

// ReopenLogs makes the agent open its log files anew, for an external rotation.
func (c *Client) ReopenLogs(ctx context.Context) error {
	_, err := post[api.Done](ctx, c, "/v1/reopen-logs", struct{}{})
	return err
}
