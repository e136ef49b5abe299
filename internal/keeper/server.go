package keeper

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/channel"
	"github.com/muster-run/muster/internal/keeper/wire"
	"github.com/muster-run/muster/internal/process"
	"github.com/muster-run/muster/internal/process/spool"
	"github.com/muster-run/muster/internal/sdnotify"
)

// startsWithin is how long the end of a session waits for the starts that its
// agent has asked for, so that the next agent finds the processes in List. What
// has taken longer is killed as soon as it runs, unless the next agent has asked
// for the same ID: nobody knows of it, and it might serve.
const startsWithin = time.Second

// orders are what an agent may ask of the root process beside Starter and Store.
// The server calls them in the order in which the agent asked; they do not block.
type orders interface {
	// up: the agent serves.
	up()
	// end: the agent is about to exit orderly; code is that of muster.
	end(code int)
	// upgrade: start exe, which is taken over, when this agent has left; what is
	// told to the next agent in Hello.Upgrade (with the fault where it failed).
	upgrade(exe *os.File, what json.RawMessage)
}

// server lets one agent at a time use a Direct and a DirectStore.
type server struct {
	starter process.Starter
	spools  func(id string) (*spool.Spool, error)
	store   *process.DirectStore

	notes   chan string // for systemd, in order
	ended   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	now    *session            // that has said hello; nil: none
	askers map[string]*session // of the starts under way, by ID: who asked last
}

// newServer makes a server for the keeper's life; close ends its goroutines.
func newServer(d *process.Direct, store *process.DirectStore) *server {
	return serverOf(d, d.Spool, store)
}

func serverOf(starter process.Starter, spools func(string) (*spool.Spool, error), store *process.DirectStore) *server {
	s := &server{starter: starter, spools: spools, store: store, notes: make(chan string, 64), ended: make(chan struct{}), askers: map[string]*session{}}
	s.running.Go(s.tellExits)
	s.running.Go(s.notify)
	return s
}

// close ends the server; every session must be closed. Starts that still go on
// are waited for.
func (s *server) close() {
	close(s.ended)
	s.running.Wait()
}

// tellExits tells the agent of exits. What comes while there is none the next one
// finds in its first list.
func (s *server) tellExits() {
	for {
		select {
		case e := <-s.starter.Exits():
			if x := s.current(); x != nil {
				x.send(&wire.Reply{Op: wire.OpExit, Exit: wire.FromExit(e)})
			}
		case <-s.ended:
			return
		}
	}
}

// notify tells systemd, which may be slow.
func (s *server) notify() {
	for {
		select {
		case state := <-s.notes:
			if err := sdnotify.Notify(state); err != nil {
				if x := s.current(); x != nil {
					x.trouble(&wire.Request{Op: wire.OpNotify}, err)
				}
			}
		case <-s.ended:
			return
		}
	}
}

func (s *server) current() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *server) setCurrent(x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = x
}

// session is one agent's time with the server. Its requests are carried out one
// after the other, in the order in which they came; only a start goes on beside
// those behind it.
type session struct {
	server *server
	conn   *channel.Conn
	fd     int // of conn
	hello  Hello
	orders orders
	over   chan struct{} // closed when nothing more comes from the agent
	breaks chan error
	starts sync.WaitGroup
	outs   outputs

	mu      sync.Mutex
	greeted bool
	late    bool             // starts that still go on are nobody's
	early   []syscall.Signal // before that
}

// serve begins to speak with an agent over fd, which it takes over. h is what the
// agent is told; PID and Protocol are filled in. The session before must be closed.
func (s *server) serve(fd int, h Hello, o orders) *session {
	h.PID = os.Getpid()
	x := &session{
		server: s, conn: channel.Open(fd, channel.Options{FrameMax: wire.RequestMax}), fd: fd, hello: h, orders: o,
		over: make(chan struct{}), breaks: make(chan error, 1),
	}
	x.outs.open(x)
	go x.run() // ends with close, at the latest
	return x
}

// forward tells the agent of a signal, once it has said hello. It never blocks.
func (x *session) forward(sig syscall.Signal) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.greeted {
		x.early = append(x.early, sig)
		return
	}
	x.send(&wire.Reply{Op: wire.OpSignal, Signal: int(sig)})
}

// broken delivers an error when the agent has sent what cannot be understood, or
// does not read: the root process must kill it then. Its socket is kept open until
// close, so that it does not take this for the end of the keeper.
func (x *session) broken() <-chan error { return x.breaks }

// close carries out what the agent had sent before its end, and ends what it had
// open. The agent must have been reaped.
func (x *session) close() {
	// What is in the socket is read, then comes the end, whoever holds the other one.
	_ = unix.Shutdown(x.fd, unix.SHUT_RD)
	<-x.over
	x.server.setCurrent(nil)
	x.outs.close()
	started := make(chan struct{})
	go func() { x.starts.Wait(); close(started) }() // ends with the starts, which end
	select {
	case <-started:
	case <-time.After(startsWithin):
		x.mu.Lock()
		x.late = true
		x.mu.Unlock()
	}
	_ = x.conn.Close()
}

// run carries out requests until the agent's end, or its first senseless frame.
func (x *session) run() {
	defer close(x.over)
	for {
		f, err := x.conn.Receive(context.Background())
		if err == nil {
			err = x.take(f)
		}
		switch {
		case err == nil:
		case errors.Is(err, channel.ErrFrameTooLong), errors.As(err, new(*senseless)):
			x.fail(err)
			return
		default:
			return // the agent's end
		}
	}
}

// senseless is the error for a frame that is no request.
type senseless struct{ error }

func (x *session) fail(err error) {
	select {
	case x.breaks <- err:
	default: // the first one is enough
	}
}

// arrival is a request with its descriptors.
type arrival struct {
	wire.Request
	fds   []int // what nobody takes out is closed
	short bool  // some were lost on the way
}

func (a *arrival) takeFDs() []int { fds := a.fds; a.fds = nil; return fds }

// take carries out one frame.
func (x *session) take(f channel.Frame) error {
	a := &arrival{fds: f.FDs, short: f.Truncated}
	defer func() { closeAll(a.fds) }()
	r, bad, err := wire.DecodeRequest(f.Data)
	switch {
	case err != nil:
		return &senseless{err}
	case r.Op == wire.OpHello:
		x.greet(r)
	case !x.greeted: // set by this goroutine
		return &senseless{fmt.Errorf("%s before hello", r.Op)}
	case bad != nil:
		x.answer(&r, nil, fault.New(fault.Internal, "a request cannot be understood: %w", bad))
	default:
		a.Request = r
		x.carryOut(a)
	}
	return nil
}

// greet agrees on a version. An agent that is refused will not say more.
func (x *session) greet(r wire.Request) {
	if r.Min > wire.Version || r.Protocol < wire.VersionMin {
		x.answer(&r, nil, fault.New(fault.UpgradeFailed,
			"the keeper (muster %s) speaks version %d to %d of its protocol, and the agent %d to %d",
			x.hello.Version, wire.VersionMin, wire.Version, r.Min, r.Protocol).WithFix("`muster down`, then `muster up` with the new release"))
		return
	}
	h := x.hello
	h.Protocol = min(r.Protocol, wire.Version)
	x.mu.Lock()
	defer x.mu.Unlock()
	x.answer(&r, &wire.Reply{Hello: &h}, nil)
	x.server.setCurrent(x)
	x.greeted = true
	for _, sig := range x.early {
		x.send(&wire.Reply{Op: wire.OpSignal, Signal: int(sig)})
	}
	x.early = nil
}

// carryOut does what a request asks for. The order of the cases is that of
// PROTOCOL.md.
func (x *session) carryOut(a *arrival) {
	s, id, name := x.server, string(a.Process), string(a.Name)
	var err error
	switch a.Op {
	case wire.OpStart:
		x.start(a)
		return // answered later
	case wire.OpList:
		x.list(a)
		return
	case wire.OpAck:
		s.starter.Ack(id)
	case wire.OpSetMeta:
		err = s.starter.SetMeta(id, a.Meta)
	case wire.OpSetMain:
		p, err := s.starter.SetMain(id, a.PID)
		x.answer(&a.Request, &wire.Reply{Process: wire.FromProc(p)}, err)
		return
	case wire.OpSetKillAt:
		err = s.starter.SetKillAt(id, wire.FromBoot(a.KillAt))
	case wire.OpOutput, wire.OpWait, wire.OpCommit, wire.OpRelease:
		x.outs.carryOut(a)
		return
	case wire.OpPut:
		err = x.put(a, name)
	case wire.OpGet:
		x.get(a, name)
		return
	case wire.OpTake:
		if x.get(a, name) {
			s.store.Forget(name)
		}
		return
	case wire.OpNames:
		x.names(a)
		return
	default:
		err = x.order(a)
	}
	x.answer(&a.Request, &wire.Reply{}, err)
}

// order passes on what is for the root process.
func (x *session) order(a *arrival) error {
	switch a.Op {
	case wire.OpUp:
		x.orders.up()
	case wire.OpNotify:
		select {
		case x.server.notes <- string(a.State):
		default:
			return errors.New("systemd does not read what it is told")
		}
	case wire.OpUpgrade:
		if len(a.fds) != 1 {
			return missing(a, 1)
		}
		x.orders.upgrade(os.NewFile(uintptr(a.takeFDs()[0]), "upgrade"), a.What)
	case wire.OpEnd:
		x.orders.end(a.Code)
	default:
		return fmt.Errorf("this keeper does not know %q: %w", a.Op, errors.ErrUnsupported)
	}
	return nil
}

// missing says that descriptors did not arrive.
func missing(a *arrival, want int) error {
	cause := syscall.EINVAL
	if a.short {
		cause = syscall.EMFILE
	}
	return fault.New(fault.Internal, "%s came to the keeper with %d of %d descriptors: %w", a.Op, len(a.fds), want, cause)
}

// start starts a process beside what else goes on.
func (x *session) start(a *arrival) {
	if a.Command == nil {
		x.answer(&a.Request, nil, fault.New(fault.Internal, "start has no command: %w", syscall.EINVAL))
		return
	}
	want := len(a.Command.Files)
	if a.Command.Stdin {
		want++
	}
	if len(a.fds) != want {
		x.answer(&a.Request, nil, missing(a, want))
		return
	}
	c, r := a.Command.Process(), a.Request
	var files []*os.File
	for _, fd := range a.takeFDs() {
		files = append(files, os.NewFile(uintptr(fd), "file of "+c.ID))
	}
	named := files
	if a.Command.Stdin {
		c.Stdin, named = files[0], files[1:]
	}
	for i, f := range named {
		c.Files = append(c.Files, process.NamedFD{Name: string(a.Command.Files[i]), File: f})
	}
	x.starts.Add(1)
	x.server.asks(c.ID, x)
	x.server.running.Go(func() {
		defer x.starts.Done()
		p, err := x.server.starter.Start(c)
		for _, f := range files {
			f.Close()
		}
		x.answer(&r, &wire.Reply{Process: wire.FromProc(p)}, err)
		if x.server.unwanted(c.ID, x) && err == nil {
			_, _ = p.Kill() // the next agent finds it ended, and forgets it
		}
	})
}

// asks notes who wants a process that is being started.
func (s *server) asks(id string, x *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.askers[id] = x
}

// unwanted says, at the end of a start, that nobody is there any more who asked
// for it.
func (s *server) unwanted(id string, x *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.askers[id] != x {
		return false // another agent has asked since
	}
	delete(s.askers, id)
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.late
}

// list answers in parts, so that no frame is large.
func (x *session) list(a *arrival) {
	var part []wire.Proc
	for _, p := range x.server.starter.List() {
		if len(part) == wire.ListPart {
			x.answer(&a.Request, &wire.Reply{Processes: part, More: true}, nil)
			part = part[:0]
		}
		part = append(part, *wire.FromProc(p))
	}
	x.answer(&a.Request, &wire.Reply{Processes: part}, nil)
}

func (x *session) names(a *arrival) {
	names := x.server.store.List()
	for len(names) > wire.ListPart {
		x.answer(&a.Request, &wire.Reply{Names: wire.ToTexts(names[:wire.ListPart]), More: true}, nil)
		names = names[wire.ListPart:]
	}
	x.answer(&a.Request, &wire.Reply{Names: wire.ToTexts(names)}, nil)
}

func (x *session) put(a *arrival, name string) error {
	if len(a.fds) != 1 {
		return missing(a, 1)
	}
	x.server.store.Hold(name, a.takeFDs()[0])
	return nil
}

// get sends a descriptor; true: it is on its way.
func (x *session) get(a *arrival, name string) (sent bool) {
	found := x.server.store.Lend(name, func(fd int) {
		err := x.send(&wire.Reply{Op: wire.OpReply, ID: a.ID, FDs: 1}, fd)
		if sent = err == nil; !sent {
			x.answer(&a.Request, nil, fault.New(fault.Internal, "the keeper cannot hand out %s: %w", name, err))
		}
	})
	if !found {
		x.answer(&a.Request, &wire.Reply{}, nil)
	}
	return sent
}

// answer ends a request. The error of one that wants no reply is told as trouble.
func (x *session) answer(r *wire.Request, a *wire.Reply, err error) {
	switch {
	case r.ID == 0 && err != nil:
		x.trouble(r, err)
	case r.ID == 0:
	case err != nil:
		x.send(&wire.Reply{Op: wire.OpReply, ID: r.ID, Error: wire.FromError(err)})
	default:
		a.Op, a.ID = wire.OpReply, r.ID
		x.send(a)
	}
}

func (x *session) trouble(r *wire.Request, err error) {
	about := r.Process
	if about == "" {
		about = r.Name
	}
	x.send(&wire.Reply{Op: wire.OpTrouble, Of: r.Op, About: about, Error: wire.FromError(err)})
}

// send sends a frame. An agent that does not read is of no use.
func (x *session) send(a *wire.Reply, fds ...int) error {
	data, err := json.Marshal(a)
	if err == nil {
		err = x.conn.Send(data, fds...)
	}
	if errors.Is(err, channel.ErrFull) {
		x.fail(fmt.Errorf("the agent does not read: %w", err))
	}
	return err
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
