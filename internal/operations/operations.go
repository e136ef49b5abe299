package operations

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"

	"github.com/muster-run/muster/event"
	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/coordination/ledger"
	"github.com/muster-run/muster/internal/exchange"
	"github.com/muster-run/muster/internal/exchange/primitives"
	"github.com/muster-run/muster/internal/op"
)

// The memory files that a successor reads, in the Store.
const (
	exchangeLedger   = "ledger/exchange"
	primitivesLedger = "ledger/primitives"
)

// Options of Operations. All but Log are required.
type Options struct {
	Project, Node string
	// Agent is this agent's pid, Epoch how many there have been.
	Agent, Epoch int
	Files        ledger.Files
	Events       *event.Hub
	Log          *slog.Logger
}

// Operations are those of one project. Its methods are safe for concurrent use.
type Operations struct {
	o          Options
	ctx        context.Context
	cancel     context.CancelFunc
	tasks      sync.WaitGroup
	exchange   *exchange.Exchange
	primitives *primitives.Primitives
	ledgers    []*ledger.Ledger

	begun chan struct{} // closed by Begin
	home  Home
}

// New makes Operations that hear parties; orders wait until Begin. Close ends them.
func New(o Options) (*Operations, error) {
	ctx, cancel := context.WithCancel(context.Background())
	ops := &Operations{o: o, ctx: ctx, cancel: cancel, begun: make(chan struct{})}
	if err := ops.open(); err != nil {
		ops.Close()
		return nil, fault.New(fault.Internal, "operations cannot begin: %w", err)
	}
	return ops, nil
}

func (o *Operations) open() error {
	members, err := o.ledger(exchangeLedger)
	if err != nil {
		return err
	}
	state, err := o.ledger(primitivesLedger)
	if err != nil {
		return err
	}
	o.exchange, err = exchange.New(exchange.Options{
		Project: o.o.Project, Node: o.o.Node, Agent: o.o.Agent, Epoch: o.o.Epoch, Ledger: members, Log: o.o.Log,
	})
	if err != nil {
		return err
	}
	o.primitives, err = primitives.New(served{o.exchange}, primitives.Options{Ledger: state, Log: o.o.Log})
	if err != nil {
		return err
	}
	o.serveOrders()
	return nil
}

func (o *Operations) ledger(name string) (*ledger.Ledger, error) {
	l, err := ledger.Open(o.o.Files, name)
	if err == nil {
		o.ledgers = append(o.ledgers, l)
	}
	return l, err
}

// Exchange is where the supervisor's workers enter.
func (o *Operations) Exchange() op.Exchange { return o.exchange }

// Counts is what has happened since the agent was started, and what there is now.
type Counts struct {
	Exchange   exchange.Counts
	Primitives primitives.Counts
	// Damaged is how many bytes of the ledgers of an earlier agent could not be read.
	Damaged int64
}

// Counts for the metrics.
func (o *Operations) Counts() Counts {
	c := Counts{Exchange: o.exchange.Counts(), Primitives: o.primitives.Counts()}
	for _, l := range o.ledgers {
		c.Damaged += l.Dropped()
	}
	return c
}

// Begin lets orders through, and tells the life of workers from now on. All workers
// of an agent before have entered.
func (o *Operations) Begin(home Home) {
	o.home = home
	close(o.begun)
	o.exchange.Settle()
	o.primitives.Settle(o.exchange.Present)
	sub := o.o.Events.Subscribe(event.Now, lifeBehind) // here, so that nothing is missed once Begin returns
	o.tasks.Go(func() {
		tellLife(o.ctx, o.o.Events, sub, func(name string, body json.RawMessage) { o.exchange.Publish(op.LifeChannel, name, body) })
	})
}

// Close ends them: what is under way gets no reply. A successor of the agent goes on
// with what the ledgers hold.
func (o *Operations) Close() {
	o.cancel()
	if o.exchange != nil {
		o.exchange.Close()
	}
	if o.primitives != nil {
		o.primitives.Close()
	}
	o.tasks.Wait()
	for _, l := range o.ledgers {
		_ = l.Close() // the Store has the file
	}
}

// served is the exchange as the primitives see it.
type served struct{ *exchange.Exchange }

// Serve implements primitives.Exchange.
func (s served) Serve(name string, h func(primitives.Call)) {
	s.Exchange.Serve(name, func(c *exchange.Call) {
		h(primitives.Call{
			Party: c.PartyID(), Name: c.From(), PID: c.PID(), ID: c.ID(), Again: c.Again(), Body: c.Body(), Asker: c,
		})
	})
}
