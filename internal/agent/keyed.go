package agent

import (
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/keyed"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// keyedPrefix and control.listen name its socket in the keeper's Store.
const keyedPrefix = "keyed/"

// keyedGrace is how long requests over it may take at the agent's end.
const keyedGrace = 2 * time.Second

// keyedDoor is where the session key is accepted: it follows control.listen of the
// spec that runs. Safe for concurrent use.
type keyedDoor struct {
	server *keyed.Server
	store  process.Store // nil: nothing outlives the agent

	mu     sync.Mutex
	at     string   // control.listen as it is served; "": nowhere
	failed string   // what could not be served when it was tried last
	next   string   // of the spec that is about to be applied,
	ready  *os.File // and its socket; nil: none is needed
}

// prepare binds what a spec wants to listen on, so that it can be refused before
// anything has changed. discard follows, whatever became of the spec.
func (d *keyedDoor) prepare(at string) (err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	if at != "" && at != d.at {
		d.next = at
		d.ready, err = bindLoopback(at)
	}
	return err
}

func (d *keyedDoor) discard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
}

func (d *keyedDoor) drop() {
	if d.ready != nil {
		d.ready.Close()
	}
	d.next, d.ready, d.failed = "", nil, ""
}

// bindLoopback binds an address, and sees that its name did not lead elsewhere.
func bindLoopback(at string) (*os.File, error) {
	f, err := listener.Bind(spec.Listener{Name: "control.listen", Network: "tcp", Address: at})
	if err != nil {
		return nil, err
	}
	bound, err := netip.ParseAddrPort(listener.Addr(f))
	if err != nil || !bound.Addr().Unmap().IsLoopback() {
		f.Close()
		return nil, fault.New(fault.Bind, "%s is %s here, which is not on this host alone", at, bound.Addr()).
			At("control.listen").WithFix("write 127.0.0.1 or [::1]")
	}
	return f, nil
}

// follow serves where the spec that runs now says, which it asks for; what cannot be is
// told once.
func (d *keyedDoor) follow(wanted func() string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := wanted() // not before: another one may be applied meanwhile
	if at == d.at || at != "" && at == d.failed {
		return nil
	}
	f, err := d.socket(at)
	if err == nil {
		err = d.serve(at, f)
	}
	if err != nil {
		d.failed = at
	}
	return err
}

// socket is the one that was prepared, else that of the agent before, with whoever
// waits in its queue, else a new one; nil for "".
func (d *keyedDoor) socket(at string) (*os.File, error) {
	if at == "" {
		return nil, nil
	}
	if at == d.next && d.ready != nil {
		f := d.ready
		d.ready = nil
		return f, nil
	}
	if d.store != nil {
		if f, err := d.store.Get(keyedPrefix + at); err == nil && f != nil {
			return f, nil
		}
	}
	return bindLoopback(at)
}

// serve moves to a socket, which it closes: others are left to a successor and to the
// server. nil: to none.
func (d *keyedDoor) serve(at string, f *os.File) error {
	if f == nil {
		d.server.Move(nil)
	} else {
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			return fault.New(fault.Bind, "control.listen cannot be served: %w", err)
		}
		d.server.Move(l)
	}
	d.at, d.failed = at, ""
	return d.keep(f)
}

// keep leaves the socket to a successor, and no other one.
func (d *keyedDoor) keep(f *os.File) error {
	if d.store == nil {
		return nil
	}
	if f != nil {
		if err := d.store.Put(keyedPrefix+d.at, f); err != nil {
			return err
		}
	}
	for _, name := range d.store.List() {
		at, mine := strings.CutPrefix(name, keyedPrefix)
		if !mine || at == d.at {
			continue
		}
		old, err := d.store.Take(name)
		if err != nil {
			return err
		}
		if old != nil {
			old.Close()
		}
	}
	return nil
}

func (d *keyedDoor) place() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.at
}

// openKeyed makes the door; it is shut until a spec opens it.
func (a *Agent) openKeyed() {
	a.keyed = &keyedDoor{server: keyed.New(keyed.Options{
		Key: a.key, API: a.server.Keyed(), Warn: a.warn, Log: a.opts.Log,
	})}
	if a.keeper != nil {
		a.keyed.store = a.keeper.Store
	}
	a.undo("keyed control", func() error { a.shutKeyed(); return nil })
}

// shutKeyed ends it with the agent; one that leaves breaks off what runs.
func (a *Agent) shutKeyed() {
	grace := keyedGrace
	if a.left {
		grace = 0
	}
	a.keyed.discard()
	a.keyed.server.Close(grace)
}

// keyedFollows tells the door what runs now. That it cannot is told: what was applied
// runs all the same.
func (a *Agent) keyedFollows() {
	if err := a.keyed.follow(func() string { return a.supervisor.Spec().Control.Listen }); err != nil {
		a.warn(fault.From(err))
	}
}
