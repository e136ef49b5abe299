package generation

import (
	"os"

	"github.com/muster-run/muster/internal/handoff"
	"github.com/muster-run/muster/internal/listener"
	"github.com/muster-run/muster/internal/supervisor/record"
	"github.com/muster-run/muster/spec"
)

// Listener is a listening address of an app. The generations that use it have the
// same sockets and the same Door. Its methods are safe for concurrent use.
type Listener struct {
	Spec spec.Listener
	Addr string // really bound

	at    *address
	inode uint64 // of its first socket, also when that is lost
	fresh bool   // made for a generation that has not proved itself
}

// For is the socket that the worker of a slot inherits, and its inode. file is nil
// when it is lost: no worker can be started with it.
func (b *Listener) For(slot int) (file *os.File, inode uint64) {
	if list := b.at.list(); len(list) > 0 {
		return list[b.Slot(slot)].file, list[b.Slot(slot)].inode
	}
	return nil, b.inode
}

// Slot is the number of the socket, and of the Door's seat, of the worker of a slot:
// its own with balance slots (two share one only while there are too few), else 0.
func (b *Listener) Slot(slot int) int {
	if n := len(b.at.list()); n > 1 {
		return slot % n
	}
	return 0
}

// Inodes are those of all its sockets.
func (b *Listener) Inodes() []uint64 {
	var all []uint64
	for _, s := range b.at.list() {
		all = append(all, s.inode)
	}
	return all
}

// Balance in force: shared, slots, round-robin or least-connections.
func (b *Listener) Balance() spec.Balance { return b.at.rule() }

// Door deals its connections; nil with balance shared.
func (b *Listener) Door() *handoff.Door { return b.at.dealer() }

// Address is the listener as status shows it: with what is really bound.
func (b *Listener) Address() string {
	if b.Addr == "" || b.Spec.Network == "unix" {
		return b.Spec.Key()
	}
	return b.Spec.Network + "://" + b.Addr
}

// Record is the listener as a successor needs it.
func (b *Listener) Record() record.Listener {
	was := record.Listener{Spec: b.Spec, Inode: b.inode, Addr: b.Addr, Fresh: b.fresh, Balance: b.Balance()}
	if was.Balance == spec.BalanceSlots {
		was.Slots = len(b.at.list())
	}
	return was
}

// newListener is a fresh one.
func newListener(l spec.Listener, a *address) *Listener {
	first := a.list()[0]
	return &Listener{Spec: l, at: a, inode: first.inode, Addr: listener.Addr(first.file), fresh: true}
}
