package exchange

import (
	"context"
	"encoding/json"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/op"
)

// Ask is a question of muster's own.
type Ask struct {
	// To is a selector, or client:NAME. One party is asked, or with All every one.
	To, Op string
	Body   json.RawMessage
	All    bool
	// Within is the deadline; 0: op.WithinDefault.
	Within time.Duration
}

// Answer is what one party has replied, or Fault: why it has not.
type Answer struct {
	From  string
	PID   int
	Body  json.RawMessage
	Fault *fault.Fault
}

// Request asks as muster itself, and waits. Its error concerns the question (nobody
// is there, it is too large) or ctx; what concerns one party is in its Answer.
func (e *Exchange) Request(ctx context.Context, a Ask) ([]Answer, error) { return nil, nil }

// Commands are those that parties offer, by name; Of says who.
func (e *Exchange) Commands() []op.Command { return nil }

// Peers are the parties with hello that a selector means; "": all.
func (e *Exchange) Peers(selector string) ([]op.Peer, error) { return nil, nil }
