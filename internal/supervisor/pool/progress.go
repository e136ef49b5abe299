package pool

import (
	"fmt"
	"slices"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/supervisor/generation"
	"github.com/muster-run/muster/internal/supervisor/surge"
	"github.com/muster-run/muster/spec"
)

func (r *rollout) reason() string {
	switch {
	case r.phase == event.ReloadReverting:
		return "release " + r.want.Name + " failed"
	case r.kind == rollReplace:
		return "replaced: " + r.failing.Text
	}
	return "release " + r.want.Name
}

// String is the progress in words: "release r3, 2/4".
func (r *rollout) String() string {
	return fmt.Sprintf("%s release %s, %d/%d", r.phase, r.want.Name, r.done, r.total)
}

func (r *rollout) progress() event.Reload {
	return event.Reload{Phase: r.phase, Release: r.want.Name, Done: r.done, Total: r.total, Fault: r.fault}
}

func (r *rollout) tell() {
	if !r.quiet() {
		r.p.publish(nil, r.progress())
	}
}

// giveUpListeners closes what was bound for a generation that did not come to
// serve, once its last worker is gone.
func (r *rollout) giveUpListeners() {
	gen := r.gen
	if r.bad != nil {
		gen = r.bad
	}
	if gen == nil || gen == r.from {
		return
	}
	p := r.p
	for _, s := range p.slots {
		if s.cur != nil && s.cur.Gen == gen {
			// Aborted half-way: the slot serves with it.
			p.serve(gen)
			return
		}
	}
	p.release(gen.Fresh())
}

// afterReplace: a worker that could not be renewed beside the old one is ended
// first and then started again by its restart rules. One whose renewal was ended
// by another order may be renewed later.
func (r *rollout) afterReplace(phase event.ReloadPhase) {
	if r.kind != rollReplace {
		return
	}
	for _, n := range r.only {
		s := r.p.slots[n]
		if s == nil || s.cur == nil || s.cur.Fault == nil || s.cur.Run == nil {
			continue
		}
		if phase == event.ReloadFailed {
			s.cur.Condemn(r.failing)
		} else {
			s.cur.Fault = nil
		}
	}
}

// serve makes a generation the one that serves. Listeners that it has not taken
// over are stale.
func (p *Pool) serve(gen *generation.Generation) {
	if p.gen != nil {
		p.stale = slices.DeleteFunc(append(p.stale, p.gen.Listeners...), func(old *generation.Listener) bool {
			return slices.ContainsFunc(gen.Listeners, func(b *generation.Listener) bool { return b.Spec.Key() == old.Spec.Key() })
		})
	}
	p.gen = gen
	gen.Settled()
	p.history = slices.DeleteFunc(p.history, func(old *generation.Release) bool { return old.Name == gen.Release.Name })
	p.history = append(p.history, gen.Release)
	p.history = p.history[max(0, len(p.history)-historyMax):]
}

// choice collects what decides reload.surge, in the pool's goroutine.
func (p *Pool) choice(app spec.App) surge.Choice {
	c := surge.Choice{Sys: p.shared.Attempts.Sys, App: app, Ours: map[uint64]bool{}}
	for _, s := range p.slots {
		if s.cur != nil && s.cur.Run != nil && s.cur.Run.Running() {
			c.Procs = append(c.Procs, s.cur.Run.Proc())
		}
	}
	if p.primary != nil {
		for _, inode := range p.primary.Inodes() {
			c.Ours[inode] = true
		}
	}
	if p.gen != nil {
		for _, b := range p.gen.Listeners {
			for _, inode := range b.Inodes() {
				c.Ours[inode] = true
			}
		}
	}
	return c
}
