package primary

import (
	"os"
	"slices"
	"strings"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Options of a Primary. App, Store and Balance are required.
type Options struct {
	// App's name; its User owns the UNIX sockets that workers ask for.
	App, User string
	Store     process.Store
	// Loop deals connections; nil: every listener is shared.
	Loop *handoff.Loop
	// Bind makes the sockets that a worker asks for, slots of them, or one for 0; nil:
	// listener.BindAsked.
	Bind func(a listener.Asked, slots int) ([]*os.File, error)
	// Balance of a listener that a worker asks for; never BalanceAuto.
	Balance func(spec.Listener) spec.Balance
	// Slots is the size of the pool; nil: 1.
	Slots func() int
	// After performs an effect once Facts are recorded, in order, in the goroutine of
	// the Primary; nil: at once.
	After func(effect func())
	// Warn is told what went wrong, with the member's ID ("" when it is about the
	// app). From any goroutine; it must not block. May be nil.
	Warn func(member string, f *fault.Fault)
	// Blocked is told that the worker of a slot does not take its connections, or
	// (over) takes them again; as Warn.
	Blocked func(slot int, f *fault.Fault, over bool)
}

// Primary of one app. See the package for which goroutine it belongs to.
type Primary struct {
	o        Options
	offered  []Offered
	declared map[string]*server // by the key of the spec
	asked    []*server          // in the order of their first use
	members  map[*Member]bool
}

// Offered is a declared listener.
type Offered struct {
	Spec spec.Listener
	// Addr is where it is bound, as listener.Addr says it.
	Addr string
	// File is the socket of a slot; all slots have the same but for BalanceSlots. It
	// stays the caller's.
	File func(slot int) *os.File
	// Door deals its connections; nil with BalanceShared. It stays the caller's.
	Door    *handoff.Door
	Balance spec.Balance
}

// New makes the Primary of an app that has nothing yet.
func New(o Options) *Primary {
	if o.Bind == nil {
		o.Bind = listener.BindAsked
	}
	if o.Slots == nil {
		o.Slots = func() int { return 1 }
	}
	if o.After == nil {
		o.After = func(effect func()) { effect() }
	}
	if o.Warn == nil {
		o.Warn = func(string, *fault.Fault) {}
	}
	if o.Blocked == nil {
		o.Blocked = func(int, *fault.Fault, bool) {}
	}
	return &Primary{o: o, declared: map[string]*server{}, members: map[*Member]bool{}}
}

// Adopt makes a Primary that goes on with the listeners of an earlier one, and closes
// those of its in the Store that was does not name: nobody has been told of them. The
// faults are about listeners that are lost. Offer must come before the first Join.
func Adopt(o Options, was []record.Asked) (*Primary, []*fault.Fault) {
	p := New(o)
	var faults []*fault.Fault
	kept := map[string]bool{}
	for _, a := range was {
		if isDeclared(a) {
			p.declared[a.Key] = &server{p: p, was: a, declared: true}
			continue
		}
		s, f := p.restore(a)
		if f != nil {
			faults = append(faults, f)
		}
		if s == nil {
			continue
		}
		p.asked = append(p.asked, s)
		for i := range s.files {
			kept[s.storeName(i)] = true
		}
	}
	p.dropStore(func(name string) bool { return kept[name] })
	return p, faults
}

// isDeclared tells the data of a declared listener from one that was asked for: its
// key is that of its spec.
func isDeclared(a record.Asked) bool { return a.Key == a.Listener.Spec.Key() }

// Facts are what Adopt needs.
func (p *Primary) Facts() []record.Asked {
	var list []record.Asked
	for _, s := range p.asked {
		list = append(list, s.was)
	}
	for _, o := range p.offered {
		if s := p.declared[o.Spec.Key()]; s != nil && s.was.Data != nil {
			list = append(list, s.was)
		}
	}
	return list
}

// Offer replaces the declared listeners, in the order in which workers inherit them
// (from descriptor 3 on). Workers that have one that is not offered any more keep it.
func (p *Primary) Offer(list []Offered) {
	p.offered = slices.Clone(list)
	for _, o := range list {
		key := o.Spec.Key()
		s := p.declared[key]
		if s == nil {
			s = &server{p: p, declared: true, was: record.Asked{Key: key}}
			p.declared[key] = s
		}
		s.offer(o)
	}
}

// Resize fits the listeners that have a socket for each slot to a pool of n: before
// the workers of new slots start, after those of slots that go have ended. Where
// sockets cannot be made it warns: the slots then share those there are. Where some
// go it blocks until what waits in them has gone to others: 0.25 to 3 s.
func (p *Primary) Resize(n int) {
	for _, s := range p.asked {
		if s.was.Listener.Balance != spec.BalanceSlots {
			continue
		}
		if n > len(s.files) {
			if err := s.grow(n); err != nil {
				p.o.Warn("", fault.From(err).At(p.o.App))
			}
		} else {
			s.shrink(max(n, 1))
		}
	}
}

// Inodes are those of all sockets that were asked for: they are muster's, whoever
// listens on them.
func (p *Primary) Inodes() []uint64 {
	var list []uint64
	for _, s := range p.asked {
		for _, f := range s.files {
			if n, err := listener.Inode(f); err == nil {
				list = append(list, n)
			}
		}
	}
	return list
}

// Restore puts back the files of UNIX sockets that somebody has removed, see
// listener.Restore.
func (p *Primary) Restore() {
	for _, s := range p.asked {
		p.reachable(s)
	}
}

// reachable puts back the file of a UNIX socket that was removed. false: it cannot be,
// and no client finds the socket.
func (p *Primary) reachable(s *server) bool {
	if _, err := listener.Restore(s.was.Listener.Spec); err != nil {
		p.o.Warn("", fault.From(err).At(p.o.App))
		return false
	}
	return true
}

// Stats of the Doors of the listeners that were asked for, by address.
func (p *Primary) Stats() map[string]handoff.Stats {
	stats := map[string]handoff.Stats{}
	for _, s := range p.asked {
		if s.door != nil {
			address, _, _ := strings.Cut(s.text(), " ")
			stats[address] = s.door.Stats()
		}
	}
	return stats
}

// Release closes every listener that was asked for, for good: the app has stopped.
// The Primary can be used on.
func (p *Primary) Release() {
	for _, s := range p.asked {
		s.release()
	}
	p.asked = nil
	for _, s := range p.declared {
		s.was.Data = nil
	}
}

// Close leaves the listeners to a successor, who finds them in the Store. Nothing may
// be called afterwards.
func (p *Primary) Close() {
	for _, s := range p.asked {
		s.close()
	}
	p.asked = nil
}

// Forget removes the listeners in the Store of apps that are no more.
func Forget(store process.Store, gone func(app string) bool) {
	for _, name := range store.List() {
		if app, _, ok := nameParts(name); ok && gone(app) {
			drop(store, name)
		}
	}
}

// dropStore removes what the Store has of this app, but for what keep names.
func (p *Primary) dropStore(keep func(name string) bool) {
	for _, name := range p.o.Store.List() {
		if app, _, ok := nameParts(name); ok && app == p.o.App && !keep(name) {
			drop(p.o.Store, name)
		}
	}
}

// drop removes a socket from the Store, and its file if it is a UNIX socket.
func drop(store process.Store, name string) {
	f, err := store.Take(name)
	if f == nil || err != nil {
		return
	}
	defer f.Close()
	if _, key, _ := nameParts(name); strings.HasPrefix(key, "unix://") {
		_ = listener.Unlink(spec.Listener{Network: "unix", Address: strings.TrimPrefix(key, "unix://")}, f)
	}
}

// askedPrefix of the names of listeners in the Store that workers have asked for.
const askedPrefix = record.AskedFor

// nameParts are the app and the rest of such a name.
func nameParts(name string) (app, key string, ok bool) {
	rest, ok := strings.CutPrefix(name, askedPrefix)
	app, key, _ = strings.Cut(rest, "/")
	return app, key, ok
}
