package supervisor

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// release is what a generation runs: a spec, an environment and the directory
// that dir: meant when it was made. A rollback runs an earlier release again.
type release struct {
	name    string // "r3"
	app     spec.App
	environ []string
	dir     string // resolved
}

// generation is one rollout of a release: 1, 2, 3, … per app.
type generation struct {
	number    int
	release   *release
	listeners []*bound
	pattern   *regexp.Regexp
	live      atomic.Pointer[spec.Health] // the health rules now in force
}

// health is read by the checking goroutines before each check.
func (g *generation) health() spec.Health {
	if h := g.live.Load(); h != nil {
		return *h
	}
	return spec.DefaultHealth()
}

// update takes over what may change under a running worker.
func (g *generation) update(app spec.App) {
	mine := &g.release.app
	mine.Restart, mine.Stop, mine.Reload, mine.DependsOn = app.Restart, app.Stop, app.Reload, app.DependsOn
	mine.Log, mine.Tags, mine.Allow, mine.Labels = app.Log, app.Tags, app.Allow, app.Labels
	mine.Limits.Memory, mine.Build = app.Limits.Memory, app.Build
	if mine.Health != nil && app.Health != nil {
		mine.Health = app.Health
		g.live.Store(app.Health)
	}
}

// bound is a listening socket of an app.
type bound struct {
	spec  spec.Listener
	file  *os.File
	inode uint64
	addr  string
	fresh bool // made for a generation that has not proved itself
}

// prepare makes what a generation needs before its first worker: the resolved
// directory, the listeners, the build. It blocks; nothing that runs is touched.
type prepare struct {
	sup     *Supervisor
	pool    string
	number  int
	release release
	have    []*bound // of the generation before
	dir     string   // resolved already (rollback); "" resolves anew
}

func (s prepare) run(ctx context.Context) (*generation, error) {
	rel := s.release
	rel.dir = s.dir
	if rel.dir == "" {
		dir, err := launch.ResolveDir(rel.app)
		if err != nil {
			return nil, err
		}
		rel.dir = dir
	}
	gen := &generation{number: s.number, release: &rel}
	gen.live.Store(rel.app.Health)
	if rel.app.Ready.Mode == spec.ReadyOutput {
		pattern, err := regexp.Compile(rel.app.Ready.Pattern)
		if err != nil {
			return nil, fault.New(fault.Config, "ready.output: %w", err)
		}
		gen.pattern = pattern
	}
	if err := s.bind(gen); err != nil {
		return nil, err
	}
	if s.dir == "" {
		if err := s.build(ctx, gen); err != nil {
			s.sup.release(s.pool, gen.fresh())
			return nil, err
		}
	}
	return gen, nil
}

func (s prepare) bind(gen *generation) error {
	for _, l := range gen.release.app.Listen {
		i := slices.IndexFunc(s.have, func(b *bound) bool { return b.spec.Key() == l.Key() })
		if i >= 0 {
			known := *s.have[i]
			known.spec, known.fresh = l, false
			gen.listeners = append(gen.listeners, &known)
			continue
		}
		b, err := s.sup.bind(s.pool, l)
		if err != nil {
			s.sup.release(s.pool, gen.fresh())
			return err
		}
		gen.listeners = append(gen.listeners, b)
	}
	return nil
}

func (s prepare) build(ctx context.Context, gen *generation) error {
	argv := gen.release.app.Build
	if len(argv) == 0 {
		return nil
	}
	cmd, err := sideCommand(gen, s.sup.opts.Node, argv)
	if err != nil {
		return err
	}
	res, err := process.Run(ctx, cmd)
	if err != nil {
		return err
	}
	if res.Exit.Code != 0 {
		return fault.New(fault.BuildFailed, "build ended with %s", exitText(res.Exit)).
			At(s.pool).WithOutput(lastLines(res.Output, 20))
	}
	return nil
}

// fresh are the listeners that only this generation uses.
func (g *generation) fresh() []*bound {
	return slices.DeleteFunc(slices.Clone(g.listeners), func(b *bound) bool { return !b.fresh })
}

// settled marks the listeners as those of the app.
func (g *generation) settled() {
	for _, b := range g.listeners {
		b.fresh = false
	}
}

// sideCommand is a command run in a generation's surroundings (build, stop,
// health check), not as a worker.
func sideCommand(gen *generation, node string, argv []string) (process.Command, error) {
	app := gen.release.app
	app.Command, app.Shell = argv, false
	return launch.Command(launch.Worker{
		App: app, Environ: gen.release.environ, Dir: gen.release.dir, Node: node,
		Generation: gen.number, Release: gen.release.name,
	})
}

// bind makes a listener and puts a copy into the Store, where it stays until
// its app is stopped or removed. A socket that another app still holds, and
// gives up in the same Apply, is shared, so that its backlog is kept.
func (s *Supervisor) bind(pool string, l spec.Listener) (*bound, error) {
	name := storeName(pool, l)
	if b := s.takePrebound(name); b != nil {
		return b, nil
	}
	file, err := s.inherit(l)
	if file == nil && err == nil {
		file, err = s.opts.bind(l)
	}
	if err != nil {
		return nil, fault.From(err).At(pool)
	}
	inode, err := listener.Inode(file)
	if err == nil {
		err = s.opts.Store.Put(name, file)
	}
	if err != nil {
		file.Close()
		return nil, fault.New(fault.Bind, "cannot keep the listener %s: %w", l.Key(), err).At(pool)
	}
	return &bound{spec: l, file: file, inode: inode, addr: listener.Addr(file), fresh: true}, nil
}

// inherit finds the socket in the Store under any app's name.
func (s *Supervisor) inherit(l spec.Listener) (*os.File, error) {
	for _, name := range s.opts.Store.List() {
		if sameSocket(name, l) {
			return s.opts.Store.Get(name)
		}
	}
	return nil, nil
}

// sameSocket: a name in the Store stands for the listener's address. A port
// chosen by the system (0) is never the same.
func sameSocket(name string, l spec.Listener) bool {
	_, key, _ := strings.Cut(name, "/")
	return key == l.Key() && !strings.HasSuffix(key, ":0")
}

// release closes listeners for good.
func (s *Supervisor) release(pool string, listeners []*bound) {
	for _, b := range listeners {
		listener.Unlink(b.spec, b.file)
		if kept, err := s.opts.Store.Take(storeName(pool, b.spec)); err == nil && kept != nil {
			kept.Close()
		}
		b.file.Close()
	}
}

// storeName derives from the address, so that a later agent finds it.
func storeName(pool string, l spec.Listener) string { return pool + "/" + l.Key() }

// meta is what a later agent needs to adopt a worker.
func meta(gen *generation, slot int) []byte {
	b, _ := json.Marshal(struct {
		App        string    `json:"app"`
		Slot       int       `json:"slot"`
		Generation int       `json:"generation"`
		Release    string    `json:"release"`
		Started    time.Time `json:"started"`
	}{gen.release.app.Name, slot, gen.number, gen.release.name, time.Now()})
	return b
}

// lastLines are the last n lines of a text.
func lastLines(text []byte, n int) []string {
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	if len(lines) == 1 && lines[0] == "" {
		return nil
	}
	return lines[max(0, len(lines)-n):]
}
