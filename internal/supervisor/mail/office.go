package mail

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
)

const (
	// A worker for which so many frames, or bytes, wait gets no further letter.
	waitingFrames, waitingBytes = 1024, 4 << 20
)

// None as a Letter's FD: there is no descriptor.
const None = -1

// Letter is a message on its way.
type Letter struct {
	// Data is one JSON value without a line end in it.
	Data []byte
	// FD goes with it; None. It is not kept: the sender closes it.
	FD int
	// Kind of the descriptor in Node's words (net.Socket, net.Server …).
	Kind string
}

// Carrier takes letters to one process; it never blocks and is safe for concurrent
// use.
type Carrier interface {
	Carry(l Letter) error
	// Waiting is how much the process has not read yet.
	Waiting() (frames, bytes int)
}

// Box is a process that can get letters.
type Box struct {
	App     string
	Role    string
	Tags    []string
	Slot    int
	Carrier Carrier
	// PID is set by Open, and guarded by the Office.
	PID int
}

// String is "web#1".
func (b *Box) String() string { return fmt.Sprintf("%s#%d", b.App, b.Slot) }

// Delivery is what became of a letter to one process; Fault nil: it is on its way.
type Delivery struct {
	Worker string // "web#1"
	PID    int
	Fault  *fault.Fault
}

// Counts since the agent was started.
type Counts struct {
	// Carried letters, one for each receiver; Refused ones; Heard from workers for
	// whoever follows the events.
	Carried, Refused, Heard uint64
}

// Office knows who can get letters. The zero value is ready; safe for concurrent
// use.
type Office struct {
	mu    sync.Mutex
	boxes map[*Box]bool

	carried, refused, heard atomic.Uint64
}

// Open lets a process, whose pid is known now, get letters.
func (o *Office) Open(b *Box, pid int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	b.PID = pid
	if o.boxes == nil {
		o.boxes = map[*Box]bool{}
	}
	o.boxes[b] = true
}

// Close ends that; what was carried before still arrives. Safe to call again.
func (o *Office) Close(b *Box) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.boxes, b)
}

// Counts so far.
func (o *Office) Counts() Counts {
	return Counts{o.carried.Load(), o.refused.Load(), o.heard.Load()}
}

// Heard counts a message of a worker that is for no other worker.
func (o *Office) Heard() { o.heard.Add(1) }

// Send carries a letter to every process that to picks, in the order of their apps
// and slots.
func (o *Office) Send(to func(*Box) bool, l Letter) []Delivery {
	var list []Delivery
	for _, b := range o.picked(to) {
		list = append(list, Delivery{b.String(), b.PID, o.carry(&b, l)})
	}
	return list
}

// picked lists boxes as they are now, by app, slot and pid.
func (o *Office) picked(to func(*Box) bool) []Box {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []Box
	for b := range o.boxes {
		if to(b) {
			list = append(list, *b)
		}
	}
	slices.SortFunc(list, func(a, b Box) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.PID, b.PID))
	})
	return list
}

func (o *Office) carry(b *Box, l Letter) *fault.Fault {
	f := b.carry(l)
	if f != nil {
		o.refused.Add(1)
		return f.At(b.String())
	}
	o.carried.Add(1)
	return nil
}

// carry turns what goes wrong into words.
func (b *Box) carry(l Letter) *fault.Fault {
	if frames, bytes := b.Carrier.Waiting(); frames >= waitingFrames || bytes >= waitingBytes {
		return full(frames, bytes)
	}
	err := b.Carrier.Carry(l)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, channel.ErrFull):
		return full(b.Carrier.Waiting())
	case errors.Is(err, channel.ErrGone), errors.Is(err, channel.ErrClosed):
		return fault.New(fault.NoChannel, "it has closed its channel")
	case errors.Is(err, nodejs.ErrDescriptor), errors.Is(err, nodejs.ErrMessage), errors.Is(err, channel.ErrInvalid):
		return fault.New(fault.Usage, "the message cannot be sent: %w", err)
	}
	return fault.New(fault.NoChannel, "the message cannot be sent: %w", err)
}

func full(frames, bytes int) *fault.Fault {
	return fault.New(fault.ChannelFull, "it does not read its channel: %d messages (%d KiB) wait for it", frames, bytes>>10)
}

// To picks by a selector's text; its error is a fault of code Usage.
func To(selector string) (func(*Box) bool, error) {
	sel, err := api.ParseSelector(selector)
	if err != nil {
		return nil, err
	}
	return func(b *Box) bool {
		slots, ok := sel.Match(api.Target{App: b.App, Role: b.Role, Tags: b.Tags})
		return ok && (slots == nil || slices.Contains(slots, b.Slot))
	}, nil
}
