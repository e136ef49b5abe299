package attempt

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/sight"
	"github.com/muster-run/muster/spec"
)

// watchSockets looks at what the worker really listens on, until it accepts on
// every inherited listener (or has its ports).
func (a *Attempt) watchSockets() {
	app := a.app
	if a.needs&need.Port == 0 && len(a.cfg.Listeners) == 0 {
		return
	}
	proc, sys := a.proc, a.cfg.Shared.Sys
	look := sight.Look{
		Members: func() []int { return sys.Members(proc) }, Accepting: sys.Accepting, Foreign: sys.Foreign,
		Ports: map[int]bool{}, Ours: map[uint64]bool{}, Patience: listenPatience,
		Accepts:  func() { a.post(func() { a.met(need.Listening) }) },
		HasPorts: func() { a.post(func() { a.met(need.Port) }) },
		Ignores:  func(idle []uint64, own []listener.Socket) { a.post(func() { a.ignoresListeners(idle, own) }) },
	}
	if _, ok := launch.WrapperOf(app); ok {
		look.Patience = wrapperPatience
	}
	for _, l := range a.cfg.Listeners {
		look.Ours[l.Inode] = true
		if !strings.HasPrefix(l.Network, "udp") {
			look.Inodes = append(look.Inodes, l.Inode)
		}
	}
	if a.needs&need.Port != 0 {
		for _, p := range app.Ports {
			look.Ports[p.For(a.cfg.Worker.Slot)] = true
		}
	}
	ctx := a.ctx
	a.cfg.Shared.Errands.Go(func() { look.Run(ctx) })
}

// How long nobody may accept on an inherited listener before it is reported.
const (
	listenPatience  = 10 * time.Second
	wrapperPatience = 3 * time.Second
)

// ignoresListeners: nobody accepts on some of the inherited listeners. A worker that
// listens on a port of its own instead serves, if not as asked: under
// ready: auto it counts as ready, with the warning.
func (a *Attempt) ignoresListeners(idle []uint64, own []listener.Socket) {
	if !a.Serving() {
		return
	}
	var given, foreign []string
	for _, l := range a.cfg.Listeners {
		if slices.Contains(idle, l.Inode) {
			given = append(given, l.Address)
		}
	}
	if len(given) == 0 {
		return // it has begun to accept meanwhile
	}
	for _, s := range own {
		foreign = append(foreign, fmt.Sprintf("%s (pid %d)", s.Address, s.PID))
	}
	f := fault.New(fault.ListenPID, "nobody accepts on the inherited listener %s", strings.Join(given, ", "))
	if len(foreign) > 0 {
		f.Text += "; it listens on " + strings.Join(foreign, ", ") + " instead"
	}
	if name, ok := launch.WrapperOf(a.app); ok {
		f.Fix = fmt.Sprintf("%s stands between muster and the server: %s", name, f.Fix)
	}
	a.noAccept = f
	a.cfg.Events.Warned(f)
	if a.app.Ready.Mode == spec.ReadyAuto && len(own) > 0 {
		a.met(need.Listening)
	}
}
