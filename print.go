package muster

import (
	"fmt"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/output"
)

// printBuffer is how many lines Options.Output may fall behind.
const printBuffer = 8192

// eventBuffer is how many events there may be before the first of a worker.
const eventBuffer = 1024

// print copies what the workers print to Options.Output, from the first line until the
// Pool ends.
func (p *Pool) print() {
	events := p.events.Subscribe(event.Now, eventBuffer)
	p.printing.Go(func() {
		log := p.sup.Log(p.o.App.Name)
		for range events.C { // with the first that is about a worker there is a log
			if log = p.sup.Log(p.o.App.Name); log != nil {
				break
			}
		}
		events.Close()
		if log != nil {
			p.follow(log)
		}
	})
}

func (p *Pool) follow(log *output.Log) {
	past, follower, err := log.TailFollow(output.Filter{}, -1, printBuffer)
	if err != nil {
		p.o.Log.Warn("what the workers print cannot be shown", "error", err)
		return
	}
	for _, r := range past {
		p.show(r)
	}
	for r := range follower.C {
		if r.Lost > 0 {
			_, _ = fmt.Fprintf(p.o.Output, "%s: %d lines were not shown\n", r.App, r.Lost)
		}
		p.show(r)
	}
}

// show prints a line. Where that fails there is nobody to tell.
func (p *Pool) show(r api.Record) {
	_, _ = fmt.Fprintf(p.o.Output, "%s#%d %s\n", r.App, r.Slot, r.Line)
}
