package brood

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/supervisor/mail"
)

// about is what a frame says beside its act and id.
type about map[string]any

// tell has the program told of a fork, once that is recorded.
func (b *Brood) tell(act string, id int, what about) {
	link, _ := b.program.Link()
	if link == nil {
		return
	}
	frame := about{"cmd": "NODE_MUSTER", "act": act, "id": id}
	for k, v := range what {
		frame[k] = v
	}
	data, err := json.Marshal(frame)
	if err != nil {
		return // texts and numbers cannot fail
	}
	b.cfg.After(func() { _ = link.Muster(data, mail.None, "") }) // fails when the program has gone
}

// failed tells that there will be no such fork. While the program is being stopped it
// is told so first, for it not to try again.
func (b *Brood) failed(id int, f *fault.Fault) {
	if b.ending {
		b.tell("leaving", id, nil)
	}
	code := string(f.Code)
	var errno syscall.Errno
	if errors.As(f, &errno) {
		code = unix.ErrnoName(errno)
	}
	text := f.Text
	if f.Fix != "" {
		text += ": " + f.Fix
	}
	b.tell("failed", id, about{"code": code, "text": text})
}

// address is where a server listens, as Node says it.
func address(e event.WorkerNode) about {
	a := about{"address": nil, "port": e.Port, "addressType": e.AddressType}
	if e.Address != "" {
		a["address"] = e.Address
	}
	if n, err := strconv.Atoi(e.AddressType); err == nil {
		a["addressType"] = n
	}
	return a
}

// ending is how a process ended, as Node says it.
func ending(e process.Exit) about {
	if e.Signal != 0 {
		return about{"code": nil, "signal": unix.SignalName(e.Signal)}
	}
	return about{"code": e.Code, "signal": nil}
}

// message implements attempt.Fork: a message of the fork's is for the program. It waits
// for one that does not read, though not for ever.
func (f *fork) message(data []byte, fds []int, kind string) (pass func()) {
	link, waiting := f.b.program.Link()
	if link == nil || !f.room(waiting) {
		return func() {}
	}
	frame := fmt.Appendf(nil, `{"cmd":"NODE_MUSTER","act":"message","id":%d,"msg":`, f.id)
	frame = append(append(frame, data...), '}')
	fd := mail.None
	if len(fds) > 0 { // the caller's are closed when the pool ends, this one when it was passed on
		fd, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_DUPFD_CLOEXEC, 3)
	}
	return func() {
		_ = link.Muster(frame, fd, kind) // fails when the program has gone
		closeFD(fd)
	}
}

// How long, and how often, to look whether a program reads on.
const (
	roomPatience = 10 * time.Second
	roomPace     = 5 * time.Millisecond
)

// room waits until the program reads; false: it does not.
func (f *fork) room(waiting func() (frames, bytes int)) bool {
	end := time.Now().Add(roomPatience)
	for {
		if frames, bytes := waiting(); frames < unreadFrames && bytes < unreadBytes {
			return true
		}
		if time.Now().After(end) {
			f.b.post(func() {
				f.b.warn(fault.New(fault.ChannelFull, "it does not read what its forks send, so messages are lost"))
			})
			return false
		}
		select {
		case <-time.After(roomPace):
		case <-f.b.ctx.Done():
			return false
		}
	}
}

// line implements attempt.Fork: what a silent fork prints. A program that does not read
// misses lines; the log has them.
func (f *fork) line(rec api.Record) {
	stream := 1
	if rec.Stream == "stderr" {
		stream = 2
	}
	data := base64.StdEncoding.EncodeToString([]byte(rec.Line + "\n"))
	f.b.post(func() {
		if _, waiting := f.b.program.Link(); waiting != nil {
			if frames, bytes := waiting(); frames < unreadFrames && bytes < unreadBytes {
				f.b.tell("output", f.id, about{"fd": stream, "data": data})
			}
		}
	})
}
