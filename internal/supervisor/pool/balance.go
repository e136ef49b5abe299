package pool

import (
	"fmt"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// tellBalance warns when a rollout has brought another balance for a listener, which
// cannot take effect yet: connections wait in sockets that are made for the first one.
func (p *Pool) tellBalance(from, to spec.App) {
	if p.gen == nil || p.shared.Attempts.Loop == nil {
		return
	}
	for _, b := range p.gen.Listeners {
		before := spec.Listener{Network: b.Spec.Network}
		for _, l := range from.Listen {
			if l.Key() == b.Spec.Key() {
				before = l
			}
		}
		p.tellKept(b.Address(), b.Balance(), launch.BalanceOf(from, before), launch.BalanceOf(to, b.Spec))
	}
	for _, a := range p.asked() {
		l := a.Listener
		p.tellKept(l.Spec.Key(), l.Balance, launch.BalanceOf(from, l.Spec), launch.BalanceOf(to, l.Spec))
	}
}

// tellKept is about one listener: what is in force, what was declared and what is now.
func (p *Pool) tellKept(listener string, now, was, wanted spec.Balance) {
	if wanted == was {
		return
	}
	f := fault.New(fault.BalanceKept, "it stays with balance %s, and gets %s when %s is stopped and started", now, wanted, p.name).
		At(p.name + ", " + listener).WithFix(fmt.Sprintf("`muster stop %s && muster start %s`", p.name, p.name))
	if now == wanted { // it has been taken back
		p.warnings = record.Over(p.warnings, f)
		return
	}
	p.warn(nil, f)
}
