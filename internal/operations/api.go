package operations

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/api"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/op"
)

var clientName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func repliesOf(answers []exchange.Answer) (r api.Replies) {
	for _, a := range answers {
		r.Replies = append(r.Replies, api.Reply{From: a.From, PID: a.PID, Body: a.Body, Fault: a.Fault})
	}
	return r
}

// MarkJoined says of workers which of them take part in operations.
func (o *Operations) MarkJoined(apps []api.App) {
	peers, _ := o.exchange.Peers("") // no selector, no error
	joined := map[int]bool{}
	for _, p := range peers {
		joined[p.PID] = joined[p.PID] || p.App != ""
	}
	for _, app := range apps {
		for i, w := range app.Workers {
			app.Workers[i].Joined = w.PID != 0 && joined[w.PID]
		}
	}
}

// Commands implements control.Operations.
func (o *Operations) Commands() (list api.Commands) {
	for _, c := range o.exchange.Commands() {
		list.Commands = append(list.Commands, api.Command(c))
	}
	return list
}

// Run implements control.Operations.
func (o *Operations) Run(ctx context.Context, run api.CommandRun) (api.Replies, error) {
	for _, c := range o.exchange.Commands() {
		if c.Name != run.Name {
			continue
		}
		call, err := json.Marshal(op.CommandCall{Name: run.Name, Args: run.Args})
		if err != nil {
			return api.Replies{}, fault.New(fault.Usage, "the arguments cannot be sent: %w", err)
		}
		answers, err := o.exchange.Request(ctx, exchange.Ask{To: strings.Join(c.Of, ","), Op: op.CommandRun, Body: call, All: true})
		return repliesOf(answers), err
	}
	return api.Replies{}, fault.New(fault.Usage, "nobody offers a command %q", run.Name).WithFix("`help` in `muster console` lists what there is")
}

// Join implements control.Operations: a client takes part until its connection, or
// ctx, ends.
func (o *Operations) Join(ctx context.Context, name string, c *net.UnixConn) error {
	defer c.Close()
	if !clientName.MatchString(name) {
		return fault.New(fault.Usage, "%q cannot be a client's name", name)
	}
	fd, pid, err := take(c)
	if err != nil {
		return err
	}
	conn := channel.Open(fd, channel.Options{})
	defer conn.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(o.ctx, cancel)()
	seat := o.exchange.Enter(op.Party{
		ID: fmt.Sprintf("client/%d/%d/%d", pid, fd, channel.FirstSeq(time.Now())), Name: "client:" + name,
		Send: func(frame []byte) error { return conn.Send(frame) }, Waiting: conn.Waiting,
	}, false)
	defer seat.Gone()
	seat.Ready(pid, true)
	for {
		f, err := conn.Receive(ctx)
		if err != nil {
			return err
		}
		for _, fd := range f.FDs {
			_ = unix.Close(fd)
		}
		seat.Hear(f.Data)
	}
}

// take makes a descriptor of its own of a connection, and says whose it is.
func take(c *net.UnixConn) (fd, pid int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	var bad error
	err = raw.Control(func(own uintptr) {
		if fd, bad = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 3); bad != nil {
			return
		}
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			pid = int(cred.Pid)
		}
	})
	if err == nil {
		err = bad
	}
	return fd, pid, err
}
