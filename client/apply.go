package client

import (
	"context"
	"net/url"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/spec"
)

// Spec is what the agent runs at present, with secrets masked unless they are
// asked for.
func (c *Client) Spec(ctx context.Context, secrets bool) (spec.Spec, error) {
	q := url.Values{}
	if secrets {
		q.Set("secrets", "1")
	}
	return get[spec.Spec](ctx, c, "/v1/spec", q)
}

// Diff says what Apply would change.
func (c *Client) Diff(ctx context.Context, s spec.Spec) ([]spec.Change, error) {
	r, err := ask[api.ApplyResult](ctx, c, "/v1/diff", api.ApplyRequest{Spec: s, DryRun: true})
	return r.Changes, err
}

// Apply hands the agent a new spec. It returns when everything that was
// touched is ready or has failed; see api.Outcome.Fault for which.
func (c *Client) Apply(ctx context.Context, s spec.Spec) (api.ApplyResult, error) {
	return post[api.ApplyResult](ctx, c, "/v1/apply", api.ApplyRequest{Spec: s})
}
