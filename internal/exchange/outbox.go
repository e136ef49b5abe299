package exchange

import (
	"errors"
	"sync"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
)

const (
	// A party for which so many frames or bytes wait gets no more.
	waitingFrames, waitingBytes = 1024, 4 << 20
	// forReplies is how many times that much may wait when a reply comes: the party has
	// asked for it.
	forReplies = 4
	// burstMax is how many frames the one sends who came by; a goroutine goes on.
	burstMax = 256
)

// parcel is a frame for a party.
type parcel struct {
	data []byte
	// own is the ID of the request that it is; 0: none.
	own   int64
	reply bool
	gap   int // messages that it says were missed
}

// outbox keeps frames in the order in which they were decided until somebody sends
// them, outside of the Exchange's mutex, one at a time.
type outbox struct {
	mu      sync.Mutex
	parcels []parcel
	bytes   int  // in parcels, and those being sent
	frames  int  // likewise
	sending bool // somebody does
	closed  bool
	// What waited at the party's own end when last looked at.
	seenFrames, seenBytes int
}

// add appends. The Exchange's mutex is held, which makes the order.
func (o *outbox) add(p parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.parcels = append(o.parcels, p)
		o.frames++
		o.bytes += len(p.data)
	}
}

// close drops all, and what will come.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed, o.parcels = true, nil
}

// within says whether less waits than so much.
func (o *outbox) within(frames, bytes int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.frames+o.seenFrames < frames && o.bytes+o.seenBytes < bytes
}

// take gives all that is there to the one who sends; nil: nothing is, or another does.
// sent are those of the last time.
func (o *outbox) take(first bool, sent []parcel) []parcel {
	o.mu.Lock()
	defer o.mu.Unlock()
	if first && o.sending {
		return nil
	}
	for i := range sent {
		o.frames--
		o.bytes -= len(sent[i].data)
	}
	list := o.parcels
	o.parcels = nil
	if len(list) == 0 && cap(sent) <= burstMax {
		clear(sent)
		o.parcels = sent[:0]
	}
	o.sending = len(list) > 0
	return list
}

// saw notes what waits at the party's own end.
func (o *outbox) saw(frames, bytes int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seenFrames, o.seenBytes = frames, bytes
}

// look asks the party's end.
func (s *seat) look() {
	if s.waiting != nil {
		s.out.saw(s.waiting())
	}
}

// room says whether one more frame may be sent, if num/den of what may wait is the
// limit. What was last seen may be old, so a no is looked at again. The Exchange's
// mutex is held.
func (s *seat) room(num, den int) bool {
	frames, bytes := waitingFrames*num/den, waitingBytes*num/den
	if s.out.within(frames, bytes) {
		return true
	}
	s.look()
	return s.out.within(frames, bytes)
}

// flush sends what is in the outboxes. The Exchange's mutex is free.
func flush(list []*seat) {
	for _, s := range list {
		s.send(true)
	}
}

// send sends what is in the outbox, unless somebody does already: that one goes on
// with what was added meanwhile.
func (s *seat) send(first bool) {
	var failed []failure
	count := 0
	list := s.out.take(first, nil)
	for len(list) > 0 {
		for _, p := range list {
			if err := s.carry(p.data); err != nil {
				failed = append(failed, failure{p, err})
			}
		}
		s.look()
		if count += len(list); count > burstMax && s.others(list) {
			break
		}
		list = s.out.take(false, list)
	}
	if len(failed) > 0 {
		s.e.notSent(s, failed)
	}
}

// others leaves the rest to a goroutine.
func (s *seat) others(sent []parcel) bool {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.e.closed {
		return false
	}
	s.e.spawn(func() {
		s.out.resume(sent)
		s.send(true)
	})
	return true
}

// resume has the next one send what is left.
func (o *outbox) resume(sent []parcel) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sending = false
	for i := range sent {
		o.frames--
		o.bytes -= len(sent[i].data)
	}
}

// failure is a frame that could not be sent.
type failure struct {
	parcel
	err error
}

// notSent tells those who wait for a reply to what could not be sent.
func (e *Exchange) notSent(s *seat, list []failure) {
	e.mu.Lock()
	defer e.leave()
	for _, f := range list {
		full := errors.Is(f.err, channel.ErrFull)
		a, asked := s.serving[f.own]
		switch {
		case f.own != 0 && asked && full:
			e.legEnds(a, fault.New(fault.ChannelFull, "%s does not read: too much waits for it", s.p.Name))
		case f.own != 0 && asked:
			e.legEnds(a, fault.New(fault.PeerGone, "%s cannot be reached: %w", s.p.Name, f.err))
		case f.own == 0 && !f.reply && full && !s.gone:
			s.missed += f.gap
			e.miss(s)
		default:
			e.counts.Lost++
		}
	}
}
