package exchange

import (
	"errors"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/exchange/line"
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

// look asks the party's end.
func (s *seat) look() {
	if s.waiting != nil {
		s.out.Saw(s.waiting())
	}
}

// room says whether one more frame may be sent, if num/den of what may wait is the
// limit. What was last seen may be old, so a no is looked at again. The Exchange's
// mutex is held.
func (s *seat) room(num, den int) bool {
	frames, bytes := waitingFrames*num/den, waitingBytes*num/den
	if s.out.Within(frames, bytes) {
		return true
	}
	s.look()
	return s.out.Within(frames, bytes)
}

// flush sends what is in the outboxes. The Exchange's mutex is free.
func flush(list []*seat) {
	for _, s := range list {
		s.send()
	}
}

// send sends what is in the outbox, unless somebody does already: that one goes on
// with what was added meanwhile.
func (s *seat) send() {
	var failed []failure
	count := 0
	list := s.out.Take()
	for len(list) > 0 {
		for _, p := range list {
			if err := s.carry(p.Data); err != nil {
				failed = append(failed, failure{p, err})
			}
		}
		s.look()
		if count += len(list); count > burstMax && s.others(list) {
			break
		}
		list = s.out.More(list)
	}
	if len(failed) > 0 {
		s.e.notSent(s, failed)
	}
}

// others leaves the rest to a goroutine.
func (s *seat) others(sent []line.Parcel) bool {
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.e.closed {
		return false
	}
	s.e.spawn(func() {
		s.out.Resume(sent)
		s.send()
	})
	return true
}

// failure is a frame that could not be sent.
type failure struct {
	line.Parcel
	err error
}

// notSent tells those who wait for a reply to what could not be sent.
func (e *Exchange) notSent(s *seat, list []failure) {
	e.mu.Lock()
	defer e.leave()
	for _, f := range list {
		full := errors.Is(f.err, channel.ErrFull)
		a, asked := s.serving[f.Own]
		switch {
		case f.Own != 0 && asked && full:
			e.legEnds(a, fault.New(fault.ChannelFull, "%s does not read: too much waits for it", s.p.Name))
		case f.Own != 0 && asked:
			e.legEnds(a, fault.New(fault.PeerGone, "%s cannot be reached: %w", s.p.Name, f.err))
		case f.Gap > 0 && full && !s.gone: // it is told later
			s.missed += f.Gap
			e.behind.add(s)
		case f.Own == 0 && !f.Reply && full && !s.gone:
			e.miss(s)
		default:
			e.counts.Lost++
		}
	}
}
