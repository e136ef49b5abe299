package peer

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

const (
	// AskedMax is how many requests of a Peer may be under way.
	AskedMax = 1024
	// HandlersMax is how many handlers of a Peer run at a time for other processes.
	HandlersMax = 256
	// handlersOfMuster may run besides, for what muster itself asks.
	handlersOfMuster = 32
	// slack is what a request without a deadline waits beyond muster's own.
	slack = time.Second
	// gapEvery is how often at most what was dropped is told.
	gapEvery = 100 * time.Millisecond
)

// Wire carries lines of the operations' protocol (without their line ends).
type Wire interface {
	// Send puts a line on its way. It never blocks, and is safe for concurrent use;
	// the line is the caller's again when it returns. An error that is a
	// *fault.Fault is passed on as it is.
	Send(line []byte) error
	// Receive waits for the next line, which is the caller's to keep. It has one
	// caller at a time. After an error nothing comes any more.
	Receive(ctx context.Context) ([]byte, error)
	// Close ends Receive and Send. Calling it again is harmless.
	Close() error
}

// Words of operations that the API speaks.
type (
	// Welcome says who this process is to muster.
	Welcome = op.Welcome
	// Settings are those of its app, as they are now.
	Settings = op.Settings
	// Info is a process that takes part.
	Info = op.Peer
	// Receivers is how many got a message, and who had no room for it.
	Receivers = op.Receivers
	// Command is one that a process offers to the console.
	Command = op.Command
	// AgentInfo is the agent that goes on after another.
	AgentInfo = op.AgentBody
)

// Options of a Peer. The zero value is what most want.
type Options struct {
	// SDK names the speaker for people; "": "go".
	SDK string
	// App is the name of the process's app, for channels that begin with ":", until
	// muster has said it.
	App string
	// Log is where panics of handlers and frames that cannot be read go; nil: the
	// default logger.
	Log *slog.Logger
	// Handlers, by op, are there from the first frame on (see Handle).
	Handlers map[string]HandleFunc
	// OnGap is told how many messages were dropped since it was last told; OnAgent
	// that another agent goes on. Either may be nil. They may block.
	OnGap   func(missed int)
	OnAgent func(AgentInfo)
}

// Peer is one end of operations. Its methods are safe for concurrent use.
type Peer struct {
	o    Options
	wire Wire
	log  *slog.Logger

	ctx    context.Context // of all that runs for it; ended by Close and the wire
	cancel context.CancelCauseFunc
	read   chan struct{} // closed when nothing is read any more
	ended  atomic.Pointer[fault.Fault]

	asked   asked
	welcome chan struct{} // closed when me is set
	me      atomic.Pointer[Welcome]

	heard    heard
	subs     subscriptions
	commands commands
	caches   caches
	gap      gap
	counts   counts
}

// New takes over a Wire and takes part in operations: hello has been said when it
// returns, so what is asked next is heard as from a party. Close ends it.
func New(w Wire, o Options) *Peer {
	if o.SDK == "" {
		o.SDK = "go"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	p := &Peer{o: o, wire: w, log: o.Log, read: make(chan struct{}), welcome: make(chan struct{})}
	p.ctx, p.cancel = context.WithCancelCause(context.Background())
	p.asked.start(time.Now())
	p.heard.start(o.Handlers)
	p.subs.start()
	p.commands.start()
	p.sayHello()
	go p.receive()
	return p
}

// sayHello is the first frame of every Peer to every agent. Its answer is waited for as long as it
// takes: the agent may just be being replaced.
func (p *Peer) sayHello() {
	body, err := json.Marshal(op.HelloBody{SDK: p.o.SDK})
	if err != nil { // one string
		return
	}
	// An error says that the wire has ended: receive tells that, too.
	_, _ = p.begin(op.Frame{Cmd: op.CmdOp, Op: op.Hello, Within: op.WithinMax.Milliseconds(), Body: body}, p.welcomed)
}

// welcomed takes the answer to hello.
func (p *Peer) welcomed(f op.Frame) {
	var w Welcome
	if f.Error != nil && p.ended.Load() != nil {
		return
	}
	if f.Error != nil || json.Unmarshal(f.Body, &w) != nil {
		p.log.Warn("muster has not let this process take part in operations", "error", f.Error)
		return
	}
	if p.me.Swap(&w) == nil {
		close(p.welcome)
	}
}

// Hello waits until muster has welcomed this process, and says as whom. Nothing else
// needs to wait for that.
func (p *Peer) Hello(ctx context.Context) (Welcome, error) {
	select {
	case <-p.welcome:
		return *p.me.Load(), nil
	case <-p.read:
		return Welcome{}, p.Err()
	case <-ctx.Done():
		return Welcome{}, gaveUp(ctx, "muster has not answered")
	}
}

// app is the name of the process's app, "" while it is not known or there is none.
func (p *Peer) app() string {
	if w := p.me.Load(); w != nil {
		return w.App
	}
	return p.o.App
}

// Done is closed when the Peer takes part no more: it was closed, or the Wire ended.
func (p *Peer) Done() <-chan struct{} { return p.read }

// Err is why it takes part no more; nil while it does.
func (p *Peer) Err() error {
	select {
	case <-p.read:
		return p.ended.Load()
	default:
		return nil
	}
}

// Close ends the Peer: requests under way fail, the contexts of its handlers end. It
// does not wait for handlers. Calling it again is harmless.
func (p *Peer) Close() error {
	p.ended.CompareAndSwap(nil, fault.New(fault.AgentUnreachable, "this end of operations was closed").WithFix("ask before it is closed"))
	err := p.wire.Close()
	<-p.read
	if err != nil {
		return wireFault(err)
	}
	return nil
}

// Counts are figures since the Peer began.
type Counts struct {
	// Unreadable frames came, and were dropped; Late are replies that nobody waited
	// for any more; Dropped are messages for which there was no room.
	Unreadable, Late, Dropped uint64
}

type counts struct{ unreadable, late, dropped atomic.Uint64 }

// Counts reads the figures.
func (p *Peer) Counts() Counts {
	return Counts{p.counts.unreadable.Load(), p.counts.late.Load(), p.counts.dropped.Load()}
}

// gap gathers what was dropped until it is told.
type gap struct {
	mu      sync.Mutex
	missed  int
	telling bool
}

// missed notes dropped messages. It never blocks.
func (p *Peer) missed(n int) {
	p.counts.dropped.Add(uint64(n))
	p.caches.forget()
	g := &p.gap
	g.mu.Lock()
	defer g.mu.Unlock()
	g.missed += n
	if !g.telling && p.o.OnGap != nil {
		g.telling = true
		go p.tellGap()
	}
}

// tellGap tells what has gathered, and ends when nothing has since.
func (p *Peer) tellGap() {
	g := &p.gap
	for {
		g.mu.Lock()
		n := g.missed
		g.missed, g.telling = 0, n > 0
		g.mu.Unlock()
		if n == 0 {
			return
		}
		p.guard("OnGap", func() { p.o.OnGap(n) })
		select {
		case <-p.ctx.Done():
		case <-time.After(gapEvery):
		}
	}
}
