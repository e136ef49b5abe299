package exchange

import (
	"context"
	"encoding/json"

	"github.com/muster-run/muster/internal/op"
)

// Call is a request, or something told, that an operation of muster's own (Serve) is
// to deal with. Safe for concurrent use.
type Call struct{}

// Op is the operation.
func (c *Call) Op() string { return "" }

// Party is who asks, as it is now.
func (c *Call) Party() op.Party { return op.Party{} }

// PID is the asker's; 0: not known yet.
func (c *Call) PID() int { return 0 }

// Body is the request's, nil when it has none. It is the Call's own copy.
func (c *Call) Body() json.RawMessage { return nil }

// ID is the asker's own number; 0: it wants no reply.
func (c *Call) ID() int64 { return 0 }

// Again says that an earlier agent may have dealt with it already: the asker says so,
// or it is the first frame that the asker is heard with after an adoption.
func (c *Call) Again() bool { return false }

// Context ends when nobody waits for the reply any more: at the deadline, by a
// cancel, when the asker has gone, or after Reply.
func (c *Call) Context() context.Context { return context.Background() }

// Reply answers: with body as JSON, or with err. body may be nil; a json.RawMessage
// is sent as it is and must be valid JSON without a line end. Only the first Reply
// counts, and none after the Context has ended.
func (c *Call) Reply(body any, err error) {}
