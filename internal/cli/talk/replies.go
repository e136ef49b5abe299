package talk

import (
	"strings"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// Replied is what workers have replied to a request, one result for each.
func Replied(r api.Replies) (out api.Outcome) {
	for _, reply := range r.Replies {
		app, _, _ := strings.Cut(reply.From, "#")
		result := api.Result{App: app, Worker: reply.From, PID: reply.PID, Fault: reply.Fault}
		if reply.Fault != nil {
			result.Fault = reply.Fault.At(reply.From)
			if result.Fault.Code == fault.UnknownOp && result.Fault.Fix == "" { // said by an SDK
				result.Fault = result.Fault.WithFix(fault.Explain(fault.UnknownOp).Fix)
			}
		} else {
			result.Text = "no content"
			if len(reply.Body) > 0 {
				result.Text = string(reply.Body)
			}
		}
		out.Results = append(out.Results, result)
	}
	return out
}
