package control

import (
	"context"
	"net/http"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

func (s *Server) start(ctx context.Context, o api.Order) (api.Outcome, error) {
	return s.order(ctx, "start", o, s.options.Life.Start)
}

func (s *Server) stop(ctx context.Context, o api.Order) (api.Outcome, error) {
	return s.order(ctx, "stop", o, s.options.Life.Stop)
}

func (s *Server) restart(ctx context.Context, o api.Order) (api.Outcome, error) {
	return s.order(ctx, "restart", o, s.options.Life.Restart)
}

func (s *Server) reload(ctx context.Context, o api.Order) (api.Outcome, error) {
	return s.order(ctx, "reload", o, s.options.Pools.Reload)
}

func (s *Server) rollback(ctx context.Context, o api.Order) (api.Outcome, error) {
	return s.order(ctx, "rollback", o, s.options.Pools.Rollback)
}

func (s *Server) scale(ctx context.Context, o api.Order) (api.Outcome, error) {
	if !o.Relative && o.Workers < 0 {
		return api.Outcome{}, fault.New(fault.Usage, "workers is %d", o.Workers).WithFix("give 0 or more, or set relative")
	}
	return s.order(ctx, "scale", o, s.options.Pools.Scale)
}

func (s *Server) signal(ctx context.Context, o api.Order) (api.Outcome, error) {
	if o.Signal == "" {
		return api.Outcome{}, fault.New(fault.Usage, "signal is missing").WithFix("name one, such as SIGUSR1")
	}
	return s.order(ctx, "signal", o, s.options.Pools.Signal)
}

// order publishes an order and carries it out.
func (s *Server) order(ctx context.Context, verb string, o api.Order, f func(context.Context, api.Order) api.Outcome) (api.Outcome, error) {
	if o.Selector == "" {
		return api.Outcome{}, noSelector()
	}
	s.ordered(ctx, verb, o.Selector)
	return withResults(f(ctx, o)), nil
}

func launchParams() []Param {
	return []Param{{Name: "selector", Type: "string", Required: true, Text: "The app, or one of its workers."}}
}

func (s *Server) launch(r *http.Request) (api.Launch, error) {
	selector := r.URL.Query().Get("selector")
	if selector == "" {
		return api.Launch{}, noSelector()
	}
	return s.options.Launch(selector)
}

func noSelector() error {
	return fault.New(fault.Usage, "selector is missing").WithFix("name an app or a worker: web, web#2, tag:edge, role:worker, all")
}
