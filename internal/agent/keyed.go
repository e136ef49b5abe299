package agent

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/control/keyed"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/spec"
)

// keyedName is the socket of control.listen in the keeper's Store.
const keyedName = "keyed"

// keyedGrace is how long requests over it may take at the agent's end.
const keyedGrace = 2 * time.Second

// keyedDoor is where the session key is accepted: it follows control.listen of the
// spec that runs. Safe for concurrent use.
type keyedDoor struct {
	server *keyed.Server
	store  process.Store // nil: nothing outlives the agent

	mu sync.Mutex
	at string // control.listen as it is served; "": nowhere
}

// opening is a socket for a spec that is not the one that runs yet; its file may be
// nil: it needs none.
type opening struct {
	at   string
	file *os.File
}

// prepare binds what a spec wants to listen on, so that it can be refused before
// anything has changed.
func (d *keyedDoor) prepare(at string) (opening, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if at == "" || at == d.at {
		return opening{at: at}, nil
	}
	f, err := bindLoopback(at)
	return opening{at, f}, err
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

// follow serves where the spec that runs now says. o is what was prepared for it.
func (d *keyedDoor) follow(at string, o opening) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if o.file != nil {
		defer o.file.Close()
	}
	if at == d.at {
		return nil
	}
	f := o.file
	if at != "" && (f == nil || o.at != at) { // another one was applied meanwhile
		var err error
		if f, err = bindLoopback(at); err != nil {
			return err
		}
		defer f.Close()
	}
	return d.serve(at, f)
}

// adopt goes on where the agent before has served, with whoever waits in the queue.
func (d *keyedDoor) adopt(at string) error {
	if d.store != nil && at != "" {
		f, err := d.store.Get(keyedName)
		if err == nil && f != nil {
			defer f.Close()
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.serve(at, f)
		}
	}
	return d.follow(at, opening{})
}

// serve moves to a socket, of which it takes copies; at "": to none.
func (d *keyedDoor) serve(at string, f *os.File) error {
	if at == "" {
		d.at = ""
		d.server.Move(nil)
		return d.keep(nil)
	}
	l, err := net.FileListener(f)
	if err != nil {
		return fault.New(fault.Bind, "control.listen cannot be served: %w", err)
	}
	d.at = at
	d.server.Move(l)
	return d.keep(f)
}

// keep leaves the socket to a successor; nil: none.
func (d *keyedDoor) keep(f *os.File) error {
	switch {
	case d.store == nil:
		return nil
	case f != nil:
		return d.store.Put(keyedName, f)
	}
	old, err := d.store.Take(keyedName)
	if old != nil {
		old.Close()
	}
	return err
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
	a.keyed.server.Close(grace)
}

// keyedFollows tells the door what runs now. That it cannot is told: what was applied
// runs all the same.
func (a *Agent) keyedFollows(o opening) {
	if err := a.keyed.follow(a.supervisor.Spec().Control.Listen, o); err != nil {
		a.warn(fault.From(err))
	}
}
