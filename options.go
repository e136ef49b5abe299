package muster

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/peer"
	"github.com/muster-run/muster/spec"
)

// Options of a Pool. The zero value runs this program with as many workers as there are
// processors.
type Options struct {
	// Workers is the size of the pool; 0: App.Workers, or without an App the number of
	// processors that Go uses.
	Workers int
	// Listen are addresses that muster binds for the workers, in the short form of
	// muster.yaml: ":8080", "unix:///run/app.sock", ":8080=http". They are added to those
	// of App.
	Listen []string
	// App is everything else about the workers, in the words of muster.yaml. Begin with
	// Self, or with spec.DefaultApp for another program. The zero value: Self.
	App spec.App

	// Output gets what the workers print, a line at a time, as "web#0 text"; one write for
	// each line. nil: the standard output. The last 1,000 lines of each are kept anyway.
	Output io.Writer
	// Dir is the directory for sockets, spools and log files, of at most 60 bytes and for
	// this pool alone. It is made, for this user only. "": a temporary one, which is removed
	// at the end. Name one below a directory open to all when App.User is another user.
	Dir string
	// Log of the library itself; nil: the default logger.
	Log *slog.Logger
	// Peer of the Pool: what is told of gaps. Its Log and SDK are set here.
	Peer peer.Options
	// OnEnd is called when every worker has ended, with the reason, before Run, Wait and
	// Stop return. Nobody waits for it longer than spec.OnExitTimeout.
	OnEnd func(ctx context.Context, reason string)
}

// Self is this program as an app, with every default of muster: its executable, with the
// arguments of this process, in this directory. Its workers' output is not written to
// files.
func Self() (spec.App, error) {
	exe, err := os.Executable()
	if err != nil {
		return spec.App{}, fault.New(fault.CommandNotFound, "cannot find this program's file: %w", err)
	}
	dir, err := os.Getwd()
	if err != nil {
		return spec.App{}, fault.New(fault.DirMissing, "cannot find the working directory: %w", err)
	}
	app := spec.DefaultApp(nameOf(exe))
	app.Command, app.Dir = append([]string{exe}, os.Args[1:]...), dir
	app.Workers, app.Log.Target = runtime.GOMAXPROCS(0), spec.LogNone
	return app, nil
}

var notInNames = regexp.MustCompile(`[^a-z0-9_-]+`)

// nameOf is a program's file as the name of an app.
func nameOf(path string) string {
	name := notInNames.ReplaceAllString(strings.ToLower(filepath.Base(path)), "-")
	if name = strings.Trim(name, "-_"); name == "" {
		return "app"
	}
	return name[:min(len(name), nameMax)]
}

// nameMax is the longest name that is made of a file's.
const nameMax = 32

// complete fills in what is not set.
func (o Options) complete() (Options, error) {
	if o.App.Name == "" && len(o.App.Command) == 0 {
		app, err := Self()
		if err != nil {
			return o, err
		}
		o.App = app
	}
	o.App = copyOf(o.App)
	if o.Workers > 0 {
		o.App.Workers = o.Workers
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Output == nil {
		o.Output = os.Stdout
	}
	if err := o.listen(); err != nil {
		return o, err
	}
	return o, o.check()
}

// check says what of the declaration cannot be.
func (o Options) check() error {
	problems := o.spec().Validate()
	if len(problems) == 0 {
		return nil
	}
	f := fault.New(fault.Config, "%s", problems[0]).At(o.App.Name)
	for _, p := range problems[1:] {
		f.Output = append(f.Output, p.String())
	}
	return f
}

// copyOf is an app of which the caller may change the original: what is declared is
// compared with what comes later.
func copyOf(app spec.App) spec.App {
	app.Env, app.Labels, app.SlotEnv = maps.Clone(app.Env), maps.Clone(app.Labels), maps.Clone(app.SlotEnv)
	for slot, env := range app.SlotEnv {
		app.SlotEnv[slot] = maps.Clone(env)
	}
	app.Command, app.Build = slices.Clone(app.Command), slices.Clone(app.Build)
	app.Listen, app.Ports = slices.Clone(app.Listen), slices.Clone(app.Ports)
	app.DependsOn, app.Tags, app.Allow = slices.Clone(app.DependsOn), slices.Clone(app.Tags), slices.Clone(app.Allow)
	if app.Health != nil {
		h := *app.Health
		h.Command = slices.Clone(h.Command)
		app.Health = &h
	}
	return app
}

// listen adds the addresses of Listen to those of the app.
func (o *Options) listen() error {
	all := append([]spec.Listener(nil), o.App.Listen...)
	for _, text := range o.Listen {
		l, err := spec.ParseListen(text)
		if err != nil {
			return fault.New(fault.Config, "Listen: %w", err).At(o.App.Name)
		}
		all = append(all, l)
	}
	taken := map[string]bool{}
	for _, l := range all {
		taken[l.Name] = true
	}
	for i := range all {
		for n := 0; all[i].Name == ""; n++ { // http, http1, … as in muster.yaml
			name := "http"
			if n > 0 {
				name += strconv.Itoa(n)
			}
			if !taken[name] {
				all[i].Name, taken[name] = name, true
			}
		}
	}
	o.App.Listen = all
	return nil
}

// spec is what the supervisor runs.
func (o Options) spec() spec.Spec {
	environ := append(os.Environ(), poolVar+"="+strconv.Itoa(os.Getpid()))
	slices.Sort(environ)
	return spec.Spec{
		Project: o.App.Name, Environ: environ, Apps: []spec.App{o.App},
		Control: spec.Control{Mode: 0o600}, // of a socket that there is not
	}
}
