package exchange

import (
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"github.com/muster-run/muster/internal/op"
)

const (
	// A party for which so many frames or bytes wait gets no more, but replies.
	waitingFrames, waitingBytes = 1024, 4 << 20
	// replyRoom is how many times that much may wait when a reply comes.
	replyRoom = 4
	// Limits of one party, and of all together.
	callsMax, subsMax, listensMax, commandsMax = 1024, 1024, 1024, 64
	globalMax                                  = 65536
)

// Muster is the name that its own frames come from.
const Muster = "muster"

// Ledger keeps records over the death of the agent (coordination/ledger). Its records
// are the exchange's alone.
type Ledger interface {
	Each(f func(rec []byte) error) error
	Append(rec []byte) error
	Snapshot(write func(add func(rec []byte))) error
	Grown() bool
}

// Options of an Exchange.
type Options struct {
	// Project and Node are told to who says hello.
	Project, Node string
	// Agent is the pid of the agent, Epoch how many agents there have been.
	Agent, Epoch int
	// Ledger for a successor; nil: none.
	Ledger Ledger
	// Log takes what is wrong with what parties say, once for each; nil: nowhere.
	Log *slog.Logger
}

// Exchange knows the parties and what waits between them. Safe for concurrent use.
type Exchange struct {
	o Options

	mu    sync.Mutex
	state                // all of it guarded by mu
	tasks sync.WaitGroup // goroutines that send, and what the timers do
}

// New makes an Exchange. An error is one of the ledger.
func New(o Options) (*Exchange, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	e := &Exchange{o: o}
	e.state.begin(time.Now())
	if err := e.restore(); err != nil {
		return nil, err
	}
	return e, nil
}

// Close ends all calls under way without a reply: the agent ends, and a successor
// tells them. Nothing is heard or sent any more.
func (e *Exchange) Close() {}

// Serve makes h muster's own operation of a name. h runs in the goroutine that heard
// the request and must not block: it replies at once, or later from a goroutine of its
// own. What one party asks is given to h in order. Serve comes before the first Enter.
func (e *Exchange) Serve(name string, h func(*Call)) {}

// OnGone has f called with the ID of every party that has gone, after its calls have
// ended. Before the first Enter.
func (e *Exchange) OnGone(f func(partyID string)) {}

// Tell sends a frame (Op, Body, Channel) from muster to every party with hello for
// which to holds, one way. Those that have no room get a gap later. to must not use
// the Exchange.
func (e *Exchange) Tell(to func(op.Party) bool, f op.Frame) op.Receivers { return op.Receivers{} }

// Publish publishes as muster itself. channel is a whole name.
func (e *Exchange) Publish(channel, name string, body json.RawMessage) op.Receivers {
	return op.Receivers{}
}
