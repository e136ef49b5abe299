package generation

import (
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/spec"
)

// socket is one that listens.
type socket struct {
	file  *os.File
	inode uint64
}

// address is what listens on one address: one socket, or with balance slots one for
// each slot, in the order of their slots, which is the order in which they began to
// listen: only the last may be closed. The zero address and a nil one have none.
type address struct {
	sizing sync.Mutex // held while it grows or shrinks; taken before mu

	mu      sync.Mutex
	app     string       // that it belongs to; of several the latest
	balance spec.Balance // "": not decided yet
	sockets []socket     // never changed in place
	door    *handoff.Door
	want    int // slots
}

// newAddress takes files over. On an error they are still the caller's.
func newAddress(files []*os.File) (*address, error) {
	a := &address{}
	for _, f := range files {
		inode, err := listener.Inode(f)
		if err != nil {
			return nil, err
		}
		a.sockets = append(a.sockets, socket{f, inode})
	}
	return a, nil
}

func (a *address) list() []socket {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sockets
}

func (a *address) files() []*os.File { return filesOf(a.list()) }

func filesOf(list []socket) []*os.File {
	var files []*os.File
	for _, s := range list {
		files = append(files, s.file)
	}
	return files
}

func (a *address) rule() spec.Balance {
	if a == nil {
		return ""
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.balance
}

func (a *address) dealer() *handoff.Door {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.door
}

// owner is the app that is told of what happens here.
func (a *address) owner() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.app
}

// wants notes how many slots there shall be, and says whether that is news.
func (a *address) wants(n int) (news bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	news = a.want != n
	a.want = n
	return news
}

// wantsMore is wants for a number that grows.
func (a *address) wantsMore(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.want = max(a.want, n)
}

// excess are the sockets beyond what is wanted.
func (a *address) excess() (rest, more []socket) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(len(a.sockets), max(1, a.want))
	return a.sockets[:n:n], a.sockets[n:]
}

// resize has the Door deal with these sockets, and then makes them its own.
func (a *address) resize(list []socket) error {
	if door := a.dealer(); door != nil {
		if err := door.Resize(filesOf(list)); err != nil {
			return err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sockets = list
	return nil
}

// shut closes the Door: nothing is accepted here any more.
func (a *address) shut() {
	a.mu.Lock()
	door := a.door
	a.door = nil
	a.mu.Unlock()
	if door != nil {
		door.Close()
	}
}

// close closes everything, the Door first.
func (a *address) close() {
	a.shut()
	a.mu.Lock()
	list := a.sockets
	a.sockets = nil
	a.mu.Unlock()
	closeAll(filesOf(list))
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// settle decides how connections get to the workers, where that is not decided yet,
// and opens the Door. What is decided holds until the address is given up.
func (s *Sockets) settle(a *address, app spec.App, l spec.Listener) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.balance == "" {
		a.balance = s.balanceOf(app, l)
		if len(a.sockets) > 1 { // what an earlier agent bound: each has its queue
			a.balance = spec.BalanceSlots
		}
	}
	return s.openDoor(a, l)
}

// openDoor opens the Door of an address that needs one; a.mu is held.
func (s *Sockets) openDoor(a *address, l spec.Listener) error {
	if s.Loop == nil || a.door != nil || a.balance == spec.BalanceShared {
		return nil
	}
	o := handoff.DoorOptions{Policy: a.balance, Sockets: filesOf(a.sockets)}
	if s.Warn != nil {
		o.Stuck = func(slot int, stuck bool, waiting int) {
			s.Warn(a.owner(), slot, handoff.Blocked(l.Key(), stuck, waiting), !stuck)
		}
		o.Warn = func(err error) {
			s.Warn(a.owner(), -1, fault.New(fault.Bind, "cannot accept on %s: %w", l.Key(), err), false)
		}
	}
	door, err := s.Loop.Open(o)
	if err != nil {
		return fault.New(fault.Bind, "cannot deal the connections of %s: %w", l.Key(), err)
	}
	a.door = door
	return nil
}

// balanceOf is what a fresh address gets. Without a Loop nothing can be dealt or
// rescued.
func (s *Sockets) balanceOf(app spec.App, l spec.Listener) spec.Balance {
	if s.Loop == nil || s.Balance == nil {
		return spec.BalanceShared
	}
	switch b := s.Balance(app, l); {
	case b == spec.BalanceSlots && strings.HasPrefix(l.Network, "tcp"),
		b == spec.BalanceRoundRobin, b == spec.BalanceLeast:
		return b
	}
	return spec.BalanceShared
}

// Want notes how many slots have workers, and says whether Fit now has sockets to
// close: true once for each change. It does not block.
func (s *Sockets) Want(list []*Listener, n int) (excess bool) {
	for _, b := range list {
		if b.Balance() != spec.BalanceSlots {
			continue
		}
		news := b.at.wants(n)
		_, more := b.at.excess()
		excess = excess || news && len(more) > 0
	}
	return excess
}

// Grow has made the sockets that n slots lack when it returns: call it before workers
// of new slots start. On an error the group is as it was, and two workers share a
// socket. It may wait for Fit.
func (s *Sockets) Grow(app string, list []*Listener, n int) error {
	for _, b := range list {
		if err := s.grow(app, b, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sockets) grow(app string, b *Listener, n int) error {
	if b.Balance() != spec.BalanceSlots || len(b.at.list()) == 0 {
		return nil
	}
	b.at.wantsMore(n)
	b.at.sizing.Lock()
	defer b.at.sizing.Unlock()
	have := b.at.list()
	if len(have) >= n {
		return nil
	}
	files, err := listener.GrowGroup(b.Spec, filesOf(have), n)
	if err != nil {
		return fault.From(err).At(app)
	}
	if err := s.join(b.at, have, files); err != nil {
		closeAll(files)
		return fault.New(fault.Bind, "cannot keep the sockets of %s: %w", b.Spec.Key(), err).At(app)
	}
	return nil
}

// join adds files to the sockets that an address has.
func (s *Sockets) join(a *address, have []socket, files []*os.File) error {
	more, err := newAddress(files)
	if err != nil {
		return err
	}
	names := s.namesOf(a)
	if err := s.putAll(names, files, len(have)); err != nil {
		return err
	}
	err = a.resize(slices.Concat(have, more.sockets))
	if err != nil {
		for _, name := range names {
			s.forgetSlots(name, len(have))
		}
	}
	return err
}

// Fit closes the sockets of slots that are not wanted any more, once nobody has
// them: call it when the last worker of each is gone. What waits in their queues
// goes to the other workers first. It blocks for that; an address that two apps
// have stays as it is.
func (s *Sockets) Fit(list []*Listener) {
	for _, b := range list {
		if b.Balance() == spec.BalanceSlots {
			s.fit(b.at)
		}
	}
}

func (s *Sockets) fit(a *address) {
	a.sizing.Lock()
	defer a.sizing.Unlock()
	rest, more := a.excess()
	names := s.namesOf(a)
	if len(more) == 0 || len(names) != 1 || s.gone() {
		return
	}
	if err := a.resize(rest); err != nil {
		return // closed meanwhile
	}
	for k := len(more) - 1; k >= 0; k-- {
		s.forget(slotName(names[0], len(rest)+k))
		more[k].file.Close()
	}
}
