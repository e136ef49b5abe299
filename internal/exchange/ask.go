package exchange

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/muster-run/muster/fault"
	"github.com/muster-run/muster/internal/exchange/clock"
	"github.com/muster-run/muster/internal/exchange/whom"
	"github.com/muster-run/muster/internal/op"
)

// Ask is a question of muster's own.
type Ask struct {
	// To is a selector, or client:NAME. One party is asked, or with All every one.
	To, Op string
	// Body is valid JSON; nil: none.
	Body json.RawMessage
	All  bool
	// Within is the deadline; 0: op.WithinDefault. It is not above op.WithinMax.
	Within time.Duration
}

// Answer is what one party has replied, or Fault: why it has not.
type Answer struct {
	From  string
	PID   int // 0 with a Fault of muster's
	Body  json.RawMessage
	Fault *fault.Fault
}

// query is a request of muster's own under way.
type query struct {
	answers []Answer
	err     error
	end     chan struct{} // closed after the last reply
}

// take gets a reply. The Exchange's mutex is held.
func (q *query) take(f op.Frame) {
	a := Answer{From: f.From, PID: f.PID, Body: bytes.Clone(f.Body)}
	if f.Error != nil {
		a.Fault = f.Error.Fault()
	}
	if a.From != "" {
		q.answers = append(q.answers, a)
	} else if f.Error != nil {
		q.err = a.Fault
	} else {
		q.missing(f.Body)
	}
	if !f.More {
		close(q.end)
	}
}

// missing reads who has not replied from a Gathered.
func (q *query) missing(body []byte) {
	var g op.Gathered
	_ = json.Unmarshal(body, &g) // it is muster's own
	for _, name := range slices.Sorted(maps.Keys(g.Missing)) {
		code := fault.Code(g.Missing[name])
		q.answers = append(q.answers, Answer{From: name, Fault: fault.New(code, "%s: %s", name, fault.Explain(code).Summary)})
	}
}

// Request asks as muster itself, and waits. Its error concerns the question (nobody is
// there, it is too large) or ctx; what concerns one party is in its Answer. Answers are
// in the order in which they came; with All, those who have not replied come last.
func (e *Exchange) Request(ctx context.Context, a Ask) ([]Answer, error) {
	within := a.Within
	if within == 0 {
		within = op.WithinDefault
	}
	f := op.Frame{Cmd: op.CmdOp, Op: a.Op, ID: 1, To: a.To, All: a.All, Within: max(1, within.Milliseconds()), Body: oneLine(a.Body)}
	q := &query{end: make(chan struct{})}
	x := &errand{own: q, id: f.ID, op: f.Op, at: clock.None}
	if err := e.start(x, f); err != nil {
		return nil, err
	}
	select {
	case <-q.end:
	case <-ctx.Done():
		e.mu.Lock()
		select {
		case <-q.end: // it was faster
		default:
			e.cancel(x)
			q.err = context.Cause(ctx)
		}
		e.leave()
	}
	return q.answers, q.err
}

// start checks a question of muster's own and asks it.
func (e *Exchange) start(x *errand, f op.Frame) error {
	switch {
	case f.To == "" || !whom.Name(f.Op, op.NameMax) || len(f.To) > toMax:
		return fault.New(fault.Usage, "a request needs a selector, and an op of at most %d bytes", op.NameMax)
	case len(f.Body) > op.BodyMax:
		return fault.New(fault.TooLarge, "the message has %d bytes, at most %d are carried", len(f.Body), op.BodyMax)
	case f.Body != nil && !op.Valid(f.Body):
		return fault.New(fault.Usage, "the body is no valid JSON in UTF-8")
	}
	e.mu.Lock()
	defer e.leave()
	if e.closed {
		return fault.New(fault.AgentReplaced, "the agent ends")
	}
	e.pass(x, f, false)
	return nil
}

// oneLine is JSON without line ends; what is no JSON stays as it is.
func oneLine(body []byte) []byte {
	if bytes.IndexByte(body, '\n') < 0 {
		return body
	}
	var b bytes.Buffer
	if json.Compact(&b, body) != nil {
		return body
	}
	return b.Bytes()
}

// nameOnly is the body of a lock's operation for those who listen.
func nameOnly(body []byte) json.RawMessage {
	var b struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &b) != nil {
		return nil
	}
	return mustJSON(b)
}
