package show

import (
	"cmp"
	"fmt"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
)

// Results prints what was done, unless quiet, and on errs what failed where that is
// not all there is to say.
func Results(out, errs *Printer, results []api.Result, quiet bool) {
	for _, r := range results {
		if r.Fault == nil && !quiet {
			out.Line("%s", resultLine(r))
		}
	}
	if len(results) < 2 {
		return
	}
	for _, r := range results {
		if r.Fault != nil {
			errs.Error(FaultOf(r))
		}
	}
}

// FaultOf is the fault of a result, with its app as the place where it has none.
func FaultOf(r api.Result) *fault.Fault {
	if r.Fault.Where == "" && r.App != "" {
		return r.Fault.At(r.App)
	}
	return r.Fault
}

func resultLine(r api.Result) string {
	if r.App == "" {
		return r.Text
	}
	return fmt.Sprintf("%s: %s", cmp.Or(r.Worker, r.App), r.Text)
}

// Failures leaves out what went well: the table says it. One that went well is
// kept, so that the faults are known to be a part.
func Failures(o api.Outcome) api.Outcome {
	if o.Fault() != nil {
		return o
	}
	return api.Outcome{Results: []api.Result{{Text: "up: " + Count(len(o.Results), "app")}}}
}
