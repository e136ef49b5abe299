package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"runtime/debug"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/op"
)

// messagesMax is how many messages of users wait for Options.OnMessage.
const messagesMax = 256

// wire is the channel as the Peer sees it: of all that comes it gets the operations.
type wire struct{ w *Worker }

// Send sends a line.
func (x *wire) Send(line []byte) error { return x.w.send(line) }

// send puts a frame on the channel.
func (w *Worker) send(line []byte) error {
	err := w.conn.Send(line)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, channel.ErrFull):
		return fault.New(fault.ChannelFull, "%d bytes wait for muster to read them", queueMax).
			WithFix("send less at a time; `muster status` shows whether the agent runs")
	case errors.Is(err, channel.ErrInvalid):
		return fault.New(fault.Usage, "the frame has a line end in it").WithFix("write JSON on one line")
	}
	return fault.New(fault.AgentUnreachable, "the channel to muster has ended: %w", err)
}

// Receive waits for the next operation, and deals with what else comes meanwhile.
func (x *wire) Receive(ctx context.Context) ([]byte, error) {
	for {
		f, err := x.w.conn.Receive(ctx)
		if err != nil {
			if x.w.deal != nil {
				x.w.deal.close()
			}
			return nil, fault.New(fault.AgentUnreachable, "the channel to muster has ended: %w", err)
		}
		if x.w.sort(f) {
			return f.Data, nil
		}
	}
}

// Close ends the channel.
func (x *wire) Close() error { return x.w.conn.Close() }

// sort says whether a frame is an operation; any other is dealt with.
func (w *Worker) sort(f channel.Frame) bool {
	switch cmd := commandOf(f.Data); {
	case op.IsCommand(strings.TrimPrefix(cmd, "NODE_")):
		closeAll(f.FDs)
		return true
	case strings.HasPrefix(cmd, "NODE_") && w.deal != nil:
		w.deal.hears(f)
		return false
	case cmd == channel.CmdPing:
		w.pong(f.Data)
	case cmd == "":
		w.message(f.Data)
	}
	closeAll(f.FDs)
	return false
}

// commandOf is the cmd of a frame; a look at its beginning is enough for most.
func commandOf(data []byte) string {
	if op.Is(data) {
		return op.CmdOp // or another of them
	}
	return channel.Command(data)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// pong answers a ping.
func (w *Worker) pong(data []byte) {
	var ping struct {
		ID json.RawMessage `json:"id"`
	}
	if json.Unmarshal(data, &ping) != nil || len(ping.ID) == 0 {
		return
	}
	line := append([]byte(`{"cmd":"`+channel.CmdPong+`","id":`), bytes.ReplaceAll(ping.ID, []byte("\n"), nil)...)
	_ = w.conn.Send(append(line, '}')) // who does not read is not answered
}

// message puts a message of a user in line for OnMessage.
func (w *Worker) message(data []byte) {
	if w.o.OnMessage == nil {
		return
	}
	select {
	case w.messages <- data:
	default:
		w.log.Warn("a message was dropped: OnMessage is slower than they come", "waiting", messagesMax)
	}
}

// deliver gives messages to OnMessage, until the Peer ends.
func (w *Worker) deliver() {
	for {
		select {
		case m := <-w.messages:
			w.safely("OnMessage", func() { w.o.OnMessage(m) })
		case <-w.Done():
			return
		}
	}
}

// safely runs a callback of the program; a panic in it is only logged.
func (w *Worker) safely(what string, f func()) {
	defer func() {
		if v := recover(); v != nil {
			w.log.Error("a callback has panicked", "callback", what, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	f()
}
