package generation

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/processtest"
	"github.com/muster-run/muster/spec"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	processtest.Setup()
	goleak.VerifyTestMain(m)
}

// release is what an app in dir runs.
func release(dir string, listen ...spec.Listener) Release {
	app := spec.DefaultApp("web")
	app.Command, app.Dir, app.Listen = []string{"/bin/true"}, dir, listen
	return Release{Name: "r1", App: app, Environ: []string{"PATH=/bin:/usr/bin"}}
}

func prepare(t *testing.T, p Prepare) *Generation {
	t.Helper()
	gen, err := p.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return gen
}

func code(t *testing.T, err error, want fault.Code) *fault.Fault {
	t.Helper()
	if f := fault.From(err); f == nil || f.Code != want {
		t.Fatalf("%v, want %s", err, want)
	}
	return fault.From(err)
}

// The bar, 11: `current` is resolved anew for each generation; a rollback goes
// back to where it was, and builds nothing.
func TestDirIsResolvedAnew(t *testing.T) {
	dir, _ := filepath.EvalSymlinks(t.TempDir())
	current := filepath.Join(dir, "current")
	point := func(to string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Join(dir, to), 0o700), os.RemoveAll(current), os.Symlink(to, current)); err != nil {
			t.Fatal(err)
		}
	}
	rel := release(current)
	rel.App.Build = []string{"/bin/sh", "-c", "echo built >> log"}
	work := Prepare{Sockets: sockets(t), Number: 1, Release: rel}
	var dirs []string
	for _, to := range []string{"v1", "v2"} {
		point(to)
		gen := prepare(t, work)
		dirs = append(dirs, gen.Release.Dir)
		if got := gen.Surroundings("here", 0).Dir; got != gen.Release.Dir {
			t.Errorf("workers run in %s", got)
		}
	}
	if want := []string{dir + "/v1", dir + "/v2"}; !slices.Equal(dirs, want) {
		t.Errorf("%q, want %q", dirs, want)
	}
	work.Release.Dir = dirs[0]
	if gen := prepare(t, work); gen.Release.Dir != dirs[0] {
		t.Errorf("rolled back to %s", gen.Release.Dir)
	}
	for _, d := range dirs {
		if log, err := os.ReadFile(d + "/log"); err != nil || string(log) != "built\n" {
			t.Errorf("%s: %q %v", d, log, err)
		}
	}
	if err := os.Remove(current); err != nil {
		t.Fatal(err)
	}
	work.Release.Dir = ""
	_, err := work.Run(t.Context())
	code(t, err, fault.DirMissing)
}

// A build that fails closes what was bound for it, and nothing else.
func TestBuildFailureClosesWhatWasBound(t *testing.T) {
	kept, added := unixAt(t, "kept"), unixAt(t, "added")
	s := sockets(t)
	before := prepare(t, Prepare{Sockets: s, Number: 1, Release: release("/", kept)})
	before.Settled()
	next := release("/", kept, added)
	next.App.Build = []string{"/bin/sh", "-c", "echo no compiler; exit 3"}
	_, err := Prepare{Sockets: s, Number: 2, Release: next, Have: before.Listeners}.Run(t.Context())
	f := code(t, err, fault.BuildFailed)
	if !slices.Equal(f.Output, []string{"no compiler"}) || f.Where != "web" {
		t.Errorf("%+v", f)
	}
	if got := s.Store.List(); !slices.Equal(got, []string{storeName("web", kept)}) {
		t.Errorf("kept %v", got)
	}
	if exists(added.Address) || !exists(kept.Address) {
		t.Error("the wrong socket was closed")
	}
}

// A build ends with the order that wanted it.
func TestBuildIsCancelled(t *testing.T) {
	rel := release("/")
	rel.App.Build = []string{"/bin/sleep", "600"}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := (Prepare{Sockets: sockets(t), Number: 1, Release: rel}).Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
}

func TestBadPatternBindsNothing(t *testing.T) {
	s := sockets(t)
	rel := release("/", unixAt(t, "s"))
	rel.App.Ready = spec.Ready{Mode: spec.ReadyOutput, Pattern: "("}
	_, err := Prepare{Sockets: s, Number: 1, Release: rel}.Run(t.Context())
	code(t, err, fault.Config)
	if got := s.Store.List(); len(got) != 0 {
		t.Errorf("kept %v", got)
	}
}

// Listeners of the generation before are taken over, with what is declared now.
func TestListenersAreTakenOver(t *testing.T) {
	kept, added := unixAt(t, "kept"), unixAt(t, "added")
	s := sockets(t)
	first := prepare(t, Prepare{Sockets: s, Number: 1, Release: release("/", kept)})
	if n := len(first.Fresh()); n != 1 {
		t.Errorf("%d fresh listeners", n)
	}
	first.Settled()
	renamed := kept
	renamed.Name = "public"
	second := prepare(t, Prepare{Sockets: s, Number: 2, Release: release("/", added, renamed), Have: first.Listeners})
	if fresh := second.Fresh(); len(fresh) != 1 || fresh[0].Spec.Address != added.Address {
		t.Errorf("fresh %+v", fresh)
	}
	if b := second.Listeners[1]; file(b) != file(first.Listeners[0]) || b.Spec.Name != "public" {
		t.Errorf("%+v", b)
	}
	if first.Listeners[0].Spec.Name != "http" {
		t.Error("the generation before was changed")
	}
}

// What may change under a running worker is taken over, the rest is not.
func TestUpdate(t *testing.T) {
	rel := release("/")
	health := spec.DefaultHealth()
	health.Type, health.Address = "tcp", "127.0.0.1:1"
	rel.App.Health = &health
	gen := prepare(t, Prepare{Sockets: sockets(t), Number: 1, Release: rel})
	app := rel.App
	slower := health
	slower.Interval = spec.Duration(time.Minute)
	app.Health, app.Stop.Timeout, app.Command = &slower, spec.Duration(time.Second), []string{"/bin/other"}
	gen.Update(app)
	if got := gen.Health().Interval; got != slower.Interval {
		t.Errorf("interval %s", got)
	}
	if got := gen.Release.App; got.Stop.Timeout != app.Stop.Timeout || got.Command[0] != "/bin/true" {
		t.Errorf("%+v", got)
	}
	app.Health = nil // takes a reload
	gen.Update(app)
	if gen.Release.App.Health == nil {
		t.Error("the health check of a running worker was taken away")
	}
}

// A later agent finds in Meta what it needs, and it always fits.
func TestMeta(t *testing.T) {
	gen := prepare(t, Prepare{Sockets: sockets(t), Number: 7, Release: release("/")})
	var meta struct {
		App, Release     string
		Slot, Generation int
		Started          time.Time
	}
	b := gen.Meta(3)
	if err := json.Unmarshal(b, &meta); err != nil || len(b) > process.MetaMax {
		t.Fatalf("%v, %d bytes", err, len(b))
	}
	if meta.App != "web" || meta.Release != "r1" || meta.Slot != 3 || meta.Generation != 7 || meta.Started.IsZero() {
		t.Errorf("%+v", meta)
	}
}

func TestExitText(t *testing.T) {
	for _, tt := range []struct {
		exit process.Exit
		want string
	}{
		{process.Exit{Code: 3}, "exit code 3"},
		{process.Exit{Code: -1, Signal: syscall.SIGKILL}, "signal SIGKILL"},
		{process.Exit{Code: -1, Signal: 40}, "signal SIG40"},
	} {
		if got := ExitText(tt.exit); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// The file of a unix socket that a worker removes at its end is put back.
func TestRestore(t *testing.T) {
	s := sockets(t)
	l := unixAt(t, "one")
	b, err := s.bind(appWith("a"), l)
	if err != nil {
		t.Fatal(err)
	}
	g := &Generation{Listeners: []*Listener{b}}
	if f := g.Restore(); f != nil {
		t.Errorf("nothing was removed: %v", f)
	}
	if err := os.Remove(l.Address); err != nil {
		t.Fatal(err)
	}
	if f := g.Restore(); len(f) != 1 || f[0].Code != fault.SocketGone || !exists(l.Address) {
		t.Errorf("%v, there: %v", f, exists(l.Address))
	}
	s.Release("a", g.Listeners)
	if left, _ := os.ReadDir(filepath.Dir(l.Address)); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
