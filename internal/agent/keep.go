package agent

import (
	"context"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/saved"
	"github.com/muster-run/muster/spec"
)

// keepPause gathers the changes of one moment into one note on disk.
const keepPause = 500 * time.Millisecond

// openBook finds what was saved of the project.
func (a *Agent) openBook() {
	var damage *fault.Fault
	a.book, damage = saved.Open(saved.Options{Dir: a.paths.State, Version: a.opts.Version, Home: a.opts.Dir})
	if a.before != nil && a.before.Ending != nil {
		a.book.Shut() // the agent before had begun to stop everything
	}
	if damage != nil {
		a.opts.Log.Warn("what was saved of the last run", "where", damage.Where, "error", damage.Text, "fix", damage.Fix)
	}
}

// first is what to begin with: the spec, with Resume as it was left.
func (a *Agent) first() spec.Spec {
	a.book.Applied(a.opts.Spec)
	if !a.opts.Resume {
		return a.opts.Spec
	}
	now, stopped := a.book.Resume(a.opts.Spec)
	a.supervisor.Hold(stopped)
	return now
}

// keep notes on disk what runs, a moment after each change, until ctx ends.
func (a *Agent) keep(ctx context.Context) error {
	for seq := uint64(0); a.changed(ctx, seq); {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(keepPause):
		}
		if past := a.events.Past(); len(past) > 0 {
			seq = past[len(past)-1].Seq
		}
		a.note()
		a.keyedFollows() // also an apply that was taken up from the agent before
	}
	return nil
}

// changed waits for an event behind seq; false: there will be none.
func (a *Agent) changed(ctx context.Context, seq uint64) bool {
	news := a.events.Subscribe(seq, 1)
	defer news.Close()
	select {
	case <-ctx.Done():
		return false
	case _, ok := <-news.C:
		return ok
	}
}

// note saves what runs now. A disk that cannot be written is told once, until it
// can be again.
func (a *Agent) note() {
	err := a.book.Keep(a.supervisor.Spec(), a.supervisor.Stopped())
	if err != nil && !a.unsaved.Swap(true) {
		a.warn(fault.From(err))
	}
	if err == nil {
		a.unsaved.Store(false)
	}
}

// lastNote comes before the workers are stopped: what stops from now on was not
// stopped by hand.
func (a *Agent) lastNote(e ending) {
	a.note()
	if err := a.book.End(e.Good); err != nil && !a.unsaved.Load() {
		a.warn(fault.From(err))
	}
}
