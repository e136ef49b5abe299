package control

import (
	"context"
	"net/http"

	"github.com/muster-run/muster/api"
)

func (s *Server) notifyTest(ctx context.Context, in api.NotifyTest) (api.Outcome, error) {
	if s.options.NotifyTest == nil {
		return api.Outcome{}, s.notOffered(http.MethodPost, "/v1/notify-test")
	}
	s.ordered(ctx, "notify test", in.Name)
	out := api.Outcome{Results: s.options.NotifyTest(ctx, in.Name)}
	if out.Results == nil {
		out.Results = []api.Result{}
	}
	return out, nil
}
