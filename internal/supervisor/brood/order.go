package brood

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/supervisor/attempt"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/spec"
)

// command of the program's frames.
const command = "MUSTER_FORK"

const (
	// forksMax is how many forks a program may have at a time.
	forksMax = 1024
	// So many forks are started as fast as they come; then forksPace a second.
	forksBurst, forksPace = 64, 10
	// A fork for which so much waits gets no further message.
	unreadFrames, unreadBytes = 1024, 4 << 20
)

// order is a frame of the program's.
type order struct {
	Act           string            `json:"act"`
	ID            int               `json:"id"`
	Msg           json.RawMessage   `json:"msg"`
	Signal        any               `json:"signal"`
	Argv          []string          `json:"argv"`
	Env           map[string]string `json:"env"`
	Cwd           string            `json:"cwd"`
	Silent        bool              `json:"silent"`
	UID           *uint32           `json:"uid"`
	GID           *uint32           `json:"gid"`
	Serialization string            `json:"serialization"`
}

// Take implements attempt.Kin.
func (b *Brood) Take(f channel.Frame) (rest channel.Frame, kind string, mine bool) {
	if strings.HasPrefix(channel.Command(f.Data), "NODE_") {
		if f, kind, mine = b.unwrap(f); mine {
			return f, kind, true
		}
	}
	if channel.Command(f.Data) != command {
		return f, kind, false
	}
	fd := mail.None
	if len(f.FDs) > 0 {
		fd = f.FDs[0]
		closeAll(f.FDs[1:])
	}
	b.obey(f.Data, fd, kind)
	return f, kind, true
}

// unwrap takes a message out of its NODE_HANDLE, and deals with everything else that
// Node.js itself has to say.
func (b *Brood) unwrap(f channel.Frame) (rest channel.Frame, kind string, mine bool) {
	link, _ := b.program.Link()
	msg, err := nodejs.Parse(f.Data)
	if err != nil || msg.Kind != nodejs.Handle {
		closeAll(f.FDs)
		if err != nil || !link.Heard(msg) {
			b.post(func() { b.strange("a frame of Node.js that means nothing here") })
		}
		return f, "", true
	}
	_ = link.Take(len(f.FDs) == 1 && !f.Truncated) // fails when the program has gone
	return channel.Frame{Data: msg.Msg, FDs: f.FDs}, msg.Type, false
}

// obey does what a frame asks for, and returns when the frame may be forgotten. fd is
// closed.
func (b *Brood) obey(data []byte, fd int, kind string) {
	var o order
	err := json.Unmarshal(data, &o)
	if o.Act == "fork" {
		b.pace.keep(b.ctx)
		begun := make(chan struct{})
		if b.settled(func() { b.fork(o, err, func() { close(begun) }) }) {
			select {
			case <-begun:
			case <-b.ctx.Done():
			}
		}
	} else {
		b.settled(func() { b.perform(o, err, mail.Letter{Data: o.Msg, FD: fd, Kind: kind}) })
		return
	}
	closeFD(fd)
}

// perform does it in the goroutine of the pool.
func (b *Brood) perform(o order, err error, letter mail.Letter) {
	defer closeFD(letter.FD)
	f := b.find(o.ID)
	switch {
	case err != nil:
		b.strange("a frame that cannot be read: " + err.Error())
	case f == nil: // it has ended meanwhile
	case o.Act == "send":
		f.send(letter)
	case o.Act == "disconnect":
		f.run.Disconnect()
		f.leaves()
	case o.Act == "kill":
		f.signal(o.Signal)
	default:
		b.strange("the act " + strconv.Quote(o.Act[:min(len(o.Act), 40)]))
	}
}

// send passes a message on to the fork.
func (f *fork) send(l mail.Letter) {
	if frames, bytes := f.run.Waiting(); frames >= unreadFrames || bytes >= unreadBytes {
		f.b.strange(fmt.Sprintf("messages for fork %d, which does not read them", f.id))
		return
	}
	if len(l.Data) > 0 {
		_ = f.run.Carry(l) // it fails when the fork has gone, which its exit says
	}
}

// signal sends what Node calls a signal: a name or a number.
func (f *fork) signal(s any) {
	var sig unix.Signal
	switch s := s.(type) {
	case string:
		sig = unix.SignalNum(s)
	case float64:
		sig = unix.Signal(s)
	}
	if sig <= 0 || sig > 64 {
		f.b.strange("an unknown signal")
		return
	}
	_ = f.run.Send(sig, false) // it fails when the fork has gone
}

// fork starts one. begun is called when the program's frame may be forgotten.
func (b *Brood) fork(o order, err error, begun func()) {
	if o.ID <= b.last { // it is heard for the second time
		b.cfg.After(begun)
		return
	}
	b.last = o.ID
	worker, fail := b.worker(o, err)
	if fail != nil {
		b.warn(fail)
		b.failed(o.ID, fail)
		b.cfg.After(begun)
		return
	}
	f := &fork{b: b, id: o.ID, silent: o.Silent, begun: begun}
	cfg := f.config(worker)
	cfg.Worker.Environ, cfg.Worker.Dir = environ(o.Env), b.cfg.Worker.Dir
	if filepath.IsAbs(o.Cwd) {
		cfg.Worker.Dir = o.Cwd
	}
	f.run = attempt.New(b.ctx, cfg)
	b.forks = append(b.forks, f)
	b.cfg.After(f.run.Launch)
}

// worker is the app of a fork, or why there can be none.
func (b *Brood) worker(o order, err error) (spec.App, *fault.Fault) {
	app := forkApp(b.cfg.Worker.App)
	switch {
	case b.ending:
		return app, fault.New(fault.NotRunning, "the program is being stopped, so fork %d is not started", o.ID)
	case err != nil:
		return app, fault.New(fault.NodeFrame, "fork %d cannot be started: %w", o.ID, err)
	case len(o.Argv) < 2:
		return app, fault.New(fault.NodeFrame, "fork %d has no program", o.ID)
	case o.Serialization != "" && o.Serialization != "json":
		return app, fault.New(fault.Config, "serialization: %q is not understood", o.Serialization).
			WithFix("remove serialization from cluster.setupPrimary(): messages through muster are JSON")
	case len(b.forks) >= forksMax:
		return app, fault.New(fault.StartFailed, "there are %d forks already", len(b.forks))
	}
	app.Command = o.Argv
	app.Env = own(o.Env)
	if o.UID != nil {
		app.User = strconv.Itoa(int(*o.UID))
	}
	if o.GID != nil {
		app.Group = strconv.Itoa(int(*o.GID))
	}
	return app, nil
}

// forkApp is a program's app as it is for a fork: nothing but what concerns one process.
func forkApp(app spec.App) spec.App {
	app.Shell, app.Listen, app.Ports, app.Env, app.SlotEnv, app.Health, app.Watchdog = false, nil, nil, nil, nil, nil, 0
	app.Ready, app.Stdin = spec.Ready{Mode: spec.ReadyAuto}, ""
	app.Stop.Message, app.Stop.Command = "", nil
	app.Node.Cluster = spec.NodeOn
	return app
}

// environ of a fork; what is not for it is taken out with the rest of muster's.
func environ(env map[string]string) []string {
	list := make([]string, 0, len(env))
	for _, k := range slices.Sorted(maps.Keys(env)) {
		list = append(list, k+"="+env[k])
	}
	return list
}

// own are variables that a worker gets from muster, and a fork from its program. A fork's
// SDK sees that it has no seat in the exchange: what it says goes to its program.
func own(env map[string]string) map[string]string {
	kept := map[string]string{"MUSTER_FORK": "1"}
	for _, k := range []string{"NODE_APP_INSTANCE", "USER", "LOGNAME", "HOME"} {
		if v, ok := env[k]; ok && !strings.Contains(v, "{{") {
			kept[k] = v
		}
	}
	return kept
}

// settled runs a step in the goroutine of the pool, and returns once it is recorded.
func (b *Brood) settled(step func()) bool {
	done := make(chan struct{})
	posted := b.cfg.Post(func() {
		if !b.closed {
			step()
		}
		b.cfg.After(func() { close(done) })
	})
	if !posted {
		return false
	}
	select {
	case <-done:
		return true
	case <-b.ctx.Done():
		return false
	}
}

func (b *Brood) post(step func()) {
	b.cfg.Post(func() {
		if !b.closed {
			step()
		}
	})
}

// strange warns, once for each text, of what the program says.
func (b *Brood) strange(what string) {
	if len(b.odd) < oddMax && !b.odd[what] {
		b.odd[what] = true
		b.warn(fault.New(fault.NodeFrame, "its primary sends %s", what))
	}
}

// oddMax is how many kinds of it are told of one program.
const oddMax = 10

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// pace slows down a program that forks without end. For one goroutine.
type pace struct {
	free float64 // forks that may start at once
	at   time.Time
}

// keep waits until another fork may start, or ctx ends.
func (p *pace) keep(ctx context.Context) {
	if p.at.IsZero() {
		p.free = forksBurst
	} else {
		p.free = min(forksBurst, p.free+time.Since(p.at).Seconds()*forksPace)
	}
	p.at = time.Now()
	p.free--
	if p.free >= 0 {
		return
	}
	select {
	case <-time.After(time.Duration(-p.free / forksPace * float64(time.Second))):
	case <-ctx.Done():
	}
}
