package supervisor

import (
	"bytes"
	"context"
	"fmt"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

// Message sends a message to workers, with a result for each of them: its fault
// says why a worker cannot get it. That it is sent does not mean that it was read.
func (s *Supervisor) Message(ctx context.Context, m api.Message) api.Outcome {
	_, done, f := s.order(ctx)
	var targets []target
	if f == nil {
		defer done()
		if f = mail.Internal(m.Message); f == nil {
			targets, f = s.find(m.Selector)
		}
	}
	if f != nil {
		return api.Outcome{Results: []api.Result{{App: m.Selector, Fault: f}}}
	}
	var out api.Outcome
	letter := mail.Letter{Data: inOneLine(m.Message), FD: mail.None}
	for _, t := range targets {
		out.Results = append(out.Results, s.message(t, letter)...)
	}
	return out
}

// message sends a letter to the selected workers of one app.
func (s *Supervisor) message(t target, l mail.Letter) []api.Result {
	name, slots := t.pool.Name(), t.slots
	if slots == nil {
		app, _ := t.pool.Declared()
		slots = []int{} // nil would be all
		for n := range app.Workers {
			slots = append(slots, n)
		}
	}
	var results []api.Result
	for _, n := range slots {
		worker := fmt.Sprintf("%s#%d", name, n)
		list := s.shared.Attempts.Mail.Send(func(b *mail.Box) bool { return b.App == name && b.Slot == n }, l)
		if len(list) == 0 {
			f := fault.New(fault.NotRunning, "%s does not run, or has no channel", worker)
			results = append(results, api.Result{App: name, Worker: worker, Fault: f.At(worker)})
		}
		for _, d := range list {
			r := api.Result{App: name, Worker: worker, PID: d.PID, Fault: d.Fault}
			if d.Fault == nil {
				r.Text = fmt.Sprintf("message sent (pid %d)", d.PID)
			}
			results = append(results, r)
		}
	}
	if len(results) == 0 {
		return []api.Result{{App: name, Fault: fault.New(fault.NotRunning, "%s has no workers", name).At(name)}}
	}
	return results
}

// inOneLine makes a frame of a JSON value: its line ends can only be between the
// parts of the value, where a space is as good.
func inOneLine(text []byte) []byte {
	line := bytes.Clone(text)
	for i, b := range line {
		if b == '\n' || b == '\r' {
			line[i] = ' '
		}
	}
	return line
}
