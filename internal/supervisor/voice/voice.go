package voice

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

const (
	// StatusMax bounds the text of a status, and of a line for people, in bytes.
	StatusMax = 4 << 10
	// lastFrames is how long an agent that leaves waits for what is on its way to
	// a worker.
	lastFrames = 500 * time.Millisecond
	// So many frames, or bytes, may wait for a worker before its pings are no longer
	// answered.
	answersMax, answersBytes = 256, 1 << 20
	// lastWords bounds the wait for what a worker that has ended had still said.
	lastWords = time.Second
)

// Options of a Voice.
type Options struct {
	// ID of the process, and its channel.
	ID    string
	Conn  *channel.Conn
	Lines Lines
	// Office is where its Box (without a PID) is opened.
	Office *mail.Office
	Box    mail.Box
	Events Events
	// Post runs a step in the owner's goroutine; it never waits. Settled returns once
	// the step is recorded; false: the owner has ended.
	Post    func(step func())
	Settled func(step func()) bool
	// Clustered: `"ready"` says that it is ready, as PM2's users have it.
	Clustered bool
	// Pass prepares to pass a message on to the program that it is a fork of; nil: it
	// is none. What it returns is a step of the owner's.
	Pass func(data []byte, fds []int, kind string) (step func())
	// Exchange it takes part in, as Party, where the Voice fills in what it knows
	// itself (ID, Send, Waiting, Beat, Crash, Lifecycle); nil: it takes part in nothing.
	Exchange op.Exchange
	Party    op.Party
	// Adopted from an earlier agent.
	Adopted bool
}

// Events are what a process says to muster. All but Beat are called in the owner's
// goroutine.
type Events struct {
	// Ready: it says that it is.
	Ready func()
	// Status: free text of its own.
	Status func(text string)
	// Said: a message of its own code; nil: nobody wants them.
	Said func(event.WorkerMessage)
	// Warned: its channel was closed.
	Warned func(*fault.Fault)
	// Beat: a sign of life. It must not block.
	Beat func()
	// Crashed: an error that its code did not catch.
	Crashed func(event.WorkerCrash)
	// Told: a line about itself for people.
	Told func(event.WorkerLifecycle)
}

// Voice is one process's channel. Hear, First and Rest are for whoever reads the
// channel, one call at a time; the other methods are safe for concurrent use.
type Voice struct {
	o     Options
	box   *mail.Box
	seat  *seat      // nil: it takes part in no operations
	meter mail.Meter // of its messages
	pace  mail.Pace
	ops   mail.Pace
	left  atomic.Bool   // for a successor
	over  chan struct{} // closed when nothing more is heard
}

// New makes the Voice of a process, before its channel is read. pid is 0 where it is
// not known yet. Of an adopted one Open or Close follows: until then those who ask for it
// wait.
func New(o Options, pid int) *Voice {
	v := &Voice{o: o, box: &o.Box, over: make(chan struct{})}
	v.ops = mail.Pace{Frames: opFrames, Window: opWindow, Bytes: opBytes}
	if o.Exchange != nil {
		v.sit(pid)
	}
	return v
}

// Carrier takes letters to the process.
func (v *Voice) Carrier() mail.Carrier { return v.box.Carrier }

// Open lets others speak to the process: it runs, by this pid. It may be called again
// with another one.
func (v *Voice) Open(pid int) {
	v.o.Office.Open(v.box, pid)
	v.seat.ready(pid, true)
}

// Close ends that: the process is told to end, or has ended. What was sent before still
// arrives, and it may go on speaking. Safe to call again.
func (v *Voice) Close(pid int) {
	v.o.Office.Close(v.box)
	if !v.left.Load() {
		v.seat.ready(pid, false)
	}
}

// Taker deals with a frame before anybody else; mine false: what it returns is a frame
// like any other, and kind what Node calls its descriptor.
type Taker func(channel.Frame) (rest channel.Frame, kind string, mine bool)

// Listen hears a channel that nobody drives until it ends, the owner has ended, or ctx
// does. take may be nil.
func (v *Voice) Listen(ctx context.Context, take Taker) {
	for {
		f, err := v.o.Conn.Receive(ctx)
		if v.left.Load() {
			CloseAll(f.FDs)
			return // the frame is the successor's
		}
		if err != nil {
			v.Ended(err, ctx.Err() == nil)
			return
		}
		if !v.hear(ctx, f, take) {
			return
		}
	}
}

func (v *Voice) hear(ctx context.Context, f channel.Frame, take Taker) bool {
	kind := ""
	if take != nil && !op.Is(f.Data) {
		mine := false
		if f, kind, mine = take(f); mine {
			v.pace.Keep(ctx, len(f.Data))
			return true
		}
	}
	return v.Rest(ctx, f, kind)
}

// Ended is told why nothing more is heard; gone says that this is not the end of the
// agent. On nil it does nothing.
func (v *Voice) Ended(err error, gone bool) {
	if v == nil {
		return
	}
	defer close(v.over)
	if errors.Is(err, channel.ErrFrameTooLong) {
		v.cutOff()
	}
	if gone && !errors.Is(err, channel.ErrClosed) {
		v.seat.gone()
	}
}

// HeardOut waits, not for long, until what the process had still said is heard: it has
// ended. On nil, and where nothing depends on it, it does not wait.
func (v *Voice) HeardOut(ctx context.Context) {
	if v == nil || !v.o.Clustered && v.seat == nil {
		return
	}
	select {
	case <-v.over:
	case <-time.After(lastWords):
	case <-ctx.Done():
	}
}

// First deals with a frame of operations at once, on a thread that must not wait. false:
// it is something else, or the process has said too much: Rest deals with it.
func (v *Voice) First(f channel.Frame) bool {
	if v.seat == nil || !op.Is(f.Data) {
		return false
	}
	now := time.Now()
	if v.ops.Full(now) {
		return false
	}
	v.ops.Note(now, len(f.Data))
	v.seat.Hear(f.Data)
	return true
}

// Rest deals with a frame that any process may send, and returns when the next one may
// be heard: its meaning is recorded, and the pace is kept. kind is what Node calls its
// descriptor; "": not said. false: the owner has ended.
func (v *Voice) Rest(ctx context.Context, f channel.Frame, kind string) bool {
	if v.seat != nil && v.operation(f.Data) {
		CloseAll(f.FDs)
		v.seat.Hear(f.Data)
		v.ops.Keep(ctx, len(f.Data))
		return true
	}
	ok := v.plain(f, kind)
	v.pace.Keep(ctx, len(f.Data))
	return ok
}

// operation says so of a frame in whatever form.
func (v *Voice) operation(data []byte) bool {
	return op.Is(data) || op.IsCommand(channel.Command(data))
}

func (v *Voice) plain(f channel.Frame, kind string) bool {
	if !isMessage(f.Data) {
		CloseAll(f.FDs) // nobody is there who could use them
		return v.command(f.Data)
	}
	if !v.Message(f.Data, f.FDs, kind) {
		return false
	}
	if v.o.Clustered && string(f.Data) == `"ready"` {
		return v.o.Settled(v.o.Events.Ready)
	}
	return true
}

// isMessage says that a frame is the worker's own code speaking, to muster's users
// or to other workers.
func isMessage(data []byte) bool {
	command := channel.Command(data)
	return command == "" || command == channel.CmdSend
}

// Message deals with what the process's own code has sent, and with the descriptors
// that came with it: they are closed. kind and the result are as with Rest.
func (v *Voice) Message(data []byte, fds []int, kind string) bool {
	defer CloseAll(fds)
	if channel.Command(data) == channel.CmdSend {
		fd := mail.None
		if len(fds) > 0 {
			fd = fds[0]
		}
		v.o.Office.Forward(v.box, data, fd, kind)
		return true
	}
	if v.o.Pass != nil {
		return v.o.Settled(v.o.Pass(data, fds, kind))
	}
	v.o.Office.Heard()
	said := v.meter.Said(time.Now(), data, len(fds))
	if said == nil || v.o.Events.Said == nil {
		return true
	}
	return v.o.Settled(func() { v.o.Events.Said(*said) })
}

// Keep waits as Rest does, after a Message that was not a frame of its own.
func (v *Voice) Keep(ctx context.Context, size int) { v.pace.Keep(ctx, size) }

// command deals with one of muster's own, and returns once that is recorded: the frame
// leaves the socket then. false: the owner has ended.
func (v *Voice) command(data []byte) bool {
	var frame struct {
		ID   json.RawMessage `json:"id"`
		Text string          `json:"text"`
	}
	command, counts := channel.Command(data), v.o.Lines.Counters
	_ = json.Unmarshal(data, &frame) // what is not as it should be is empty
	switch command {
	case channel.CmdPing:
		counts.commands.Add(1)
		v.pong(frame.ID)
		return true
	case channel.CmdReady:
		counts.commands.Add(1)
		return v.o.Settled(v.o.Events.Ready)
	case channel.CmdStatus:
		counts.commands.Add(1)
		return v.o.Settled(func() { v.o.Events.Status(OneLine(frame.Text)) })
	}
	counts.unheard.Add(1)
	return true
}

// pong answers a ping. A worker that does not read gets no answer: what waits is our
// memory.
func (v *Voice) pong(id json.RawMessage) {
	if frames, bytes := v.o.Conn.Waiting(); frames >= answersMax || bytes >= answersBytes {
		return
	}
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	if answer, err := json.Marshal(map[string]any{"cmd": channel.CmdPong, "id": id}); err == nil {
		_ = v.o.Conn.Send(answer) // it fails when the worker is gone
	}
}

// OneLine is a text as it may stand in a status: short, valid, and without
// anything that moves a cursor.
func OneLine(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), StatusMax)], "")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// cutOff ends the channel of a worker that cannot be understood any more, and tells
// the worker so by the end. A successor must not read on in the middle of the line.
func (v *Voice) cutOff() {
	_ = v.o.Conn.Close()
	v.o.Lines.Drop(v.o.ID)
	v.o.Post(func() {
		v.o.Events.Warned(fault.New(fault.BadChannel, "it sent a line of more than %d MiB, so its channel was closed", channel.FrameMax>>20))
	})
}

// HangUp closes the channel: the process is given up.
func (v *Voice) HangUp() {
	v.seat.gone()
	_ = v.o.Conn.Close()
}

// Silence has nothing more heard by this agent, and nothing taken away from the process:
// a successor goes on. On nil it does nothing.
func (v *Voice) Silence() {
	if v != nil {
		v.left.Store(true)
	}
}

// HandOver closes the channel for a successor, with what is on its way sent before.
func (v *Voice) HandOver() {
	v.Silence()
	ctx, cancel := context.WithTimeout(context.Background(), lastFrames)
	defer cancel()
	_ = v.o.Conn.Flush(ctx)
	_ = v.o.Conn.Close()
}

// CloseAll closes descriptors of a frame that nobody uses any more.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}
