package voice

import (
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

const (
	// channelPrefix of the names of channels in the Store.
	channelPrefix = "channel/"
	// tornPrefix of the records that mark a channel as torn.
	tornPrefix = "torn/"
)

// Channels counts what went over the channels of all workers since this agent
// was started. Frames of operations are not among them: the exchange counts those.
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

// Counters of what goes over channels. The zero value is ready; safe for concurrent
// use.
type Counters struct{ adopted, torn, commands, unheard, odd atomic.Uint64 }

// Odd counts something that a Node.js worker said and nobody asked for.
func (c *Counters) Odd() { c.odd.Add(1) }

// Channels are the counts so far, with those of the messages.
func (c *Counters) Channels(m mail.Counts) Channels {
	return Channels{
		c.adopted.Load(), c.torn.Load(), c.commands.Load(), c.unheard.Load(), c.odd.Load(),
		m.Heard, m.Carried, m.Refused,
	}
}

// Lines make channels, and keep our ends of them in a Store by the ID of the process.
// Safe for concurrent use.
type Lines struct {
	Store process.Store
	// Pair makes the two ends (channel.Pair); nil: there are no channels.
	Pair     func() (ours, theirs int, err error)
	Counters *Counters
}

// Open makes the channel of a process and keeps our end of it in the Store before
// anything can be written to it. The caller closes theirs. Both are nil where there
// are no channels.
func (l Lines) Open(id string, driven bool) (conn *channel.Conn, theirs *os.File, err error) {
	if l.Pair == nil {
		return nil, nil, nil
	}
	our, other, err := l.Pair()
	if err != nil {
		return nil, nil, fault.New(fault.StartFailed, "cannot make a channel: %w", err)
	}
	conn, theirs = l.speak(our, id, driven), os.NewFile(uintptr(other), "channel")
	if err := conn.Lend(func(f *os.File) error { return l.Store.Put(channelPrefix+id, f) }); err != nil {
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
func (l Lines) speak(fd int, id string, driven bool) *channel.Conn {
	records := process.Records{Store: l.Store}
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

// Adopt takes over the channel of a process; nil: it has none that can be used.
func (l Lines) Adopt(id string, driven bool) (*channel.Conn, *fault.Fault) {
	f, err := l.Store.Get(channelPrefix + id)
	if f == nil || err != nil || l.Pair == nil {
		return nil, nil
	}
	defer f.Close()
	if mark, err := (process.Records{Store: l.Store}).Load(tornPrefix + id); mark != nil || err != nil {
		l.Counters.torn.Add(1)
		return nil, fault.New(fault.TornChannel, "the agent before was killed in the middle of a large message")
	}
	l.Counters.adopted.Add(1)
	return l.speak(copyOf(f), id, driven), nil
}

// HangUp ends a channel that cannot be used any more. The process hears of it, and until
// it is replaced neither waits for answers nor keeps what muster would call out of date.
func (l Lines) HangUp(id string) {
	if f, err := l.Store.Get(channelPrefix + id); err == nil && f != nil {
		defer f.Close()
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		}
	}
}

// Drop removes a process's channel from the Store.
func (l Lines) Drop(id string) {
	if f, err := l.Store.Take(channelPrefix + id); err == nil && f != nil {
		f.Close()
	}
	_ = process.Records{Store: l.Store}.Forget(tornPrefix + id)
}

// Of is the ID of the process whose channel the Store keeps by this name; false: it is
// the name of something else.
func Of(name string) (id string, ok bool) { return strings.CutPrefix(name, channelPrefix) }
