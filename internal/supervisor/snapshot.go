package supervisor

import (
	"context"
	"slices"
	"time"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// warningsFor is how long a warning is shown.
const warningsFor = time.Hour

// Snapshot is the state of every app and worker, sorted by name and slot.
func (s *Supervisor) Snapshot() []api.App {
	s.usage.refresh()
	apps := []api.App{}
	for _, p := range s.all() {
		p.do(func() { apps = append(apps, p.snapshot()) })
	}
	return apps
}

func (p *pool) snapshot() api.App {
	state, why := p.human()
	a := api.App{
		Name: p.name, Type: p.app.Type, Status: state, Why: why,
		Wanted: p.app.Workers, Generation: p.number, Tags: p.app.Tags, Workers: []api.Worker{},
	}
	if p.gen != nil {
		a.Release, a.Generation, a.Dir = p.gen.release.name, p.gen.number, p.gen.release.dir
		for _, b := range p.gen.listeners {
			a.Listen = append(a.Listen, b.address())
		}
	}
	if p.rollout != nil && !p.rollout.quiet() {
		progress := p.rollout.progress()
		a.Reload = &progress
	}
	for _, w := range p.workers() {
		if w.state == event.Ready && w.slot.cur == w {
			a.Ready++
		}
		a.Workers = append(a.Workers, w.snapshot())
	}
	for _, warning := range p.warnings {
		if p.sup.now().Sub(warning.at) < warningsFor {
			a.Warnings = append(a.Warnings, warning.fault)
		}
	}
	return a
}

func (b *bound) address() string {
	if b.addr == "" || b.spec.Network == "unix" {
		return b.spec.Key()
	}
	return b.spec.Network + "://" + b.addr
}

func (w *worker) snapshot() api.Worker {
	v := api.Worker{
		App: w.pool.name, Slot: w.slot.n, State: w.state, Why: w.why,
		Generation: w.gen.number, Release: w.gen.release.name,
		Restarts: w.slot.restarts, LastRestart: timeOf(w.slot.lastRestart), LastExit: w.slot.lastExit,
		Health: w.health, StatusText: w.statusText,
	}
	if w.health == "failing" {
		v.HealthText = w.healthText
	}
	if w.state == event.Backoff {
		v.Next = timeOf(w.next)
	}
	if last := w.pool.log.Last(w.slot.n, 1); len(last) > 0 {
		v.LastLine = last[0]
	}
	for _, port := range w.gen.release.app.Ports {
		if v.Ports == nil {
			v.Ports = map[string]int{}
		}
		v.Ports[port.Name] = port.For(w.slot.n)
	}
	if w.run != nil && w.run.running {
		v.PID, v.StartedAt, v.ReadyAt = w.run.proc.PID, timeOf(w.run.startedAt), timeOf(w.run.readyAt)
		w.pool.sup.usage.fill(&v, w.run.proc)
	}
	return v
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// exitStatus is the exit code a shell would show.
func exitStatus(e api.Exit) int {
	if e.Signal != "" {
		return 128 + int(signalNumber(e.Signal))
	}
	return e.Code
}

// Launch is what a command needs to run in an app's surroundings, as the
// worker in the selected slot (the first by default) would.
func (s *Supervisor) Launch(selector string) (api.Launch, error) {
	targets, f := s.find(selector)
	if f != nil {
		return api.Launch{}, f
	}
	if len(targets) > 1 {
		return api.Launch{}, fault.New(fault.Usage, "%q selects %d apps, one is needed", selector, len(targets))
	}
	t := targets[0]
	slot := 0
	if t.slots != nil {
		slot = t.slots[0]
	}
	var rel release
	number := 0
	t.pool.do(func() {
		rel = release{app: t.pool.app, environ: t.pool.environ}
		if t.pool.gen != nil {
			rel, number = *t.pool.gen.release, t.pool.gen.number
		}
	})
	if rel.dir == "" {
		dir, err := launch.ResolveDir(rel.app)
		if err != nil {
			return api.Launch{}, err
		}
		rel.dir = dir
	}
	cmd, err := launch.Command(launch.Worker{
		App: rel.app, Environ: rel.environ, Dir: rel.dir, Node: s.opts.Node,
		Slot: slot, Generation: number, Release: rel.name,
	})
	if err != nil {
		return api.Launch{}, err
	}
	return api.Launch{Env: cmd.Env, Dir: cmd.Dir, User: rel.app.User, Group: rel.app.Group}, nil
}

// Shutdown stops every app, dependents first, and ends the Supervisor. It
// returns when nothing is left, or with ctx: what is left then is killed.
func (s *Supervisor) Shutdown(ctx context.Context, now bool) error {
	var targets []target
	for _, p := range s.all() {
		targets = append(targets, target{pool: p})
	}
	results := s.together(targets, func(t target) (string, *fault.Fault) {
		if !now {
			s.awaitDependents(ctx, t, targets)
		}
		f := s.stopOne(ctx, t, "muster ends", now)
		if f != nil {
			f = s.stopOne(context.Background(), t, "muster ends", true)
		}
		return "", f
	})
	for _, t := range targets {
		s.remove(t.pool)
	}
	s.cancel()
	s.helpers.Wait()
	return asError(api.Outcome{Results: results}.Fault())
}

func asError(f *fault.Fault) error {
	if f == nil {
		return nil
	}
	return f
}

// probe makes the health check of one worker.
func (w *worker) probe(h spec.Health) (health.Probe, error) {
	app := w.gen.release.app
	expand := func(text *string) error {
		out, err := launch.Expand(*text, app, w.slot.n)
		*text = out
		return err
	}
	h.Command = slices.Clone(h.Command)
	texts := []*string{&h.URL, &h.Address}
	for i := range h.Command {
		texts = append(texts, &h.Command[i])
	}
	for _, text := range texts {
		if err := expand(text); err != nil {
			return nil, err
		}
	}
	return health.NewProbe(h, runner{w.sideCommand(nil)})
}

// stopSignal of the worker's program.
func (w *worker) stopSignal() string { return launch.StopSignal(w.gen.release.app) }

// sideCommand is a command in the worker's surroundings.
func (w *worker) sideCommand(argv []string) process.Command {
	if argv == nil {
		argv = w.gen.release.app.Command
	}
	cmd, err := sideCommand(w.gen, w.pool.sup.opts.Node, argv)
	if err != nil {
		return process.Command{Argv: argv, Dir: w.gen.release.dir, Env: w.gen.release.environ}
	}
	return cmd
}

// runner runs the command of a health check.
type runner struct{ cmd process.Command }

// Run implements health.Runner.
func (r runner) Run(ctx context.Context, argv []string) (string, int, error) {
	r.cmd.Argv = argv
	res, err := process.Run(ctx, r.cmd)
	return string(res.Output), res.Exit.Code, err
}
