package supervisor

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/pool"
	"github.com/muster-run/muster/internal/supervisor/primary"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Adopted is how many processes New has taken over from an earlier Supervisor.
func (s *Supervisor) Adopted() int { return s.adopted }

// Leave ends the Supervisor without touching a worker: another one over the same
// Starter and Store goes on where it was. It returns when its goroutines have
// ended and what they had read of the output is written.
func (s *Supervisor) Leave() {
	s.saving.Lock() // of what is recorded from now on nobody would know
	s.left.Store(true)
	s.saving.Unlock()
	s.shared.Sockets.Leave()
	s.end()
	var wg sync.WaitGroup
	for _, p := range s.all() {
		wg.Go(p.Leave)
	}
	s.cancel()
	wg.Wait()
	s.applying.Lock() // an Apply under way has been told, and returns
	defer s.applying.Unlock()
	for _, p := range s.all() {
		p.Leave()
	}
	s.shared.Attempts.Errands.End()
	s.shared.Sockets.Close()
}

// save keeps what belongs to no pool; applying is the spec of an Apply that
// begins, nil when none is under way.
func (s *Supervisor) save(applying *spec.Spec) {
	s.mu.Lock()
	s.under = applying
	s.mu.Unlock()
	s.saveAgain()
}

// saveAgain is save in the middle of whatever is under way.
func (s *Supervisor) saveAgain() {
	s.saving.Lock()
	defer s.saving.Unlock()
	if s.left.Load() {
		return
	}
	s.mu.Lock()
	rec := record.Supervisor{Version: record.Version, Spec: bare(s.spec), Applying: s.under, Set: maps.Clone(s.settings)}
	rec.Spec.Environ = s.spec.Environ
	s.mu.Unlock()
	if err := record.Save(s.opts.Records, record.SupervisorName, rec); err != nil {
		s.opts.Log.Error("the state cannot be kept", "error", err)
	}
}

// forget removes the record: nothing is left to go on with.
func (s *Supervisor) forget() {
	if err := s.opts.Records.Forget(record.SupervisorName); err != nil {
		s.opts.Log.Error("the record cannot be removed", "error", err)
	}
}

// adopt goes on where an earlier Supervisor was, if one has left a record.
//
//	what its short commands left running is killed
//	→ pools are made again, with their listeners
//	→ their workers, rollouts and starts are taken up
//	→ what no record names is killed or closed
//	→ an Apply that was under way goes on
func (s *Supervisor) adopt() error {
	rec, found, err := record.Load[record.Supervisor](s.opts.Records, record.SupervisorName)
	if err != nil {
		return fault.New(fault.Internal, "cannot take over from the agent before: %w", err)
	}
	if !found {
		return nil
	}
	s.spec, s.under = rec.Spec, rec.Applying
	if rec.Set != nil {
		s.settings = rec.Set
	}
	s.endErrands()
	var pools []*pool.Adopted
	for _, app := range record.Apps(s.opts.Records) {
		a, err := pool.Adopt(s.ctx, s.shared, app)
		if err != nil {
			return err
		}
		s.pools[app] = a.Pool
		pools = append(pools, a)
	}
	procs := s.dropStrangers(pools)
	s.shared.Sockets.KeepRest(func(app string) bool {
		return rec.Applying != nil ||
			slices.ContainsFunc(pools, func(a *pool.Adopted) bool { return a.Pool.Name() == app && a.Pending })
	})
	s.resume(pools, procs)
	if rec.Applying != nil {
		s.applyOn(*rec.Applying)
	}
	return nil
}

// endErrands kills what the earlier agent's short commands have left running.
func (s *Supervisor) endErrands() {
	if s.opts.Errand == "" {
		return
	}
	if n, err := process.KillLeftovers(attempt.ErrandEnv, s.opts.Errand+"/"); n > 0 || err != nil {
		s.opts.Log.Warn("commands of an agent that has ended were left and have been ended", "count", n, "error", err)
	}
}

// dropStrangers gets rid of what no record names, and returns the processes that
// are named.
func (s *Supervisor) dropStrangers(pools []*pool.Adopted) map[string]process.Proc {
	named, procs := map[string]bool{}, map[string]process.Proc{}
	for _, a := range pools {
		for _, id := range a.Named {
			named[id] = true
		}
	}
	for _, p := range s.opts.Starter.List() {
		if named[p.ID] {
			procs[p.ID] = p
			continue
		}
		if p.Exit == nil {
			s.warn(fault.New(fault.Internal, "process %d belongs to no app and is ended: %s", p.PID, p.Meta))
		}
		s.shared.Attempts.Discard(s.ctx, p)
	}
	for _, name := range s.opts.Store.List() {
		s.shared.Attempts.Drop(name, func(id string) bool { return procs[id].ID != "" })
	}
	primary.Forget(s.opts.Store, func(app string) bool { return s.pools[app] == nil })
	record.DropLogIntents(s.opts.Store, func(app string) bool { return s.pools[app] == nil })
	return procs
}

func (s *Supervisor) warn(f *fault.Fault) {
	s.opts.Log.Warn(f.Text)
	s.opts.Events.Publish(event.Event{Node: s.opts.Node, Slot: event.NoSlot, Data: event.Warning{Fault: *f}})
}

// resume takes up what runs, all apps at once.
func (s *Supervisor) resume(pools []*pool.Adopted, procs map[string]process.Proc) {
	var wg sync.WaitGroup
	var taken atomic.Int64
	for _, a := range pools {
		wg.Go(func() { taken.Add(int64(a.Resume(procs, s.awaitDependencies))) })
	}
	wg.Wait()
	s.adopted = int(taken.Load())
}

// applyOn goes on, in the background, with an Apply that the earlier agent had
// begun. Apps whose reload was under way are brought there by that; those that
// already are as declared are left to themselves, so that no task runs twice and
// no back-off is cut short.
func (s *Supervisor) applyOn(next spec.Spec) {
	s.applying.Lock() // before any Apply of this agent
	changes, there := s.Diff(next), map[string]bool{}
	for _, p := range s.all() {
		wanted, reloading := p.Begun()
		there[p.Name()] = reloading || wanted && !slices.ContainsFunc(changes, func(c spec.Change) bool { return c.App == p.Name() })
	}
	s.shared.Attempts.Errands.Go(func() {
		defer s.applying.Unlock()
		ctx, done, f := s.order(context.Background())
		if f != nil {
			return
		}
		defer done()
		result := api.ApplyResult{Changes: changes}
		s.bring(ctx, next, &result, func(app string) bool { return there[app] })
		if f := result.Fault(); f != nil {
			s.opts.Log.Warn("what was being applied has failed", "error", f)
		}
	})
}
