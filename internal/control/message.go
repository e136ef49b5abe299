package control

import (
	"context"
	"net/http"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// message publishes that a message is sent, and sends it. What it says is not
// published: it may hold secrets.
func (s *Server) message(ctx context.Context, m api.Message) (api.Outcome, error) {
	switch {
	case m.Selector == "":
		return api.Outcome{}, noSelector()
	case len(m.Message) == 0:
		return api.Outcome{}, fault.New(fault.Usage, "message is missing").WithFix(`give any JSON value, such as {"type":"gc"}`)
	case len(m.Message) > api.MessageMax:
		return api.Outcome{}, status{http.StatusRequestEntityTooLarge, fault.New(fault.Usage,
			"the message has %d bytes, at most %d are sent", len(m.Message), api.MessageMax).
			WithFix("send less at a time, or the name of a file")}
	}
	after := lastOf(s.options.Events)
	s.ordered(ctx, "message", m.Selector)
	out := s.options.Pools.Message(ctx, m)
	out.After = after
	if out.Results == nil {
		out.Results = []api.Result{}
	}
	return out, nil
}

// lastOf is the number of the last event so far.
func lastOf(h *event.Hub) uint64 {
	if past := h.Past(); len(past) > 0 {
		return past[len(past)-1].Seq
	}
	return 0
}
