package exchange

import (
	"time"

	"github.com/muster-run/muster/internal/op"
)

type state struct{}

func (s *state) begin(time.Time) {}

func (e *Exchange) restore() error { return nil }

// Enter implements op.Exchange.
func (e *Exchange) Enter(p op.Party, adopted bool) op.Seat { return nil }

// Counts since the agent was started, and how much there is now.
type Counts struct{}

// Counts says what has happened.
func (e *Exchange) Counts() Counts { return Counts{} }
