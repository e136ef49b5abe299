package attempt

import (
	"syscall"
	"time"

	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

// newBox prepares what others send messages to, before the channel is read. It is
// found once the process runs (openBox) and until it is told to end (closeBox).
func (a *Attempt) newBox(c mail.Carrier) {
	a.box = &mail.Box{App: a.app.Name, Role: a.app.Role, Tags: a.app.Tags, Slot: a.cfg.Worker.Slot, Carrier: c}
}

func (a *Attempt) openBox() {
	if a.box != nil && a.Serving() && a.cfg.Fork == nil {
		a.cfg.Shared.Mail.Open(a.box, a.proc.PID)
	}
}

func (a *Attempt) closeBox() {
	if a.box != nil {
		a.cfg.Shared.Mail.Close(a.box)
	}
}

// isMessage says that a frame is the worker's own code speaking, to muster's users
// or to other workers.
func isMessage(data []byte) bool {
	command := channel.Command(data)
	return command == "" || command == channel.CmdSend
}

// message deals with what the worker's own code has sent, and with the descriptors
// that came with it: they are closed. kind is what Node calls the descriptor; "":
// not said. It is for the goroutine that reads the channel, and returns like heard.
func (a *Attempt) message(data []byte, fds []int, kind string) bool {
	defer closeAll(fds)
	office := &a.cfg.Shared.Mail
	if channel.Command(data) == channel.CmdSend {
		fd := mail.None
		if len(fds) > 0 {
			fd = fds[0]
		}
		office.Forward(a.box, data, fd, kind)
		return true
	}
	if a.cfg.Fork != nil {
		pass := a.cfg.Fork.Message(data, fds, kind)
		return a.settled(func() { a.cfg.After(pass) })
	}
	office.Heard()
	said := a.meter.Said(time.Now(), data, len(fds))
	if said == nil || a.cfg.Events.Said == nil {
		return true
	}
	return a.settled(func() { a.cfg.Events.Said(*said) })
}

// closeAll closes descriptors that nobody uses any more.
func closeAll(fds []int) {
	for _, fd := range fds {
		_ = syscall.Close(fd)
	}
}
