package talk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/client"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
)

// Answer is what one worker has sent since it was sent a message.
type Answer struct {
	api.Result
	// Message is JSON; beyond event.MessageMax a JSON string of its beginning.
	Message json.RawMessage `json:"message,omitempty"`
	// Size of the message in bytes.
	Size int `json:"size,omitempty"`
}

// Answers are those of all workers that were sent a message, in their order.
type Answers struct {
	Results []Answer `json:"results"`
}

// Fault is that of all results together, see api.Outcome.
func (a Answers) Fault() *fault.Fault {
	var out api.Outcome
	for _, r := range a.Results {
		out.Results = append(out.Results, r.Result)
	}
	return out.Fault()
}

// errEnough ends the reading of events.
var errEnough = errors.New("all have answered")

// Await waits for the first message of each worker that got one; got is called for
// each as it comes. A worker that has ended, or is silent until ctx ends, has a
// fault for that.
func Await(ctx context.Context, c *client.Client, sent api.Outcome, got func(Answer)) (Answers, error) {
	w := newWaiting(sent, got)
	if len(w.open) == 0 {
		return w.all, nil
	}
	err := c.Events(ctx, sent.After, w.event)
	switch {
	case errors.Is(err, errEnough):
		return w.all, nil
	case fault.CodeOf(err) == fault.Timeout:
		w.silent()
		return w.all, nil
	case err == nil:
		err = fault.New(fault.NotRunning, "muster has ended")
	}
	return w.all, err
}

// waiting is who has not answered yet.
type waiting struct {
	all  Answers
	open map[int]int // pid → place in all
	got  func(Answer)
}

func newWaiting(sent api.Outcome, got func(Answer)) *waiting {
	w := &waiting{got: got, open: map[int]int{}}
	for i, r := range sent.Results {
		w.all.Results = append(w.all.Results, Answer{Result: r})
		if r.Fault == nil {
			w.open[r.PID] = i
		}
	}
	return w
}

func (w *waiting) event(e event.Event) error {
	i, ok := w.open[e.PID]
	if !ok {
		return nil
	}
	a := &w.all.Results[i]
	switch d := e.Data.(type) {
	case event.WorkerMessage:
		a.Text, a.Message, a.Size = "", d.Message, d.Size
	case event.WorkerExit:
		a.Text = ""
		a.Fault = fault.New(fault.Exited, "it has ended without an answer").WithOutput(d.Lines).At(a.Worker)
	default:
		return nil
	}
	delete(w.open, e.PID)
	if a.Fault == nil {
		w.got(*a)
	}
	if len(w.open) == 0 {
		return errEnough
	}
	return nil
}

// silent gives a fault to all that have not answered.
func (w *waiting) silent() {
	for _, i := range w.open {
		a := &w.all.Results[i]
		a.Text = ""
		a.Fault = fault.New(fault.Timeout, "it has sent nothing within --timeout").At(a.Worker).
			WithFix("it got the message, but may not answer such ones; `muster logs " + a.Worker + "` shows what it does with it")
	}
}

// Line is the answer for people.
func (a Answer) Line() string {
	if a.Size > len(a.Message) && a.Size > event.MessageMax {
		return fmt.Sprintf("%s: %s … (%d bytes)", a.Worker, a.Message, a.Size)
	}
	return fmt.Sprintf("%s: %s", a.Worker, a.Message)
}
