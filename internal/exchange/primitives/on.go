package primitives

import (
	"github.com/muster-run/muster/internal/exchange"
)

// On makes an Exchange of the real one.
func On(e *exchange.Exchange) Exchange { return on{e} }

type on struct{ *exchange.Exchange }

// Serve implements Exchange.
func (o on) Serve(name string, h func(Call)) {
	o.Exchange.Serve(name, func(c *exchange.Call) {
		party := c.Party()
		h(Call{Party: party.ID, Name: party.Name, PID: c.PID(), ID: c.ID(), Again: c.Again(), Body: c.Body(), Asker: c})
	})
}

var _ Exchange = on{}
