package supervisor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/health"
	"github.com/muster-run/muster/internal/launch"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/sdnotify"
	"github.com/muster-run/muster/spec"
)

// need is a set of things that readiness still waits for.
type need uint8

const (
	needNotify    need = 1 << iota // READY=1
	needListening                  // a process waits for connections on each listener
	needProbe                      // a success of the health check
	needPort                       // a process listens on each port
	needOutput                     // a line that matches
	needAlive                      // has lived long enough
)

// needsOf says what ready.mode means for an app.
func needsOf(app spec.App) need {
	streams := false
	for _, l := range app.Listen {
		streams = streams || !strings.HasPrefix(l.Network, "udp")
	}
	if app.Type == spec.Task {
		return 0
	}
	switch app.Ready.Mode {
	case spec.ReadyNotify:
		if streams {
			return needNotify | needListening
		}
		return needNotify
	case spec.ReadyListening:
		return needListening
	case spec.ReadyProbe:
		return needProbe
	case spec.ReadyPort:
		return needPort
	case spec.ReadyOutput:
		return needOutput
	case spec.ReadyAlive:
		return needAlive
	}
	var n need
	if streams {
		n |= needListening
	}
	if app.Health != nil {
		n |= needProbe
	}
	if n == 0 && len(app.Ports) > 0 {
		n |= needPort
	}
	if n == 0 {
		n |= needAlive
	}
	return n
}

func aliveFor(app spec.App) time.Duration {
	if app.Ready.For > 0 {
		return app.Ready.For.D()
	}
	return time.Second
}

// missing says in words what has not come.
func (n need) missing(app spec.App) string {
	var names, words []string
	for _, l := range app.Listen {
		names = append(names, l.Address)
	}
	for _, m := range []struct {
		need need
		text string
	}{
		{needNotify, "no READY=1 came"},
		{needListening, "no process of it waits for connections on " + strings.Join(names, ", ")},
		{needProbe, "the health check never passed"},
		{needPort, "no process of it listens on its ports"},
		{needOutput, fmt.Sprintf("no line matched %q", app.Ready.Pattern)},
		{needAlive, "it had not lived for " + spec.Duration(aliveFor(app)).String()},
	} {
		if n&m.need != 0 {
			words = append(words, m.text)
		}
	}
	return strings.Join(words, "; ")
}

// notified takes one sd_notify message.
func (r *run) notified(m sdnotify.Message) {
	w := r.w
	if w.run != r || !r.running {
		return
	}
	if m.HasStatus && m.Status != w.statusText {
		w.statusText = m.Status
		w.pool.publish(w, event.WorkerStatus{Text: m.Status})
	}
	if m.MainPID > 0 && m.MainPID != r.proc.PID && r.exit == nil {
		if proc, err := w.pool.sup.opts.Starter.SetMain(r.id, m.MainPID); err == nil {
			r.proc = proc
		}
	}
	if m.Extend > 0 {
		r.extend(m.Extend)
	}
	if m.WatchdogInterval > 0 {
		r.setWatchdog(m.WatchdogInterval)
	}
	if m.WatchdogPing && r.watchdog > 0 {
		r.setWatchdog(r.watchdog)
	}
	if m.WatchdogTrigger {
		w.condemn(r, fault.New(fault.Watchdog, "it reported WATCHDOG=trigger"))
	}
	if m.Ready {
		w.met(r, needNotify)
	}
}

// setWatchdog restarts the watchdog's interval.
func (r *run) setWatchdog(d time.Duration) {
	r.watchdog = d
	if r.ping != nil {
		r.ping.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		r.post(func() {
			if r.ping == t && r.w.state == event.Ready {
				r.w.condemn(r, fault.New(fault.Watchdog, "no WATCHDOG=1 for %s", d))
			}
		})
	})
	r.ping = t
}

// watchSockets looks at what the worker really listens on, until it accepts on
// every inherited listener (or has its ports).
func (r *run) watchSockets() {
	app := r.w.gen.release.app
	if r.needs&needPort == 0 && len(r.w.gen.listeners) == 0 {
		return
	}
	look := socketLook{
		proc: r.proc, sup: r.w.pool.sup, ports: map[int]bool{}, ours: map[uint64]bool{},
		patience: listenPatience,
		accepts:  func() { r.post(func() { r.w.met(r, needListening) }) },
		hasPorts: func() { r.post(func() { r.w.met(r, needPort) }) },
		ignores:  func(own []listener.Socket) { r.post(func() { r.ignoresListeners(own) }) },
	}
	if _, ok := launch.Wrapper(app.Command); ok {
		look.patience = wrapperPatience
	}
	for _, l := range r.w.gen.listeners {
		look.ours[l.inode] = true
		if !strings.HasPrefix(l.spec.Network, "udp") {
			look.inodes = append(look.inodes, l.inode)
		}
	}
	if r.needs&needPort != 0 {
		for _, p := range app.Ports {
			look.ports[p.For(r.w.slot.n)] = true
		}
	}
	ctx := r.ctx
	r.w.pool.sup.helpers.Go(func() { look.run(ctx) })
}

// How long nobody may accept on an inherited listener before it is reported.
const (
	listenPatience  = 10 * time.Second
	wrapperPatience = 3 * time.Second
)

// socketLook polls the kernel's view of one worker's sockets.
type socketLook struct {
	sup      *Supervisor
	proc     process.Proc
	inodes   []uint64 // stream listeners it was given
	ours     map[uint64]bool
	ports    map[int]bool // ports it shall listen on
	patience time.Duration
	accepts  func()
	hasPorts func()
	ignores  func([]listener.Socket)
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
		pids := s.sup.members(s.proc)
		if waitAccept && s.sup.opts.accepting(pids, s.inodes) == listener.Yes {
			waitAccept = false
			s.accepts()
		}
		if waitPorts && s.listensOnPorts(pids) {
			waitPorts = false
			s.hasPorts()
		}
		if waitAccept && time.Since(began) > s.patience {
			if !told {
				own, _ := s.sup.opts.foreign(pids, s.ours)
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
	if s.sup.opts.accepting(pids, s.inodes) == listener.Unknown && len(own) == 0 {
		s.accepts()
		return
	}
	s.ignores(own)
}

func (s *socketLook) listensOnPorts(pids []int) bool {
	own, err := s.sup.opts.foreign(pids, s.ours)
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

// ignoresListeners: nobody accepts on an inherited listener. A worker that
// listens on a port of its own instead serves, if not as asked: under
// ready: auto it counts as ready, with the warning.
func (r *run) ignoresListeners(own []listener.Socket) {
	w := r.w
	if w.run != r || (w.state != event.Starting && w.state != event.Ready) {
		return
	}
	app := w.gen.release.app
	var given, foreign []string
	for _, l := range w.gen.listeners {
		given = append(given, l.addr)
	}
	for _, s := range own {
		foreign = append(foreign, fmt.Sprintf("%s (pid %d)", s.Address, s.PID))
	}
	f := fault.New(fault.ListenPID, "nobody accepts on the inherited listener %s", strings.Join(given, ", "))
	if len(foreign) > 0 {
		f.Text += "; it listens on " + strings.Join(foreign, ", ") + " instead"
	}
	if name, ok := launch.Wrapper(app.Command); ok {
		f.Fix = fmt.Sprintf("%s stands between muster and the server: %s", name, f.Fix)
	}
	r.noAccept = f.At(w.at(r.proc.PID))
	w.pool.warn(w, r.noAccept)
	if app.Ready.Mode == spec.ReadyAuto && len(own) > 0 {
		w.met(r, needListening)
	}
}

// watchHealth runs the health check until the watchers end.
func (r *run) watchHealth() {
	h := r.w.gen.release.app.Health
	if h == nil {
		return
	}
	probe, err := r.w.probe(*h)
	if err != nil {
		r.w.pool.warn(r.w, fault.From(err).At(r.w.String()))
		return
	}
	r.w.health = "starting"
	r.tracker = health.Tracker{Failures: h.Failures}
	ctx, rules := r.ctx, r.w.gen.health
	r.w.pool.sup.helpers.Go(func() {
		health.Watch(ctx, rules, probe, func(res health.Result) {
			r.post(func() { r.probed(res) })
		})
	})
}

// probed takes one result of the health check.
func (r *run) probed(res health.Result) {
	w := r.w
	if w.run != r || (w.state != event.Starting && w.state != event.Ready) {
		return
	}
	before := w.health
	verdict := r.tracker.Observe(res)
	switch verdict {
	case health.Starting:
		w.health = "starting"
	case health.Healthy:
		w.health = "ok"
	case health.Failing, health.Unhealthy:
		w.health = "failing"
	}
	w.healthText = res.Text
	if w.health != before || w.health == "failing" {
		w.pool.publish(w, event.WorkerHealth{OK: res.OK, Failures: r.tracker.InARow(), Text: res.Text})
	}
	if verdict == health.Healthy {
		w.met(r, needProbe)
	}
	rules := w.gen.health()
	late := verdict == health.Starting && rules.Grace > 0 &&
		w.pool.sup.now().Sub(r.startedAt) > rules.Grace.D()
	if w.state == event.Ready && (verdict == health.Unhealthy || late) {
		w.pool.replace(w, fault.New(fault.Unhealthy, "health check failed %d times: %s",
			r.tracker.InARow(), res.Text).At(w.at(r.proc.PID)))
	}
}
