package control

import (
	"context"
	"fmt"
	"net/http"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func (s *Server) setPort(ctx context.Context, o api.SetPort) (api.Outcome, error) {
	switch {
	case s.options.Set == nil:
		return api.Outcome{}, s.notOffered(http.MethodPost, "/v1/set-port")
	case o.Selector == "":
		return api.Outcome{}, noSelector()
	case o.Name == "":
		return api.Outcome{}, fault.New(fault.Usage, "name is missing").WithFix("name a port of the app, such as http")
	}
	s.ordered(ctx, fmt.Sprintf("set port %s %d", o.Name, o.Port), o.Selector)
	return withResults(s.options.Set.SetPort(ctx, o)), nil
}

func (s *Server) setProbe(ctx context.Context, o api.SetProbe) (api.Outcome, error) {
	switch {
	case s.options.Set == nil:
		return api.Outcome{}, s.notOffered(http.MethodPost, "/v1/set-probe")
	case o.Selector == "":
		return api.Outcome{}, noSelector()
	}
	s.ordered(ctx, "set probe "+o.Interval.String(), o.Selector)
	return withResults(s.options.Set.SetProbe(ctx, o)), nil
}

// withResults is an outcome whose list is never null on the wire.
func withResults(out api.Outcome) api.Outcome {
	if out.Results == nil {
		out.Results = []api.Result{}
	}
	return out
}
