package voice

import (
	"sync"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/supervisor/crash"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

const (
	// opFrames of operations are heard of a process in each opWindow; opBytes of one
	// count as another.
	opFrames, opWindow, opBytes = 20_000, 100 * time.Millisecond, 4 << 10
	// So many lines for people, and crashes, of a process become events in a second.
	toldMax, crashesMax = 100, 2
)

// seat is a process's place in the exchange. Its methods do nothing on nil.
type seat struct {
	op.Seat
	end sync.Once
}

func (s *seat) ready(pid int, yes bool) {
	if s != nil {
		s.Ready(pid, yes)
	}
}

func (s *seat) gone() {
	if s != nil {
		s.end.Do(s.Gone)
	}
}

// sit has the process take part in operations.
func (v *Voice) sit(pid int) {
	p, e := v.o.Party, v.o.Events
	p.ID, p.Waiting, p.Send = v.o.ID, v.o.Conn.Waiting, v.frame
	if n, ok := v.box.Carrier.(mail.Node); ok {
		p.Send = func(frame []byte) error { return n.Link.Muster(forNode(frame), mail.None, "") }
	}
	p.Beat = e.Beat
	var told, crashes rate
	p.Lifecycle = func(text string) {
		if told.allows(time.Now(), toldMax) {
			v.o.Post(func() { e.Told(event.WorkerLifecycle{Text: OneLine(text)}) })
		}
	}
	p.Crash = func(body op.CrashBody) {
		if crashes.allows(time.Now(), crashesMax) {
			c := crash.Of(body)
			v.o.Post(func() { e.Crashed(c) })
		}
	}
	v.seat = &seat{Seat: v.o.Exchange.Enter(p, v.o.Adopted)}
	if !v.o.Adopted {
		v.seat.ready(pid, false) // it may speak before it may be spoken to
	}
}

// frame sends one to a program that reads its channel by itself.
func (v *Voice) frame(data []byte) error { return v.o.Conn.Send(data) }

// forNode is a frame as Node.js takes it for one of its own kind: its cmd begins with
// NODE_, so that process.on("message") does not hear of it.
func forNode(frame []byte) []byte {
	const head = `{"cmd":"`
	if len(frame) < len(head) || string(frame[:len(head)]) != head {
		return frame // not made by op.Frame.Append; it is sent as it is
	}
	text := make([]byte, 0, len(frame)+len("NODE_"))
	text = append(text, head+"NODE_"...)
	return append(text, frame[len(head):]...)
}

// Changed are other settings for the process.
func (v *Voice) Changed(s op.Settings, allow []string) {
	if v.seat != nil {
		v.seat.Seat.Changed(s, allow)
	}
}

// TakesPart says whether the process takes part in operations.
func (v *Voice) TakesPart() bool { return v != nil && v.seat != nil }

// Strike has an exchange forget a process that an earlier agent has left and whose
// channel cannot be used any more.
func Strike(e op.Exchange, p op.Party) {
	if e == nil {
		return
	}
	p.Send = func([]byte) error { return channel.ErrGone }
	p.Waiting = func() (frames, bytes int) { return 0, 0 }
	e.Enter(p, true).Gone()
}

// rate counts what comes in a second. Safe for concurrent use.
type rate struct {
	mu   sync.Mutex
	from time.Time
	n    int
}

// allows one more of at most so many in this second.
func (r *rate) allows(now time.Time, most int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if d := now.Sub(r.from); d < 0 || d >= time.Second {
		r.from, r.n = now, 0
	}
	r.n++
	return r.n <= most
}
