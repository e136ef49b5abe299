package client

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// Message sends a message to workers and says to which it went. The bytes of
// m.Message reach them unchanged (see api.Message).
func (c *Client) Message(ctx context.Context, m api.Message) (api.Outcome, error) {
	if !json.Valid(m.Message) {
		return api.Outcome{}, fault.New(fault.Usage, "the message is not JSON")
	}
	selector, err := json.Marshal(m.Selector)
	if err != nil {
		return api.Outcome{}, fault.New(fault.Internal, "cannot encode the request: %w", err)
	}
	// json.Marshal would write the message in other bytes.
	body := append(append([]byte(`{"selector":`), selector...), `,"message":`...)
	body = append(append(body, m.Message...), '}')
	return exchange[api.Outcome](ctx, c, call{method: http.MethodPost, path: "/v1/message", body: body})
}
