package brood

import (
	"strings"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/supervisor/need"
)

// serversPatience is how long a fork may take to listen as others do, and all of them
// to listen where the predecessor does.
const serversPatience = 5 * time.Second

// check looks whether everything listens that should, now and, if only time is
// missing, again.
func (b *Brood) check() {
	b.still()
	if b.ending || b.closed || !b.program.ReadyAt().IsZero() || !b.program.Serving() {
		return
	}
	ok, in := b.ready(time.Now())
	switch {
	case ok:
		b.program.ServersReady()
	case in > 0:
		b.look = time.AfterFunc(in, func() { b.post(b.check) })
	}
}

func (b *Brood) still() {
	if b.look != nil {
		b.look.Stop()
	}
}

// ready: each fork listens on what it has asked for. Those to come get ready.for; one
// that asks for nothing is waited for as long as it may only be slower than others. in
// is when to look again, 0: when something happens.
func (b *Brood) ready(now time.Time) (ok bool, in time.Duration) {
	quiet := need.AliveFor(b.cfg.Worker.App)
	if in = quiet - now.Sub(b.program.StartedAt()); in > 0 {
		return false, in
	}
	before, others := b.cfg.Before()
	listen := map[string]bool{}
	for _, key := range b.Facts().Servers() {
		listen[key] = true
	}
	patience := quiet
	if others || len(listen) > 0 {
		patience = serversPatience
	}
	for _, f := range b.forks {
		if ok, in := f.ready(now, patience); !ok {
			return false, in
		}
	}
	if others && len(listen) == 0 {
		return false, 0
	}
	return b.asBefore(now, before, listen)
}

// ready: one fork has come as far as it will.
func (f *fork) ready(now time.Time, patience time.Duration) (ok bool, in time.Duration) {
	node := f.run.Facts().Node
	switch {
	case node == nil, node.Gone, f.run.Exit() != nil: // it counts no more
		return true, 0
	case !node.Online:
		return false, 0
	case len(node.Servers) == 0:
		in = patience - now.Sub(f.onlineAt)
		return in <= 0, max(0, in)
	}
	for _, listens := range node.Servers {
		if !listens {
			return false, 0
		}
	}
	return true, 0
}

// asBefore: they listen where the predecessor does, or it has been waited for long
// enough: a new release may have another port.
func (b *Brood) asBefore(now time.Time, before []string, listen map[string]bool) (ok bool, in time.Duration) {
	var missing []string
	for _, key := range before {
		if !listen[key] {
			listen[key], missing = true, append(missing, key)
		}
	}
	if len(missing) == 0 {
		return true, 0
	}
	if b.slack.IsZero() {
		b.slack = now
	}
	if in = serversPatience - now.Sub(b.slack); in > 0 {
		return false, in
	}
	b.warn(fault.New(fault.ListenPID, "its forks do not listen on %s, as those of the program before it do", strings.Join(missing, ", ")).
		WithFix("nothing, when the release is to have other addresses"))
	return true, 0
}
