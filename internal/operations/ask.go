package operations

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/spec"
)

// oneWorker is a name such as web#1.
var oneWorker = regexp.MustCompile(`^[^,*?\[#]+#[0-9]+$`)

// Ask implements control.Operations.
func (o *Operations) Ask(ctx context.Context, a api.Ask) (api.Replies, error) {
	switch {
	case exchange.Reserved(a.Op):
		return api.Replies{}, fault.New(fault.Denied, "%s is said by muster itself only, when it is so", a.Op).
			WithFix("name an operation that the program answers; `muster console APP#N` opens a console")
	case a.WithinMS < 0 || a.WithinMS > op.WithinMax.Milliseconds():
		return api.Replies{}, fault.New(fault.Usage, "%d ms is no time to wait for replies", a.WithinMS).
			WithFix("wait at least 1ms, and at most " + op.WithinMax.String())
	}
	answers, err := o.exchange.Request(ctx, exchange.Ask{
		To: a.Selector, Op: a.Op, Body: a.Body, All: a.All, Within: time.Duration(a.WithinMS) * time.Millisecond,
	})
	if fault.CodeOf(err) == fault.NoPeer || err == nil && len(answers) == 0 {
		err = o.nobody(a.Selector, err)
	}
	return repliesOf(answers), err
}

// nobody says why nobody was asked: there is no such app or worker, or what it means
// does not take part. reason is what the exchange says; nil: nothing.
func (o *Operations) nobody(selector string, reason error) error {
	sel, err := whom.Parse(selector)
	if err != nil {
		return err
	}
	var apps []string
	for _, app := range o.status().Apps {
		apps = append(apps, app.Name)
		for _, w := range app.Workers {
			if !sel.Worker(app.Target(), w.Slot) {
				continue
			}
			if reason != nil {
				return reason
			}
			return fault.New(fault.NoPeer, "nobody whom %q means can be asked now", selector)
		}
	}
	if strings.Contains(selector, whom.ClientPrefix) {
		return fault.New(fault.NoPeer, "no client %q has joined", selector)
	}
	f := fault.New(fault.NoApp, "%q matches no app or worker", selector)
	name, _, _ := strings.Cut(selector, "#")
	if like := spec.Nearest(name, apps); like != "" && like != name {
		f = f.WithFix("did you mean " + like + "?")
	}
	return f
}

// status is that of the project; empty before Begin.
func (o *Operations) status() api.Status {
	select {
	case <-o.begun:
		return o.home.Status()
	default:
		return api.Status{}
	}
}

// Console implements control.Operations.
func (o *Operations) Console(ctx context.Context, order api.ConsoleOrder) (api.ConsolePlace, error) {
	if !oneWorker.MatchString(order.Worker) { // opened and closed at different ones else
		return api.ConsolePlace{}, fault.New(fault.Usage, "%q is not one worker", order.Worker).WithFix("name one, such as web#0")
	}
	name := op.ConsoleOpen
	if order.Close {
		name = op.ConsoleClose
	}
	answers, err := o.exchange.Request(ctx, exchange.Ask{To: order.Worker, Op: name, Within: 10 * time.Second})
	if fault.CodeOf(err) == fault.NoPeer {
		err = o.nobody(order.Worker, err)
	}
	if err != nil {
		return api.ConsolePlace{}, consoleFault(order.Worker, fault.From(err))
	}
	if len(answers) == 0 {
		return api.ConsolePlace{}, fault.New(fault.ConsoleFailed, "%s did not answer", order.Worker)
	}
	a := answers[0]
	if a.Fault != nil {
		return api.ConsolePlace{}, consoleFault(order.Worker, a.Fault)
	}
	if order.Close {
		return api.ConsolePlace{}, nil
	}
	var place op.ConsolePlace
	if err := json.Unmarshal(a.Body, &place); err != nil || place == (op.ConsolePlace{}) {
		return api.ConsolePlace{}, fault.New(fault.ConsoleFailed, "%s does not say where its console is", order.Worker)
	}
	return api.ConsolePlace(place), nil
}

func consoleFault(worker string, f *fault.Fault) *fault.Fault {
	switch f.Code {
	case fault.NoPeer, fault.UnknownOp:
		return fault.New(fault.ConsoleFailed, "%s has no console: %s", worker, f.Text)
	}
	return f
}
