package handoff

import (
	"os"

	"github.com/muster-run/muster/spec"
)

// DoorOptions say what a Door deals, and how.
type DoorOptions struct {
	// Policy is round-robin, least-connections or slots.
	Policy spec.Balance
	// Sockets listen; they are duplicated. One, or that of slot k at index k.
	Sockets []*os.File
	// Window is how many connections may be under way to a Seat; 0: 1.
	Window int
	// Stuck is told when the worker of a slot is found blocked, or well again, with
	// how many connections wait behind it. May be nil.
	Stuck func(slot int, stuck bool, waiting int)
	// Warn is told what keeps connections from being accepted, not often. May be nil.
	Warn func(error)
}

// Receiver is what a worker's channel does for a Seat. Both are called on the
// loop's thread and must not block.
type Receiver interface {
	// Give offers a connection. conn stays the Door's to close.
	Give(id int64, conn int) error
	// Ping asks for a sign of life (Seat.Alive).
	Ping() error
}

// Door is one listening address.
type Door struct{}

// Open makes a Door. Close ends it.
func (l *Loop) Open(o DoorOptions) (*Door, error) { return &Door{}, nil }

// Resize has the Door deal with more sockets, or fewer.
func (d *Door) Resize(sockets []*os.File) {}

// Join has a worker take part. r nil: nothing can be dealt to it.
func (d *Door) Join(slot int, r Receiver) *Seat { return &Seat{} }

// Stats counts since the Door was opened.
type Stats struct {
	Accepted uint64 // by the loop
	Dealt    uint64 // connections that a worker has taken
	Again    uint64 // connections offered once more, as a worker died or could not be reached
	Refused  uint64 // answers that a worker does not want it
	Rescued  uint64 // connections accepted from behind a dead or blocked worker
	Unknown  uint64 // answers that nobody waited for
	InHand   int    // accepted and not under way
	UnderWay int    // offered and not answered
	Slots    []SlotStats
}

// SlotStats is a slot's socket now.
type SlotStats struct {
	Waiting int  // in the kernel's queue; -1: cannot be known
	Live    bool // has a Seat that is not stuck
	Stuck   bool
}

// Stats is a snapshot.
func (d *Door) Stats() Stats { return Stats{} }

// Close ends it. The sockets stay open elsewhere.
func (d *Door) Close() {}

// Seat is a worker's place at a Door.
type Seat struct{}

// Answer says what became of a connection.
func (s *Seat) Answer(id int64, taken bool) {}

// Load says how many connections the worker has open.
func (s *Seat) Load(open int) {}

// Alive is an answer to Receiver.Ping.
func (s *Seat) Alive() {}

// Leave ends the dealing to it; what is under way may still be answered.
func (s *Seat) Leave() {}

// Gone gives what was not answered to others.
func (s *Seat) Gone() {}
