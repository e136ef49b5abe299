package pool

import (
	"fmt"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// tellBalance warns when a rollout has brought another balance for a listener, which
// cannot take effect yet: connections wait in sockets that are made for the first one.
// told is what to add to the order's result.
func (p *Pool) tellBalance(from, to spec.App) (told string) {
	if p.gen == nil || p.shared.Attempts.Loop == nil {
		return ""
	}
	for _, b := range p.gen.Listeners {
		before := spec.Listener{Network: b.Spec.Network}
		for _, l := range from.Listen {
			if l.Key() == b.Spec.Key() {
				before = l
			}
		}
		told += p.tellKept(b.Address(), b.Balance(), launch.BalanceOf(from, before), launch.BalanceOf(to, b.Spec))
	}
	for _, a := range p.asked() {
		l := a.Listener
		told += p.tellKept(l.Spec.Key(), l.Balance, launch.BalanceOf(from, l.Spec), launch.BalanceOf(to, l.Spec))
	}
	return told
}

// tellKept is about one listener: what is in force, what was declared and what is now.
func (p *Pool) tellKept(listener string, now, was, wanted spec.Balance) string {
	if wanted == was {
		return ""
	}
	f := fault.New(fault.BalanceKept, "it stays with balance %s, and gets %s when %s is stopped and started", now, wanted, p.name).
		At(p.name + ", " + listener).WithFix(fmt.Sprintf("`muster stop %s && muster start %s`", p.name, p.name))
	if now == wanted { // it has been taken back
		p.warnings = record.Over(p.warnings, f)
		return ""
	}
	p.warn(nil, f)
	return fmt.Sprintf("; %s keeps balance %s until %s is stopped", listener, now, p.name)
}

// forgetBalance: the listeners are given up, so the next ones are as declared.
func (p *Pool) forgetBalance() {
	kept := func(w record.Warning) bool { return w.Fault.Code == fault.BalanceKept }
	if slices.ContainsFunc(p.warnings, kept) {
		p.warnings = slices.DeleteFunc(slices.Clone(p.warnings), kept)
	}
}

// bindsAlone is what to do about a release that failed because it binds its addresses
// itself, while muster holds them for the workers of the release before. "": it is not
// that.
func (r *rollout) bindsAlone() string {
	if r.fault.Code != fault.ExitedEarly || r.from == nil ||
		launch.ClusterOf(r.from.Release.App) == spec.NodeOff || launch.ClusterOf(r.want.App) != spec.NodeOff {
		return ""
	}
	var held []string
	for _, a := range r.p.asked() {
		held = append(held, a.Listener.Spec.Key())
	}
	if len(held) == 0 {
		return ""
	}
	return fmt.Sprintf("muster holds %s for the workers that serve, so one without node.cluster cannot listen there: `muster stop %s`, then `muster up`",
		strings.Join(held, ", "), r.p.name)
}
