package generation

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/spec"
	"golang.org/x/sys/unix"
)

// Release is what a generation runs: a spec, an environment and the directory
// that dir: meant when it was made. A rollback runs an earlier release again.
type Release struct {
	Name    string // "r3"
	App     spec.App
	Environ []string
	Dir     string // resolved
}

// Generation is one rollout of a release: 1, 2, 3, … per app.
type Generation struct {
	Number    int
	Release   *Release
	Listeners []*Listener
	// Pattern of ready.output; nil: none.
	Pattern *regexp.Regexp

	live atomic.Pointer[spec.Health] // the health rules now in force
}

// Health is the health rules now in force; it is read by the checking goroutines before each check.
func (g *Generation) Health() spec.Health {
	if h := g.live.Load(); h != nil {
		return *h
	}
	return spec.DefaultHealth()
}

// Update takes over what may change under a running worker.
func (g *Generation) Update(app spec.App) {
	mine := &g.Release.App
	mine.Restart, mine.Stop, mine.Reload, mine.DependsOn = app.Restart, app.Stop, app.Reload, app.DependsOn
	mine.Log, mine.Tags, mine.Allow, mine.Labels = app.Log, app.Tags, app.Allow, app.Labels
	mine.Limits.Memory, mine.Build = app.Limits.Memory, app.Build
	mine.Heartbeat, mine.Console = app.Heartbeat, app.Console
	if mine.Health != nil && app.Health != nil {
		mine.Health = app.Health
		g.live.Store(app.Health)
	}
}

// Prepare makes what a generation needs before its first worker: the resolved
// directory, the listeners, the build. It blocks; nothing that runs is touched.
type Prepare struct {
	Sockets *Sockets
	Node    string
	Number  int
	// Errand is the project's key, see attempt.SideCommand.
	Errand string
	// Release to run; a Dir that is set (rollback) is not resolved anew, and
	// its build is not run again.
	Release Release
	// Have are the listeners of the generation before.
	Have []*Listener
}

// Run prepares the generation. What it had bound is closed again on an error.
func (s Prepare) Run(ctx context.Context) (*Generation, error) {
	rel := s.Release
	again := rel.Dir != ""
	if !again {
		dir, err := launch.ResolveDir(rel.App)
		if err != nil {
			return nil, err
		}
		rel.Dir = dir
	}
	gen, err := newGeneration(s.Number, &rel)
	if err != nil {
		return nil, err
	}
	if err := s.bind(gen); err != nil {
		return nil, err
	}
	if !again {
		if err := s.build(ctx, gen); err != nil {
			s.Sockets.Release(rel.App.Name, gen.Fresh())
			return nil, err
		}
	}
	return gen, nil
}

// newGeneration is a generation without its listeners.
func newGeneration(number int, rel *Release) (*Generation, error) {
	gen := &Generation{Number: number, Release: rel}
	gen.live.Store(rel.App.Health)
	if rel.App.Ready.Mode == spec.ReadyOutput {
		pattern, err := regexp.Compile(rel.App.Ready.Pattern)
		if err != nil {
			return nil, fault.New(fault.Config, "ready.output: %w", err)
		}
		gen.Pattern = pattern
	}
	return gen, nil
}

func (s Prepare) bind(gen *Generation) error {
	app := gen.Release.App
	for _, l := range owned(app) {
		b, err := s.listener(app, l)
		if err != nil {
			s.Sockets.Release(app.Name, gen.Fresh())
			return err
		}
		gen.Listeners = append(gen.Listeners, b)
	}
	return nil
}

// listener is one that the generation before had, or a fresh one.
func (s Prepare) listener(app spec.App, l spec.Listener) (*Listener, error) {
	i := slices.IndexFunc(s.Have, func(b *Listener) bool { return b.Spec.Key() == l.Key() })
	if i < 0 {
		return s.Sockets.bind(app, l)
	}
	known := *s.Have[i]
	known.Spec, known.fresh = l, false
	return &known, s.Sockets.grow(app.Name, &known, app.Workers)
}

func (s Prepare) build(ctx context.Context, gen *Generation) error {
	argv := gen.Release.App.Build
	if len(argv) == 0 {
		return nil
	}
	cmd, err := attempt.SideCommand(gen.Surroundings(s.Node, 0), argv, s.Errand)
	if err != nil {
		return err
	}
	res, err := process.Run(ctx, cmd)
	if err != nil {
		return err
	}
	if res.Exit.Code != 0 {
		return fault.New(fault.BuildFailed, "build ended with %s", ExitText(res.Exit)).
			At(gen.Release.App.Name).WithOutput(res.LastLines(20))
	}
	return nil
}

// Fresh are the listeners that only this generation uses.
func (g *Generation) Fresh() []*Listener {
	return slices.DeleteFunc(slices.Clone(g.Listeners), func(b *Listener) bool { return !b.fresh })
}

// Settled marks the listeners as those of the app.
func (g *Generation) Settled() {
	for _, b := range g.Listeners {
		b.fresh = false
	}
}

// Restore puts back the files of unix sockets that somebody has removed; each
// fault is one that was.
func (g *Generation) Restore() []*fault.Fault {
	var faults []*fault.Fault
	for _, b := range g.Listeners {
		restored, err := listener.Restore(b.Spec)
		switch {
		case err != nil:
			faults = append(faults, fault.From(err))
		case restored:
			faults = append(faults, fault.New(fault.SocketGone,
				"the file of %s was removed; muster has put it back", b.Spec.Address))
		}
	}
	return faults
}

// Surroundings is what a worker of the generation is told of itself.
func (g *Generation) Surroundings(node string, slot int) launch.Worker {
	return launch.Worker{
		App: g.Release.App, Environ: g.Release.Environ, Dir: g.Release.Dir, Node: node,
		Slot: slot, Generation: g.Number, Release: g.Release.Name,
	}
}

// Meta is what a later agent needs to adopt a worker.
func (g *Generation) Meta(slot int) []byte {
	b, _ := json.Marshal(struct {
		App        string    `json:"app"`
		Slot       int       `json:"slot"`
		Generation int       `json:"generation"`
		Release    string    `json:"release"`
		Started    time.Time `json:"started"`
	}{g.Release.App.Name, slot, g.Number, g.Release.Name, time.Now()})
	return b
}

// ExitText is how a process ended: "exit code 3" or "signal SIGKILL".
func ExitText(e process.Exit) string {
	if e.Signal != 0 {
		return "signal " + SignalName(e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}

// SignalName is "SIGTERM"; "" for no signal.
func SignalName(sig syscall.Signal) string {
	if sig == 0 {
		return ""
	}
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("SIG%d", int(sig))
}
