package attempt

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/nodejs"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/mail"
	"github.com/muster-run/muster/internal/supervisor/need"
	"github.com/muster-run/muster/internal/supervisor/record"
)

const (
	// channelPrefix of the names of channels in the Store.
	channelPrefix = "channel/"
	// tornPrefix of the records that mark a channel as torn.
	tornPrefix = "torn/"
	// statusMax bounds the text of a status, in bytes.
	statusMax = 4 << 10
	// lastFrames is how long an agent that leaves waits for what is on its way to
	// a worker.
	lastFrames = 500 * time.Millisecond
	// So many frames, or bytes, may wait for a worker before its pings are no longer
	// answered.
	answersMax, answersBytes = 256, 1 << 20
)

// Channels counts what went over the channels of all workers since this agent
// was started.
type Channels struct {
	// Adopted were taken over from an agent before: of each at most one frame to
	// the agent was lost or came twice.
	Adopted uint64
	// Torn were found in the middle of a frame; their workers were replaced.
	Torn uint64
	// Commands of muster that were heard; Unheard frames nobody listens to; Odd ones
	// of Node.js workers that nobody asked for.
	Commands, Unheard, Odd uint64
	// Messages of users' code: Heard from workers, Carried to workers, and Refused
	// as a worker could not get them.
	Heard, Carried, Refused uint64
}

// channels are the counters, safe for concurrent use.
type channels struct{ adopted, torn, commands, unheard, odd atomic.Uint64 }

// Channels are the counts so far.
func (s *Shared) Channels() Channels {
	c, m := &s.channels, s.Mail.Counts()
	return Channels{
		c.adopted.Load(), c.torn.Load(), c.commands.Load(), c.unheard.Load(), c.odd.Load(),
		m.Heard, m.Carried, m.Refused,
	}
}

// openChannel makes the channel of a process and keeps our end of it in the Store
// before anything can be written to it. The caller closes theirs. Both are nil
// where there are no channels.
func (s *Shared) openChannel(id string, driven bool) (conn *channel.Conn, theirs *os.File, err error) {
	if s.Sys.Channel == nil {
		return nil, nil, nil
	}
	our, other, err := s.Sys.Channel()
	if err != nil {
		return nil, nil, fault.New(fault.StartFailed, "cannot make a channel: %w", err)
	}
	conn, theirs = s.speak(our, id, driven), os.NewFile(uintptr(other), "channel")
	if err := conn.Lend(func(f *os.File) error { return s.Store.Put(channelPrefix+id, f) }); err != nil {
		_, _ = conn.Close(), theirs.Close()
		return nil, nil, fault.New(fault.StartFailed, "cannot keep the channel: %w", err)
	}
	return conn, theirs, nil
}

// copyOf is a raw duplicate of a descriptor; -1 when there can be none, which
// shows at its first use.
func copyOf(f *os.File) int {
	fd := -1
	if raw, err := f.SyscallConn(); err == nil {
		_ = raw.Control(func(own uintptr) { fd, _ = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3) })
	}
	return fd
}

// speak opens our end of a process's channel.
func (s *Shared) speak(fd int, id string, driven bool) *channel.Conn {
	records := process.Records{Store: s.Store}
	return channel.Open(fd, channel.Options{Peek: true, Driven: driven, Torn: func(torn bool) {
		// A mark that cannot be set or taken away costs at worst a worker: nobody
		// could do anything else about it here.
		if torn {
			_ = records.Save(tornPrefix+id, nil)
		} else {
			_ = records.Forget(tornPrefix + id)
		}
	}})
}

// adoptChannel takes over the channel of a process; nil: it has none that can be
// used.
func (s *Shared) adoptChannel(id string, driven bool) (*channel.Conn, *fault.Fault) {
	f, err := s.Store.Get(channelPrefix + id)
	if f == nil || err != nil || s.Sys.Channel == nil {
		return nil, nil
	}
	defer f.Close()
	if mark, err := (process.Records{Store: s.Store}).Load(tornPrefix + id); mark != nil || err != nil {
		s.channels.torn.Add(1)
		return nil, fault.New(fault.TornChannel, "the agent before was killed in the middle of a large message")
	}
	s.channels.adopted.Add(1)
	return s.speak(copyOf(f), id, driven), nil
}

// dropChannel removes a process's channel from the Store.
func (s *Shared) dropChannel(id string) {
	if f, err := s.Store.Take(channelPrefix + id); err == nil && f != nil {
		f.Close()
	}
	_ = process.Records{Store: s.Store}.Forget(tornPrefix + id)
}

// listen hears what the worker says, until the channel ends. was is what is recorded
// of a Node.js worker; nil: it is new, or none.
func (a *Attempt) listen(was *record.Node) {
	if a.channel == nil {
		return
	}
	if a.node != nil {
		a.join(was)
		return
	}
	conn := a.channel
	if a.kin != nil {
		a.link = nodejs.NewLink(conn.Send, a.cfg.Shared.Loop.NextID)
		a.newBox(mail.Node{Link: a.link, Conn: conn})
	} else {
		a.newBox(mail.Plain{Conn: conn})
	}
	a.cfg.Shared.Errands.Go(func() {
		var pace mail.Pace
		for {
			f, err := conn.Receive(a.life)
			if errors.Is(err, channel.ErrFrameTooLong) {
				a.cutOff(conn)
			}
			if err != nil {
				return
			}
			if !a.hear(conn, f) {
				return
			}
			pace.Keep(a.life, len(f.Data))
		}
	})
}

// hear deals with a frame of a process that is no worker of a cluster. false: the
// attempt is over.
func (a *Attempt) hear(conn *channel.Conn, f channel.Frame) bool {
	kind := ""
	if a.kin != nil {
		rest, of, mine := a.kin.Take(f)
		if mine {
			return true
		}
		f, kind = rest, of
	}
	return a.plain(conn, f, kind)
}

// plain deals with a frame that any process may send. kind is as for message. "ready"
// is what Node.js programs send that PM2 is to wait for. false: the attempt is over.
func (a *Attempt) plain(conn *channel.Conn, f channel.Frame, kind string) bool {
	if !isMessage(f.Data) {
		closeAll(f.FDs) // nobody is there who could use them
		return a.heard(conn, f.Data)
	}
	if !a.message(f.Data, f.FDs, kind) {
		return false
	}
	if a.clustered() && string(f.Data) == `"ready"` {
		return a.settled(func() { a.met(need.Notify) })
	}
	return true
}

// cutOff ends the channel of a worker that cannot be understood any more, and tells
// the worker so by the end. A successor must not read on in the middle of the line.
func (a *Attempt) cutOff(conn *channel.Conn) {
	_ = conn.Close()
	a.cfg.Shared.dropChannel(a.id)
	a.post(func() {
		a.cfg.Events.Warned(fault.New(fault.BadChannel, "it sent a line of more than %d MiB, so its channel was closed", channel.FrameMax>>20))
	})
}

// heard deals with one frame, and returns once that is recorded: the frame leaves
// the socket then. false: the attempt is over.
func (a *Attempt) heard(conn *channel.Conn, data []byte) bool {
	counts := &a.cfg.Shared.channels
	var frame struct {
		ID   json.RawMessage `json:"id"`
		Text string          `json:"text"`
	}
	command := channel.Command(data)
	if command != "" {
		_ = json.Unmarshal(data, &frame) // what is not as it should be is empty
	}
	switch command {
	case channel.CmdPing:
		counts.commands.Add(1)
		if len(frame.ID) == 0 {
			frame.ID = json.RawMessage("null")
		}
		// A worker that does not read gets no answer: what waits is our memory.
		if frames, bytes := conn.Waiting(); frames >= answersMax || bytes >= answersBytes {
			return true
		}
		answer, err := json.Marshal(map[string]any{"cmd": channel.CmdPong, "id": frame.ID})
		if err == nil {
			_ = conn.Send(answer) // it fails when the worker is gone
		}
		return true
	case channel.CmdReady:
		counts.commands.Add(1)
		return a.settled(func() { a.met(need.Notify) })
	case channel.CmdStatus:
		counts.commands.Add(1)
		return a.settled(func() { a.cfg.Events.Status(oneLine(frame.Text)) })
	}
	counts.unheard.Add(1)
	return true
}

// settled runs a step in the owner's goroutine and waits until it is recorded.
func (a *Attempt) settled(step func()) bool {
	done := make(chan struct{})
	posted := a.cfg.Post(func() {
		if !a.closed {
			step()
		}
		a.cfg.After(func() { close(done) })
	})
	if !posted {
		return false
	}
	select {
	case <-done:
		return true
	case <-a.life.Done():
		return false
	}
}

// oneLine is a text as it may stand in a status: short, valid, and without
// anything that moves a cursor.
func oneLine(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), statusMax)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// hangUp closes the channel; for a successor, with what is on its way sent before.
func (a *Attempt) hangUp(forSuccessor bool) {
	if a.channel == nil {
		return
	}
	if forSuccessor {
		ctx, cancel := context.WithTimeout(context.Background(), lastFrames)
		defer cancel()
		_ = a.channel.Flush(ctx)
	}
	_ = a.channel.Close()
}
