package attempt

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/spec"
)

// watchSockets looks at what the worker really listens on, until it accepts on
// every inherited listener (or has its ports).
func (a *Attempt) watchSockets() {
	app := a.app
	if a.needs&need.Port == 0 && len(a.cfg.Listeners) == 0 {
		return
	}
	look := socketLook{
		proc: a.proc, sys: a.cfg.Shared.Sys, ports: map[int]bool{}, ours: map[uint64]bool{},
		patience: listenPatience,
		accepts:  func() { a.post(func() { a.met(need.Listening) }) },
		hasPorts: func() { a.post(func() { a.met(need.Port) }) },
		ignores:  func(idle []uint64, own []listener.Socket) { a.post(func() { a.ignoresListeners(idle, own) }) },
	}
	if _, ok := launch.WrapperOf(app); ok {
		look.patience = wrapperPatience
	}
	for _, l := range a.cfg.Listeners {
		look.ours[l.Inode] = true
		if !strings.HasPrefix(l.Network, "udp") {
			look.inodes = append(look.inodes, l.Inode)
		}
	}
	if a.needs&need.Port != 0 {
		for _, p := range app.Ports {
			look.ports[p.For(a.cfg.Worker.Slot)] = true
		}
	}
	ctx := a.ctx
	a.cfg.Shared.Errands.Go(func() { look.run(ctx) })
}

// How long nobody may accept on an inherited listener before it is reported.
const (
	listenPatience  = 10 * time.Second
	wrapperPatience = 3 * time.Second
)

// socketLook polls the kernel's view of one worker's sockets.
type socketLook struct {
	sys      Sys
	proc     process.Proc
	inodes   []uint64 // stream listeners it was given
	ours     map[uint64]bool
	ports    map[int]bool // ports it shall listen on
	patience time.Duration
	accepts  func()
	hasPorts func()
	ignores  func(idle []uint64, own []listener.Socket)
}

func (s *socketLook) run(ctx context.Context) {
	began := time.Now()
	waitAccept, waitPorts, told := len(s.inodes) > 0, len(s.ports) > 0, false
	for wait := 5 * time.Millisecond; waitAccept || waitPorts; wait = min(wait*3/2, 200*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		pids := s.sys.Members(s.proc)
		if waitAccept && s.sys.Accepting(pids, s.inodes) == listener.Yes {
			waitAccept = false
			s.accepts()
		}
		if waitPorts && s.listensOnPorts(pids) {
			waitPorts = false
			s.hasPorts()
		}
		if waitAccept && time.Since(began) > s.patience {
			if !told {
				own, _ := s.sys.Foreign(pids, s.ours)
				s.tell(pids, own)
				told = true
			}
			wait = time.Second
		}
	}
}

// tell reports a worker that does not accept; where the system does not let us
// look, it gets the benefit of the doubt.
func (s *socketLook) tell(pids []int, own []listener.Socket) {
	if s.sys.Accepting(pids, s.inodes) == listener.Unknown && len(own) == 0 {
		s.accepts()
		return
	}
	s.ignores(s.idle(pids), own)
}

// idle are the listeners that nobody accepts on.
func (s *socketLook) idle(pids []int) []uint64 {
	var idle []uint64
	for _, inode := range s.inodes {
		if s.sys.Accepting(pids, []uint64{inode}) != listener.Yes {
			idle = append(idle, inode)
		}
	}
	return idle
}

func (s *socketLook) listensOnPorts(pids []int) bool {
	own, err := s.sys.Foreign(pids, s.ours)
	if err != nil {
		return false
	}
	seen := map[int]bool{}
	for _, sock := range own {
		seen[sock.Port] = true
	}
	for port := range s.ports {
		if !seen[port] {
			return false
		}
	}
	return true
}

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
